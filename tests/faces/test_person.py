"""Whom to follow, and the same person in frames of another size; by both searches."""

import cv2
import numpy as np
import pytest

from deepfusion.faces.detect import Detector
from deepfusion.faces.face_track import Choice, Reason, collect
from deepfusion.faces.fast.local_detector import NearDetector
from deepfusion.faces.fast.tracker import follow_near
from deepfusion.faces.tracker import follow
from deepfusion.media import Frame

LARGER = (10, 20, 1.0)  # on the left
SMALLER = (235, 40, 0.9)  # on the right


@pytest.fixture(params=["near", "exact"])
def followed(request):
    """The face track of some images."""

    def track(images, **settings):
        clip = [Frame(i / 25, image) for i, image in enumerate(images)]
        if request.param == "exact":
            return collect(follow(clip, Detector(), **settings))
        return collect(follow_near(clip, NearDetector(), **settings))

    return track


@pytest.mark.parametrize(
    ("person", "left"),
    [
        ("", True),
        ("largest", True),
        ("left", True),
        ("right", False),
        ("left-half", True),
        ("right-half", False),
        ((235.0, 40.0, 400.0, 240.0), False),
    ],
)
def test_the_person_that_was_asked_for(followed, scene, person, left):
    track = followed([scene(LARGER, SMALLER)] * 3, person=person)
    assert track.valid.all()
    assert track.choice.tolist() == [Choice.FIRST, Choice.CONTINUED, Choice.CONTINUED]
    assert ((track.box[:, 0] < 200) == left).all()


def test_nobody_in_the_box_that_was_asked_for(followed, scene):
    image = scene(LARGER)
    track = followed([image] * 3, person=(image.shape[1] - 6.0, 0.0, image.shape[1] - 1.0, 5.0))
    assert not track.valid.any()
    assert (track.reason == Reason.OTHER_PERSON).all()


def test_who_is_alone_in_the_picture_is_not_the_one_in_its_other_half(followed, scene):
    assert followed([scene(LARGER)] * 2, person="left-half").valid.all()
    track = followed([scene(LARGER)] * 2, person="right-half")
    assert not track.valid.any() and (track.reason == Reason.OTHER_PERSON).all()


@pytest.mark.parametrize("factor", [0.9, 1.5])
def test_frames_of_another_size(followed, scene, factor):
    images = [scene((10 + i, 20, 1.0)) for i in range(10)]
    resized = [cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA) for image in images[5:]]
    track = followed([*images[:5], *resized])
    assert track.valid.all()
    assert track.choice.tolist() == [Choice.FIRST] + [Choice.CONTINUED] * 9
    middle = track.landmarks.mean(1)
    assert np.abs(middle[5] / factor - middle[4]).max() < 6


def test_frames_that_wait_for_a_person_when_the_size_changes(followed, scene):
    nobody = np.full_like(scene(LARGER), 90)
    small = cv2.resize(scene(LARGER), None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA)
    track = followed([nobody] * 3 + [small] * 12)
    assert len(track.time) == 15
    assert not track.valid[:3].any()
    assert track.valid[3:].all()
