"""Equal images: named, counted, and left out."""

import numpy as np
import pytest

from deepfusion.fer2013.data import Fer2013
from deepfusion.fer2013.duplicates import across, clean, contradictory, groups


def some(rows):
    """FER2013 of (which image, label, usage) a row; images 0, 1, ... differ in one pixel only."""
    number, labels, usage = (np.array(column) for column in zip(*rows, strict=True))
    images = np.zeros((len(rows), 48, 48), np.uint8)
    images[:, 47, 47] = number
    return Fer2013(images, labels, usage, None, contradictory(images, labels, usage))


@pytest.fixture
def data():
    return some(
        [
            (0, 3, "Training"),
            (1, 3, "Training"),
            (0, 3, "Training"),  # repeats row 0
            (2, 4, "Training"),
            (2, 5, "Training"),  # contradicts row 3
            (2, 4, "Training"),
            (1, 6, "PublicTest"),  # row 1's in another split, of another label
            (0, 3, "PublicTest"),
            (3, 0, "PrivateTest"),
            (3, 0, "PrivateTest"),
            (1, 3, "PrivateTest"),
        ]
    )


def test_equal_images_get_equal_numbers():
    images = np.random.default_rng(0).integers(0, 2, (200, 2, 3), dtype=np.uint8)
    group = groups(images)
    same = (images[:, None] == images[None]).all((2, 3))
    np.testing.assert_array_equal(group[:, None] == group[None], same)
    assert group.dtype == np.int64 and group.max() + 1 == len(np.unique(images.reshape(200, -1), axis=0))
    order = np.random.default_rng(1).permutation(200)
    np.testing.assert_array_equal(groups(images[order]), group[order])


def test_images_that_differ_in_the_last_pixel_or_in_layout():
    images = np.zeros((3, 48, 48), np.uint8)
    images[1, 47, 47] = 1
    assert len(set(groups(images))) == 2
    assert groups(images.transpose(0, 2, 1)).tolist() == groups(images).tolist()
    assert groups(images[:0]).shape == (0,)


def test_contradictions_count_within_a_split_alone(data):
    assert np.flatnonzero(data.ambiguous).tolist() == [3, 4, 5]


def test_counts(data):
    assert across(data) == {
        "repeats": {"Training": 3, "PublicTest": 0, "PrivateTest": 1},
        "shared": {
            "Training in PublicTest": 3,
            "Training in PrivateTest": 1,
            "PublicTest in Training": 2,
            "PublicTest in PrivateTest": 1,
            "PrivateTest in Training": 1,
            "PrivateTest in PublicTest": 1,
        },
        "ambiguous": 3,
    }


def test_clean_keeps_the_first_of_equal_images_in_each_split(data):
    assert np.flatnonzero(clean(data)).tolist() == [0, 1, 6, 7, 8, 10]


def test_image_that_the_source_marks_does_not_stand_for_an_equal_one(data):
    marked = data.ambiguous.copy()
    marked[0] = True
    kept = clean(Fer2013(data.images, data.labels, data.usage, None, marked))
    assert np.flatnonzero(kept).tolist() == [1, 2, 6, 7, 8, 10]


def test_one_split_alone(data):
    part = data.split("PrivateTest")
    assert across(part)["repeats"] == {"Training": 0, "PublicTest": 0, "PrivateTest": 1}
    assert clean(part).tolist() == [True, False, True]
