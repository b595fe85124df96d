"""The landmarks of a face against those of dlib's own predictor."""

import dlib
import numpy as np
import pytest

from deepfusion.faces import detect
from deepfusion.faces.fast import dlib_landmarks
from deepfusion.media import frames


@pytest.fixture(scope="module")
def both():
    """dlib's landmarks and ours."""
    path = detect.predictor_path()
    theirs, ours = dlib.shape_predictor(str(path)), dlib_landmarks.read(path)

    def find(grey, box):
        expected = detect.landmarks(theirs, grey, dlib.rectangle(*map(int, box)))
        return expected, dlib_landmarks.landmarks(ours, grey, box)

    return find


@pytest.fixture(scope="module")
def picture(head):
    return np.ascontiguousarray(head[..., 1])


def test_a_face_in_many_boxes(both, picture):
    draws = np.random.default_rng(0)
    for _ in range(200):
        left, top = draws.integers(-60, 100, 2)
        box = np.array([left, top, left + draws.integers(20, 200), top + draws.integers(20, 200)])
        expected, found = both(picture, box)
        np.testing.assert_array_equal(found, expected, err_msg=str(box))


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 3), (120, 90)])
def test_noise_and_tiny_pictures(both, shape):
    noise = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for box in ([0, 0, 79, 79], [-500, -500, -400, -400], [20, 10, 20, 10]):
        expected, found = both(noise, np.array(box))
        np.testing.assert_array_equal(found, expected)
        assert found.shape == (68, 2) and found.dtype == np.float32


def test_a_part_of_a_larger_array(both, picture):
    expected, found = both(np.ascontiguousarray(picture[10:, 5:-7]), np.array([30, 40, 150, 160]))
    np.testing.assert_array_equal(found, expected)
    _, of_view = both(picture[10:, 5:-7], np.array([30, 40, 150, 160]))
    np.testing.assert_array_equal(of_view, expected)


@pytest.mark.realdata
@pytest.mark.parametrize("name", ["02-01-03_01", "08-01-06_01"])
def test_real_faces(javsed, detector, both, name):
    for _, image in frames(javsed / "clips" / f"{name}.mp4", end=1.0):
        grey = np.ascontiguousarray(image[..., 1])
        for face in detector(image):
            expected, found = both(grey, face.box)
            np.testing.assert_array_equal(found, expected)
