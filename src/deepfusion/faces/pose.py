"""Head pose from the 68 landmarks: a mean 3-D face, rotated and scaled to fit them.

Signs, seen in the image: yaw is positive when the face turns to the right of the image (the person's own left), pitch
when it turns up, roll when the head tilts clockwise. The head is turned by pitch first, then yaw, then roll.

The camera is a scaled orthographic one, whose focal length need not be known (D. DeMenthon, L. Davis, Model-Based
Object Pose in 25 Lines of Code, IJCV 1995, without its perspective iterations).
"""

import numpy as np

POINTS = (27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 39, 42, 45)
"""Nose and corners of the eyes (iBUG 300-W): least moved by expressions. The jaw's points slide along its contour."""

FACE = np.array(
    [
        # x to the right of the image, y down, z away from the camera; the distance of the eyes' centres is 1.
        [0, -0.044, -0.33],
        [0, 0.148, -0.446],
        [0, 0.34, -0.574],
        [0, 0.537, -0.699],
        [-0.229, 0.675, -0.355],
        [-0.119, 0.716, -0.415],
        [0, 0.75, -0.453],
        [0.119, 0.716, -0.415],
        [0.229, 0.675, -0.355],
        [-0.703, -0.013, 0.053],
        [-0.297, 0.013, -0.053],
        [0.297, 0.013, -0.053],
        [0.703, -0.013, 0.053],
    ]
)
"""The mean face's `POINTS`, (13, 3), looking into the camera; benchmarks/mean_face.py computes them."""


def pose(landmarks: np.ndarray) -> np.ndarray:
    """Head pose.

    Args:
        landmarks: (L, 68, 2) px; NaN where there is no face.

    Returns:
        (L, 3) float64 degrees: yaw and pitch within 90, roll within 180; NaN where the landmarks are NaN.
    """
    axes, _ = fit(landmarks[:, POINTS].astype(np.float64), FACE)
    return angles(axes)


def fit(points: np.ndarray, face: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotate and scale a 3-D face to fit points of an image: least squares, then the nearest rotation.

    Args:
        points: (L, P, 2).
        face: (P, 3).

    Returns:
        (L, 2, 3), the first two rows of each rotation, and (L,), the scale: length in the image of a unit of the face.
    """
    inverse = np.linalg.pinv(face - face.mean(0))  # (3, P)
    affine = np.einsum("kp,lpc->lck", inverse, points - points.mean(1, keepdims=True))
    # Polar decomposition: affine = root @ rotation with root = sqrt(affine affine^T), 2 x 2, in closed form.
    square = affine @ affine.transpose(0, 2, 1)
    (a, b), (_, d) = square.transpose(1, 2, 0)
    area = np.sqrt(np.maximum(a * d - b * b, 0))
    size = np.sqrt(a + d + 2 * area)
    with np.errstate(invalid="ignore", divide="ignore"):  # all points in one place: no pose, NaN
        adjugate = np.stack([np.stack([d + area, -b], -1), np.stack([-b, a + area], -1)], -2)
        inverse_root = adjugate / (area * size)[:, None, None]
        return inverse_root @ affine, size / 2


def angles(axes: np.ndarray) -> np.ndarray:
    """(L, 2, 3), first two rows of R = Rz(roll) Ry(yaw) Rx(pitch) -> (L, 3) yaw, pitch, roll in degrees."""
    x, y = axes[:, 0], axes[:, 1]
    z = np.cross(x, y)
    yaw = -np.arcsin(np.clip(-z[:, 0], -1, 1))
    pitch = np.arctan2(-z[:, 1], z[:, 2])
    roll = np.arctan2(y[:, 0], x[:, 0])
    return np.degrees(np.stack([yaw, pitch, roll], axis=1))


def rotation(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """(3, 3) from degrees: face coordinates -> x to the right of the image, y down, z away from the camera."""
    a, b, c = np.radians([-pitch, -yaw, roll])
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    return about_z @ about_y @ about_x
