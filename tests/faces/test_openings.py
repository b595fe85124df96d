"""Eyes and mouth: known shapes, whatever the face's size, place and roll."""

import numpy as np

from deepfusion.faces.openings import EYES, MOUTH, eye_opening, mouth_opening


def face(right=0.3, left=0.2, mouth=0.5):
    points = np.random.default_rng(0).normal(size=(68, 2))
    for corners, height, x in ((EYES[0], right, 0.0), (EYES[1], left, 3.0)):
        points[list(corners)] = [(x, 0), (x + 0.3, -height / 2), (x + 0.7, -height / 2), (x + 1, 0),
                                 (x + 0.7, height / 2), (x + 0.3, height / 2)]  # fmt: skip
    across = [(2 * x, y * mouth) for x, y in [(0, 0), (0.25, -1), (0.5, -1), (0.75, -1), (1, 0), (0.75, 1), (0.5, 1),
                                              (0.25, 1)]]  # fmt: skip
    points[list(MOUTH)] = across
    return points.astype(np.float32)


def test_known_ratios_survive_rotation_and_scale():
    for angle in (0, 0.4, -1.2):
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        points = (face() @ turn.T * 37 + 100)[None].astype(np.float32)
        np.testing.assert_allclose(eye_opening(points), [[0.3, 0.2]], rtol=1e-4)
        np.testing.assert_allclose(mouth_opening(points), [0.5], rtol=1e-4)


def test_shut_is_zero_and_no_face_is_nan():
    points = np.stack([face(0, 0, 0), np.full((68, 2), np.nan, np.float32)])
    np.testing.assert_allclose(eye_opening(points)[0], 0, atol=1e-6)
    assert mouth_opening(points)[0] < 1e-6
    assert np.isnan(eye_opening(points)[1]).all() and np.isnan(mouth_opening(points)[1])
    assert eye_opening(points[:0]).shape == (0, 2) and mouth_opening(points[:0]).shape == (0,)
