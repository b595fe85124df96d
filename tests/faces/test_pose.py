"""Head pose of projected 3-D points, of another face than the fitted one, with noise and perspective."""

import cv2
import numpy as np
import pytest

from deepfusion.faces.pose import FACE, POINTS, angles, fit, pose, rotation

rng = np.random.default_rng(0)
POSES = [(0, 0, 0), (20, 0, 0), (-35, 5, 10), (50, -10, -20), (0, 20, 0), (0, -20, 5), (10, 10, 60), (-15, -8, -150)]


def landmarks(face, yaw, pitch, roll, *, noise=0.0, distance=None):
    """(68, 2) px of a face 60 px between the eyes; `distance` of the camera in distances of the eyes, None: far."""
    turned = face @ rotation(yaw, pitch, roll).T
    near = 1.0 if distance is None else distance / (distance + turned[:, 2:])
    points = np.full((68, 2), 1e4)  # what is not used does not matter
    points[list(POINTS)] = 60 * turned[:, :2] * near + (300, 200) + noise * rng.normal(size=(len(face), 2))
    return points.astype(np.float32)


def another(face):
    """A longer, narrower face with a flatter nose."""
    return face * (0.93, 1.08, 0.9) + 0.02 * rng.normal(size=face.shape)


@pytest.mark.parametrize("turn", POSES)
def test_the_same_face_without_noise_is_exact(turn):
    np.testing.assert_allclose(pose(landmarks(FACE, *turn)[None])[0], turn, atol=1e-3)


@pytest.mark.parametrize("turn", [turn for turn in POSES if abs(turn[0]) <= 35])
def test_another_face_with_noise_and_perspective_is_within_some_degrees(turn):
    found = pose(np.stack([landmarks(another(FACE), *turn, noise=1.0, distance=10) for _ in range(40)]))
    assert np.abs(np.median(found, 0) - turn).max() < 6
    assert np.abs(found - turn).mean(0).max() < 7


def test_signs_are_those_of_the_image():
    tip, base = FACE[POINTS.index(30)], FACE[POINTS.index(33)]
    right, up, tilted = rotation(20, 0, 0) @ tip, rotation(0, 20, 0) @ tip, rotation(0, 0, 20) @ base
    assert right[0] > 0.1  # the nose points to the right of the image
    assert up[1] < tip[1] - 0.1  # and above where it was
    assert tilted[0] < -0.1  # clockwise: what is below the eyes moves to the left


def test_as_near_as_opencv_with_the_right_focal_length():
    """cv2.solvePnP knows the camera; without it the fit is not much worse on another face."""
    camera = np.array([[600.0, 0, 300], [0, 600, 200], [0, 0, 1]])  # 60 px at a distance of 10
    ours, theirs = [], []
    for _ in range(60):
        turn = rng.uniform(-35, 35), rng.uniform(-15, 15), rng.uniform(-15, 15)
        points = landmarks(another(FACE), *turn, noise=1.0, distance=10)
        ours.append(np.abs(pose(points[None])[0] - turn))
        image = points[list(POINTS)].astype(np.float64)
        start = cv2.Rodrigues(rotation(0, 0, 0))[0], np.array([[0.0], [0.0], [10.0]])
        _, vector, _ = cv2.solvePnP(FACE, image, camera, None, *start, True, cv2.SOLVEPNP_ITERATIVE)
        theirs.append(np.abs(angles(cv2.Rodrigues(vector)[0][None, :2])[0] - turn))
    assert (np.mean(ours, 0) < np.mean(theirs, 0) + 1.5).all()


def test_no_face_and_no_shape_are_nan():
    points = np.stack([landmarks(FACE, 0, 0, 0), np.full((68, 2), np.nan), np.zeros((68, 2))])
    found = pose(points)
    assert np.isfinite(found[0]).all() and np.isnan(found[1:]).all()
    assert pose(points[:0]).shape == (0, 3)


def test_the_scale_is_the_length_of_a_unit():
    points = landmarks(FACE, 30, 5, 0)[list(POINTS)].astype(np.float64)
    _, scale = fit(points[None], FACE)
    np.testing.assert_allclose(scale, 60, rtol=1e-4)
