"""How far eyes and mouth are open, from the 68 landmarks; ratios of lengths, independent of the face's size and roll.

Source of the eye aspect ratio: T. Soukupová and J. Čech, Real-Time Eye Blink Detection using Facial Landmarks, Computer
Vision Winter Workshop 2016. The mouth is measured likewise on the inner lips.
"""

import numpy as np

# Corner, two points of the upper lid, corner, two of the lower lid; each upper point with the one below it.
EYES = ((36, 37, 38, 39, 40, 41), (42, 43, 44, 45, 46, 47))
MOUTH = (60, 61, 62, 63, 64, 65, 66, 67)  # inner lips: corner, three upper points, corner, three lower points


def _distance(landmarks: np.ndarray, a: int, b: int) -> np.ndarray:
    return np.linalg.norm(landmarks[:, a].astype(np.float64) - landmarks[:, b], axis=1)


def _ratio(landmarks: np.ndarray, points: tuple[int, ...]) -> np.ndarray:
    """(L,) mean distance of the upper points from the lower ones, divided by the distance of the corners."""
    half = len(points) // 2
    upper, lower = points[1:half], points[:half:-1]
    height = np.mean([_distance(landmarks, *pair) for pair in zip(upper, lower, strict=True)], axis=0)
    width = _distance(landmarks, points[0], points[half])
    return np.divide(height, width, out=np.full(len(height), np.nan), where=width > 0)


def eye_opening(landmarks: np.ndarray) -> np.ndarray:
    """(L, 68, 2) px -> (L, 2) of the eye on the left and on the right of the image: about 0.3 open, below 0.2 shut.

    A face in front of the camera has its right eye on the left. NaN where the landmarks are NaN.
    """
    return np.stack([_ratio(landmarks, eye) for eye in EYES], axis=1)


def mouth_opening(landmarks: np.ndarray) -> np.ndarray:
    """(L, 68, 2) px -> (L,): 0 shut, about 1 as high as wide; NaN where the landmarks are NaN."""
    return _ratio(landmarks, MOUTH)
