"""Shape of the face and movement of the head over time, from the 68 landmarks.

The unit of length is the distance between the eyes' centres, so that camera distance and frame size do not matter.
"""

import numpy as np

from deepfusion.faces.face_track import Choice

LEFT_EYE, RIGHT_EYE = slice(36, 42), slice(42, 48)  # of the 68 points (iBUG 300-W), as seen in the image
SHAPE = 2 * 68
PERCENTILES = (10, 90)
COURSE = (2 + len(PERCENTILES)) * SHAPE
HEAD = ("x", "y", "size", "roll")
MOVEMENT = 4 * len(HEAD)
LEAST = 1e-3  # added before logarithms: movement below the jitter of the landmarks


def _eyes(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(L, 2) middle between the eyes, (L,) distance of the eyes, both in px, and (L,) roll of the head, rad."""
    left, right = (landmarks[:, eye].mean(1) for eye in (LEFT_EYE, RIGHT_EYE))
    x, y = (right - left).T
    return (left + right) / 2, np.maximum(np.hypot(x, y), 1e-6), np.arctan2(y, x)


def shapes(landmarks: np.ndarray) -> np.ndarray:
    """(L, 68, 2) px -> (L, SHAPE) float32: x of all points, then y; origin between the eyes, which are level."""
    points = landmarks.astype(np.float64)
    middle, distance, roll = _eyes(points)
    x, y = ((points - middle[:, None]) / distance[:, None, None]).transpose(2, 0, 1)
    cos, sin = np.cos(roll)[:, None], np.sin(roll)[:, None]
    return np.concatenate([x * cos + y * sin, y * cos - x * sin], axis=1).astype(np.float32)


def functionals(shapes: np.ndarray) -> np.ndarray:
    """(L, SHAPE), L at least 1 -> (COURSE,): mean, standard deviation, 10th and 90th percentile over the clip."""
    return np.concatenate([shapes.mean(0), shapes.std(0), *np.percentile(shapes, PERCENTILES, axis=0)])


def longest_shot(choice: np.ndarray) -> slice:
    """Where one face was followed for the most frames without a cut or a long gap.

    Args:
        choice: (L,) `Choice` of the frames with a face.
    """
    begins = np.union1d(0, np.flatnonzero(choice != Choice.CONTINUED))
    lengths = np.diff([*begins, len(choice)])
    longest = lengths.argmax()
    return slice(begins[longest], begins[longest] + lengths[longest])


def whole(shapes: np.ndarray, landmarks: np.ndarray, time: np.ndarray, choice: np.ndarray) -> np.ndarray:
    """Functionals of the shapes over a clip, and movement of the head in its longest shot.

    Args:
        shapes: (L, SHAPE) of the frames with a face.
        landmarks: (L, 68, 2) px.
        time: (L,) s.
        choice: (L,) `Choice`.

    Returns:
        (1, COURSE + MOVEMENT) float32; (0, ...) if L = 0.
    """
    if not len(time):
        return np.zeros((0, COURSE + MOVEMENT), np.float32)
    shot = longest_shot(choice)
    return np.concatenate([functionals(shapes), movement(landmarks[shot], time[shot])])[None].astype(np.float32)


def movement(landmarks: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Statistics of head movement.

    Args:
        landmarks: (L, 68, 2) px, L at least 1, of one face without a cut, such as the `longest_shot` of a clip.
        time: (L,) s.

    Returns:
        (MOVEMENT,) for x, y, log size and roll (rad): log standard deviation, range, log of the mean and log of the
        90th percentile of the speed (per second). x and y are relative to their median, in distances of the eyes. Speed
        is measured between successive frames, not across missing faces.
    """
    middle, distance, roll = _eyes(landmarks.astype(np.float64))
    usual = np.median(distance)
    place = (middle - np.median(middle, axis=0)) / usual
    head = np.column_stack([place, np.log(distance / usual), np.unwrap(roll)])
    gap = np.diff(time)
    near = gap < 2 * np.median(gap) if len(gap) else np.zeros(0, bool)
    speed = np.abs(np.diff(head, axis=0)[near]) / gap[near, None]
    speed = speed if len(speed) else np.zeros((1, len(HEAD)))
    fast = np.percentile(speed, 90, axis=0)
    return np.concatenate([_log(head.std(0)), np.ptp(head, axis=0), _log(speed.mean(0)), _log(fast)])


def _log(x: np.ndarray) -> np.ndarray:
    return np.log(x + LEAST)
