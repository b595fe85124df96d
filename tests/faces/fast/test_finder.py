"""A person followed through frames in which dlib's detector sees less or nothing: weak faces, and YuNet's."""

import cv2
import numpy as np
import pytest
import skimage.data

from deepfusion.faces.align import five_points
from deepfusion.faces.face_track import Choice, Reason, Source, collect
from deepfusion.faces.fast.finder import Finder, picture_of
from deepfusion.faces.fast.local_detector import NearDetector
from deepfusion.faces.fast.tracker import follow_near
from deepfusion.faces.yunet import CROP_SIDE, REACH, Seen, YuNet
from deepfusion.media import Frame

WEAK = -0.6


def clip(images):
    return [Frame(i / 25, image) for i, image in enumerate(images)]


@pytest.fixture(scope="module")
def follow_both():
    detector, yunet = NearDetector(), YuNet()
    return lambda images, **settings: collect(
        follow_near(clip(images), detector, yunet=yunet, weak_threshold=WEAK, **settings)
    )


@pytest.fixture(scope="module")
def follow_dlib():
    detector = NearDetector()
    return lambda images, **settings: collect(follow_near(clip(images), detector, weak_threshold=WEAK, **settings))


@pytest.fixture(scope="module")
def shown(head):
    """The head on a table, squeezed to a width (as if turned), or with a part covered: top, bottom, left, right."""
    back = cv2.resize(skimage.data.coffee(), (420, 240), interpolation=cv2.INTER_AREA)

    def make(width=1.0, cover=None, shift=0.0):
        person = head.copy()
        if cover:
            top, bottom, left, right = cover
            person[top:bottom, left:right] = (150, 110, 90)
        matrix = np.array([[width, 0, 10 + 90 * (1 - width) + shift], [0, 1, 20.0]])
        image = back.copy()
        return cv2.warpAffine(person, matrix, (420, 240), dst=image, borderMode=cv2.BORDER_TRANSPARENT)

    return make


LEFT_HALF, LOWER_HALF, ALL = (20, 180, 0, 92), (95, 190, 0, 180), (20, 190, 20, 160)
TURN = [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.5, 0.5, 0.6, 0.7, 0.8, 0.9, 1]


def test_a_turned_head_is_followed_weakly(follow_both, follow_dlib, shown):
    images = [shown(width) for width in TURN]
    for follow in (follow_both, follow_dlib):
        track = follow(images)
        assert track.valid.all() and (track.choice[1:] == Choice.CONTINUED).all()
        assert track.detector.tolist() == [Source.DLIB] * 5 + [Source.DLIB_WEAK] * 3 + [Source.DLIB] * 5
        assert (track.score[5:8] < 0).all() and (track.score[5:8] >= WEAK).all()
        middle = track.landmarks.mean(1)
        assert np.linalg.norm(np.diff(middle, axis=0), axis=1).max() < 20
    assert np.isnan(track.alignment).all()


def test_without_weak_faces_the_turned_frames_are_lost(shown):
    track = collect(follow_near(clip([shown(width) for width in TURN]), NearDetector()))
    assert track.reason.tolist() == [0] * 5 + [Reason.NO_FACE] * 3 + [0] * 5


def test_yunet_sees_a_half_covered_face(follow_both, follow_dlib, shown):
    images = [shown()] * 3 + [shown(cover=LEFT_HALF, shift=i) for i in range(40)] + [shown(shift=40)] * 3
    track = follow_both(images, cut_difference=0.9)
    assert track.valid.all()
    assert (np.isin(track.detector[3:43], [Source.YUNET, Source.DLIB_WEAK])).all()
    assert (track.detector[[0, 1, 2, 43, 44, 45]] == Source.DLIB).all()
    assert np.isfinite(track.alignment[3:43]).all() and track.alignment[3:43].max() < 0.4
    # dlib's own weak face is followed for as long as the person may be gone, and no longer.
    alone = follow_dlib(images, cut_difference=0.9)
    assert not alone.valid[30:43].any()


def test_a_person_is_chosen_by_yunet_alone(follow_both, follow_dlib, shown):
    images = [shown(cover=LEFT_HALF)] * 6
    track = follow_both(images)
    assert track.valid.all() and track.choice[0] == Choice.FIRST
    assert (track.detector > Source.DLIB).all()
    assert not follow_dlib(images).valid.any()


def test_a_narrow_covered_face_is_chosen_at_the_fine_scale(follow_both, shown):
    track = follow_both([shown(0.5, cover=LOWER_HALF)] * 3)
    assert track.valid.all() and track.choice[0] == Choice.FIRST
    assert (track.detector > Source.DLIB).all() and track.alignment.max() < 0.4


