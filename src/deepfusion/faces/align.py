"""Cut an aligned crop out of a frame, by the template that a face network was trained on."""

from dataclasses import dataclass
from typing import Literal

import cv2
import dlib
import numpy as np

# Eye centres, nose tip and mouth corners in px of a 112 px crop (insightface, face_align.py).
_ARCFACE_TEMPLATE = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)]
)


@dataclass(frozen=True)
class Crop:
    """Crop geometry that a network expects.

    Attributes:
        template: "dlib": dlib's face chip, the inner landmarks onto its mean face. "arcface": five points
            onto the ArcFace template. "box": the detector's box, made square and enlarged, upright.
        size: Width and height of the crop in px.
        detail: Side in px at which the face is sampled before it is enlarged to `size`; 0: sampled at `size`. A
            network trained on small images needs no more detail than they had.
        margin: "dlib": the chip's padding (dlib's own is 0.25). "box": the enlargement; 0.3 makes the side
            1.3 times the box's longer side. "arcface": unused, the template leaves no choice.
    """

    template: Literal["dlib", "arcface", "box"]
    size: int
    margin: float = 0.0
    detail: int = 0


def warp(image: np.ndarray, box: np.ndarray, landmarks: np.ndarray, crop: Crop) -> np.ndarray:
    """Cut the face out of a frame with one bilinear interpolation; pixels outside the frame are black.

    A face larger than the crop is sampled at n x n points per pixel of the crop, which are averaged (n is the
    reduction, rounded): plain bilinear sampling would alias. A crop of less detail is then enlarged, bilinear.

    Args:
        image: (H, W, 3) uint8 RGB.
        box: (4,) left, top, right, bottom in px of the frame.
        landmarks: (68, 2) x, y in px of the frame.
        crop: Geometry of the crop.

    Returns:
        (size, size, 3) uint8 RGB.

    Raises:
        ValueError: Box or landmarks are not finite (a frame without a face).
    """
    matrix = transform(box, landmarks, crop)
    side = crop.detail or crop.size
    matrix = rescaled(matrix, side / crop.size)
    n = max(1, round(1 / np.sqrt(np.linalg.det(matrix[:, :2]))))
    chip = cv2.warpAffine(image, rescaled(matrix, n), (n * side, n * side), flags=cv2.INTER_LINEAR)
    chip = chip if n == 1 else cv2.resize(chip, (side, side), interpolation=cv2.INTER_AREA)
    return chip if side == crop.size else cv2.resize(chip, (crop.size, crop.size), interpolation=cv2.INTER_LINEAR)


def rescaled(matrix: np.ndarray, factor: float) -> np.ndarray:
    """The (2, 3) map to a crop that has `factor` times the pixels on a side; (0, 0) is a pixel's centre in both."""
    scaled = factor * matrix
    scaled[:, 2] += (factor - 1) / 2
    return scaled


def transform(box: np.ndarray, landmarks: np.ndarray, crop: Crop) -> np.ndarray:
    """The affine map from the frame to the crop, both with (0, 0) at the centre of the top left pixel.

    Returns:
        (2, 3) float64; rotation, uniform scale and shift alone, never a reflection.

    Raises:
        ValueError: Box or landmarks are not finite, or the template is unknown.
    """
    if not (np.isfinite(box).all() and np.isfinite(landmarks).all()):
        raise ValueError("no face in this frame: box or landmarks are not finite")
    match crop.template:
        case "dlib":
            return _dlib_chip(landmarks, crop.size, crop.margin)
        case "arcface":
            return similarity(five_points(landmarks), _ARCFACE_TEMPLATE * (crop.size / 112))
        case "box":
            left, top, right, bottom = np.asarray(box, np.float64)
            scale = crop.size / ((max(right - left, bottom - top) + 1) * (1 + crop.margin))
            middle = (crop.size - 1) / 2
            return np.array(
                [
                    [scale, 0, middle - scale * (left + right) / 2],
                    [0, scale, middle - scale * (top + bottom) / 2],
                ]
            )
    raise ValueError(f"unknown template {crop.template!r}")


def _dlib_chip(landmarks: np.ndarray, size: int, padding: float) -> np.ndarray:
    """The map of dlib's `get_face_chip`, from the rotated rectangle that dlib itself computes."""
    # dlib accepts landmarks in whole px only, which its predictor gives.
    points = [dlib.point(round(x), round(y)) for x, y in landmarks.tolist()]
    chip = dlib.get_face_chip_details(dlib.full_object_detection(dlib.rectangle(), points), size, padding)
    middle = np.array([chip.rect.left() + chip.rect.right(), chip.rect.top() + chip.rect.bottom()]) / 2
    # dlib maps the centres of the chip's corner pixels to the corners of the rectangle.
    scale = (size - 1) / (chip.rect.right() - chip.rect.left())
    turn = scale * np.array([[np.cos(chip.angle), np.sin(chip.angle)], [-np.sin(chip.angle), np.cos(chip.angle)]])
    return np.column_stack([turn, (size - 1) / 2 - turn @ middle])


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """Eye centres, nose tip and mouth corners, left to right in the image: (5, 2) of (68, 2)."""
    return np.stack([landmarks[36:42].mean(0), landmarks[42:48].mean(0), landmarks[30], landmarks[48], landmarks[54]])


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation, scale and shift that map (n, 2) points to others with the least squared error.

    In the plane, Umeyama's problem (1991) without reflection is linear: t = a s + b with complex s, t, a, b.

    Returns:
        (2, 3) float64 affine matrix.
    """
    s, t = (np.asarray(points, np.float64) @ [1, 1j] for points in (source, target))
    centred = s - s.mean()
    a = np.vdot(centred, t - t.mean()) / np.vdot(centred, centred).real
    b = t.mean() - a * s.mean()
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])
