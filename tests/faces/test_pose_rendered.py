"""Head pose of rendered heads (benchmarks/rendered_head.py), from their true landmarks and from dlib's."""

import dlib
import numpy as np
import pytest

from deepfusion.faces.detect import predictor_path
from deepfusion.faces.pose import angles, pose

rendered = pytest.importorskip("rendered_head")
PLACE, SCALE = np.array([160.0, 130.0]), 1.4
FLIP = np.diag([1.0, 1, -1])  # the renderer's z points to the camera


@pytest.fixture(scope="module")
def predictor():
    return dlib.shape_predictor(str(predictor_path()))


def seen(speaker, yaw, pitch, roll, predictor=None):
    """True angles, and the landmarks (68, 2): the head's own, or those that dlib finds in its picture."""
    head, turn = rendered.head(speaker), rendered.rotation(yaw, pitch, roll)
    points = rendered.project(head.landmarks, turn, PLACE, SCALE)[:, :2]
    true = angles((FLIP @ turn @ FLIP)[None, :2])[0]
    if predictor is None:
        return true, points
    image = np.full((300, 340, 3), 110, np.float32)
    rendered.draw(image, head, turn, PLACE, SCALE, np.array([0, -0.3, 0.95]))
    low, high = points[17:].min(0), points[17:].max(0)
    middle, half = (low + high) / 2, 0.62 * (high - low).max()
    box = dlib.rectangle(*np.round([*(middle - half), *(middle + half)]).astype(int).tolist())
    return true, np.array([(p.x, p.y) for p in predictor(np.clip(image, 0, 255).astype(np.uint8), box).parts()], float)


def errors(turn, predictor=None):
    """Mean over speakers of found minus true; less that of the head looking ahead: no portrait is straight."""
    found = []
    for speaker in range(2):
        (true, points), (_, ahead) = seen(speaker, *turn, predictor), seen(speaker, 0, 0, 0, predictor)
        found.append(pose(points[None])[0] - true - pose(ahead[None])[0])
    return np.mean(found, axis=0)


@pytest.mark.parametrize(
    "turn", [(15, 0, 0), (-30, 0, 0), (45, 0, 0), (0, 25, 0), (0, -25, 0), (0, 0, 20), (25, -15, 10)]
)
def test_true_landmarks_give_the_pose(turn):
    assert np.abs(errors(turn)).max() < 6


@pytest.mark.parametrize("turn", [(15, 0, 0), (-15, 0, 0), (30, 0, 0), (0, 0, 20)])
def test_dlibs_landmarks_give_the_pose_of_moderate_turns(turn, predictor):
    assert np.abs(errors(turn, predictor)).max() < 8