def test_a_narrow_half_covered_face_is_followed_at_the_fine_scale(follow_both, shown):
    images = [shown(0.5)] * 2 + [shown(0.5, cover=(20, 180, 0, 95))] * 3
    track = follow_both(images, cut_difference=0.9)
    assert track.valid.all() and (track.detector[2:] == Source.YUNET).all()


def test_landmarks_that_do_not_fit_coarse_points_are_compared_with_fine_ones(follow_both, shown):
    images = [shown(0.65, cover=LOWER_HALF)] * 3
    assert follow_both(images, max_misalignment=1.0).alignment.max() > 0.4
    track = follow_both(images)
    assert track.valid.all() and track.alignment.max() < 0.2


def test_a_face_that_only_one_size_of_the_part_shows_is_nobody(shown, monkeypatch):
    image, finder = shown(0.5, cover=LOWER_HALF), Finder(NearDetector(), YuNet())
    near = finder._yunet.near
    assert finder.person(picture_of(image), "")[0] is not None
    monkeypatch.setattr(
        finder._yunet,
        "near",
        lambda image, box, scaled=CROP_SIDE, reach=REACH: near(image, box, scaled, reach) if reach == REACH else [],
    )
    assert finder.person(picture_of(image), "")[0] is None


def test_a_covered_face_is_nobody(follow_both, shown):
    images = [shown()] * 3 + [shown(cover=ALL)] * 40 + [shown()] * 3
    track = follow_both(images, cut_difference=0.9)
    assert (track.reason[3:43] == Reason.NO_FACE).all() and track.valid[:3].all() and track.valid[43:].all()
    assert (track.detector[3:43] == Source.NONE).all()


def test_a_profile_has_a_box_and_no_landmarks(follow_both):
    small = cv2.resize(skimage.data.camera(), None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA)
    profile = cv2.cvtColor(small, cv2.COLOR_GRAY2RGB)
    track = follow_both([profile] * 4)
    assert (track.reason == Reason.MISALIGNED).all() and not track.valid.any()
    assert np.isfinite(track.box).all() and np.isnan(track.landmarks).all() and (track.alignment > 0.4).all()
    assert (track.detector == Source.YUNET).all() and (track.score > 0.4).all() and (track.choice == Choice.NONE).all()


def test_all_faces_of_the_searched_frames(follow_both, follow_dlib, scene):
    two = scene((10, 20, 1.0), (235, 40, 0.9))
    images = [two] * 20
    for follow, source in ((follow_both, Source.YUNET), (follow_dlib, Source.DLIB)):
        track = follow(images, redetect=0.4)
        found = track.found
        times, counts = np.unique(found["time"], return_counts=True)
        np.testing.assert_array_equal(times, track.time[[0, 10]])
        assert counts.tolist() == [2, 2] and (found["detector"] == source).all()
        assert (np.sort(found["box"][:2, 0]) // 100).tolist() == [0, 2]
        assert found["box"].dtype == np.float32 and found["score"].min() > 0
        assert (track.faces == 2).all()


@pytest.mark.parametrize(("person", "left"), [("left", True), ("right", False), ((235.0, 40.0, 400.0, 240.0), False)])
def test_the_person_that_was_asked_for(follow_both, scene, person, left):
    track = follow_both([scene((10, 20, 1.0), (235, 40, 0.9))] * 3, person=person)
    assert track.valid.all() and ((track.box[:, 0] < 200) == left).all()
    assert (track.detector == Source.DLIB).all()


def test_landmarks_of_a_rolled_face_are_those_of_the_upright_one_rolled(shown):
    upright, finder = shown(), Finder(NearDetector(), YuNet())
    (face,) = finder._detector.detect_full(cv2.cvtColor(upright, cv2.COLOR_RGB2GRAY))
    matrix = cv2.getRotationMatrix2D((face.box[:2] + face.box[2:]).astype(float) / 2, -60, 1.0)  # clockwise
    wanted = cv2.transform(finder._detector.detection(picture_of(upright).grey, face).landmarks[None], matrix)[0]
    seen = Seen(face.box, 0.9, five_points(wanted))
    found = finder._upright(picture_of(cv2.warpAffine(upright, matrix, upright.shape[1::-1])), seen)
    assert np.linalg.norm(found.landmarks - wanted, axis=1).mean() < 0.06 * (face.box[2] - face.box[0])
