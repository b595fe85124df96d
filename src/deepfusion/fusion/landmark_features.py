"""How a face is shaped and how a head moves, from the 68 landmarks: what no network that sees one face at a time says.

Unit of length is the distance between the eyes' centres, so that neither the camera's distance nor the size of the
picture matters.
"""

import numpy as np

from deepfusion.faces.face_track import Choice

LEFT_EYE, RIGHT_EYE = slice(36, 42), slice(42, 48)  # of the 68 points (iBUG 300-W), as seen in the image
SHAPE = 2 * 68
PERCENTILES = (10, 90)
COURSE = (2 + len(PERCENTILES)) * SHAPE
HEAD = ("x", "y", "size", "roll")
MOVEMENT = 4 * len(HEAD)
LEAST = 1e-3  # added to what a logarithm is taken of: movement that is lost in the landmarks' own trembling


def _eyes(landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(L, 2) middle between the eyes, (L,) distance of the eyes, both in px, and (L,) roll of the head, rad."""
    left, right = (landmarks[:, eye].mean(1) for eye in (LEFT_EYE, RIGHT_EYE))
    x, y = (right - left).T
    return (left + right) / 2, np.maximum(np.hypot(x, y), 1e-6), np.arctan2(y, x)


def shapes(landmarks: np.ndarray) -> np.ndarray:
    """(L, 68, 2) px -> (L, SHAPE) float32: x of all points, then y, seen from between the eyes, which lie level."""
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
    """Course of the shapes over a clip, and movement of the head in its longest shot.

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
    """How a head moves.

    Args:
        landmarks: (L, 68, 2) px, L at least 1, of frames with one and the same face: a cut is no movement, so give the
            `longest_shot` of a clip.
        time: (L,) s.

    Returns:
        (MOVEMENT,) of x, y, logarithm of the size and roll (rad): log of the standard deviation, range, log of the mean
        and of the 90th percentile of the speed, a second. x and y in distances of the eyes from their median place.
        Speed is taken between neighbours in time; where a face is missing in between nothing is known of it.
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
