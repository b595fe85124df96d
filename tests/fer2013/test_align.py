"""Where the face lies in a 48 px image, and the crops that follow from it."""

from dataclasses import fields

import cv2
import numpy as np
import pytest
import torch
from paths import DATA

from deepfusion.faces.align import Crop, warp
from deepfusion.fer2013 import augment
from deepfusion.fer2013.align import USUAL_BOX, align, to_crop
from deepfusion.fer2013.read import read
from deepfusion.networks.catalogue import CATALOGUE

REAL = DATA / "fer2013" / "fer2013_ferplus_lossless.npz"
CROPS = [Crop("dlib", 150, 0.25), Crop("arcface", 112), Crop("box", 160, 0.25), Crop("dlib", 48, 0.25)]
SHIPPED = [network.crop for network in CATALOGUE.values() if network.base]


@pytest.fixture(scope="module")
def aligned(portraits):
    return align(portraits[0])


def test_landmarks_lie_where_they_do_in_the_photograph(portraits, aligned):
    distance = np.linalg.norm(aligned.landmarks - portraits[1], axis=2)
    # Measured 0.4 px and less on average; half a pixel of the 48 is the error of a wrong centre of (0, 0).
    assert (distance.mean(1) < 0.45).all() and distance[:, 36:].max() < 1  # eyes and mouth
    assert (aligned.score > 0.5).all()
    middle = (aligned.box[:, :2] + aligned.box[:, 2:]) / 2
    np.testing.assert_allclose(middle, portraits[1].mean(1), atol=4)


def test_no_shift_between_image_and_landmarks(portraits, aligned):
    """A reflected image has reflected landmarks: a shift by a part of a pixel would count twice."""
    mirrored = align(portraits[0][:, :, ::-1])
    eyes = [aligned.landmarks[:, 36:48].mean(1), mirrored.landmarks[:, 36:48].mean(1)]
    assert np.abs(eyes[0][:, 0] + eyes[1][:, 0] - 47).mean() < 0.3
    assert np.abs(eyes[0][:, 1] - eyes[1][:, 1]).mean() < 0.3


def test_threads_change_nothing(portraits, aligned):
    threaded = align(portraits[0], threads=3)
    for field in fields(aligned):
        np.testing.assert_array_equal(getattr(threaded, field.name), getattr(aligned, field.name))


def test_blank_image_gets_the_usual_box(portraits):
    found = align(np.stack([np.full((48, 48), 77, np.uint8), portraits[0][0]]))
    assert np.isnan(found.score[0]) and found.score[1] > 0.5
    np.testing.assert_allclose(found.box[0], USUAL_BOX, atol=0.17)  # half a pixel of the enlarged picture
    assert not np.allclose(found.box[1], USUAL_BOX, atol=0.17)
    assert np.isfinite(found.landmarks).all()
    assert (found.landmarks[0] > 0).all() and (found.landmarks[0] < 55).all()
    assert all(getattr(found, field.name).dtype == np.float32 for field in fields(found))


@pytest.mark.parametrize("crop", CROPS + SHIPPED, ids=str)
def test_crops_equal_those_that_are_cut_of_the_enlarged_picture(portraits, aligned, crop):
    images = portraits[0]
    theta = augment.thetas(to_crop(aligned, crop), crop.size)
    ours = augment.crops(torch.tensor(images), theta, crop.size)[:, 0].numpy()
    theirs = []
    for image, box, landmarks in zip(images, aligned.box, aligned.landmarks, strict=True):
        large = cv2.resize(image, (192, 192), interpolation=cv2.INTER_LINEAR)
        large = cv2.copyMakeBorder(large, 96, 96, 96, 96, cv2.BORDER_REPLICATE)  # warp has black outside
        place = [4 * values + 1.5 + 96 for values in (box, landmarks)]  # 48 px to 192
        theirs.append(warp(np.repeat(large[..., None], 3, 2), *place, crop)[..., 0])

    def difference(right, down):
        return np.abs(np.roll(ours, (down, right), (1, 2)) - theirs)[:, 3:-3, 3:-3].mean((1, 2))

    assert (difference(0, 0) < (3 if crop.detail else 2)).all()
    for shift in [(1, 0), (-1, 0), (0, 1), (0, -1)]:
        assert (difference(*shift) > difference(0, 0)).all(), shift


@pytest.mark.realdata
def test_on_fer2013():
    images = read(REAL).images[::300]
    found = align(images, threads=2)
    seen = np.isfinite(found.score)
    assert seen.mean() > 0.8
    np.testing.assert_allclose(np.median(found.box[seen], axis=0), USUAL_BOX, atol=4)
    left, right, mouth = (found.landmarks[:, part].mean(1) for part in (slice(36, 42), slice(42, 48), slice(48, 68)))
    assert (left[:, 0] < right[:, 0]).mean() > 0.98
    assert (mouth[:, 1] > (left + right)[:, 1] / 2 + 5).mean() > 0.98
