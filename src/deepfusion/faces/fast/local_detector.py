"""Find faces around a known position: dlib's own boxes and landmarks, at a fraction of the cost of the whole frame.

docs/performance.md says how often they differ from dlib's, and by how much.
"""

import tempfile
from pathlib import Path
from typing import NamedTuple

import cv2
import dlib
import numpy as np

from deepfusion.errors import UserError
from deepfusion.faces.detect import Detection, corners, predictor_path
from deepfusion.faces.face_track import Source
from deepfusion.faces.fast import dlib_landmarks
from deepfusion.faces.fast.dlib_pyramid import LEAST, SIDE, Pyramid

# Two boxes of one face overlap by more (intersection over union); dlib keeps the better one.
SAME_FACE = 0.4


class Sighting(NamedTuple):
    """A face whose landmarks are not known yet: box (4,) float32 left, top, right, bottom in px; score; detector."""

    box: np.ndarray
    score: float
    source: Source = Source.DLIB


class NearDetector:
    """The search of `detect.Detector`, in a whole grey frame or only around a box.

    Around a box it gives the boxes and scores of the whole frame's search, because it moves dlib's window over the
    same pixels. Landmarks, half the cost of a face, are computed only on request.

    Args:
        upsample: As `Detector`.
        threshold: As `Detector`.

    Raises:
        UserError: As `Detector`, or dlib stores its detector in an unknown format.
    """

    def __init__(self, upsample: int = 0, threshold: float = 0.0) -> None:
        self.upsample = upsample
        self.threshold = threshold
        self._find = dlib.get_frontal_face_detector()
        self._find_on_level = one_level(self._find)
        self._predictor = dlib_landmarks.read(predictor_path())
        self._pyramid = (None, None)

    def smallest(self, coarser: int) -> float:
        """Side of the smallest box that a search of the whole frame finds, px."""
        return SIDE * 2.0 ** (coarser - self.upsample)

    def detect_full(self, grey: np.ndarray, coarser: int = 0, threshold: float | None = None) -> list[Sighting]:
        """The faces of an (H, W) uint8 image, highest score first.

        Args:
            grey: The image.
            coarser: How many times it is halved first, which takes a quarter of the time and finds faces from
                twice the size; the boxes are then not quite those of `detect_local`.
            threshold: Least score; None: the detector's own.
        """
        doublings = max(self.upsample - coarser, 0)
        factor = 2 ** max(coarser - self.upsample, 0)
        if factor > 1:
            size = (max(grey.shape[1] // factor, 1), max(grey.shape[0] // factor, 1))
            grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        boxes, scores, _ = self._find.run(grey, doublings, self.threshold if threshold is None else threshold)
        places = [corners(box) * factor + [0, 0, factor - 1, factor - 1] for box in boxes]
        return _sorted([self._sighting(place, score) for place, score in zip(places, scores, strict=True)])

    def refined(self, grey: np.ndarray, face: Sighting) -> Sighting | None:
        """Refine a face of a coarser search by `detect_local`; None if that does not find it."""
        found = self.detect_local(grey, face.box, reach=4, levels=2)
        best = max(found, key=lambda other: shared(face.box, other.box), default=None)
        return best if best is not None and shared(face.box, best.box) > SAME_FACE else None

    def detect_local(
        self, grey: np.ndarray, box: np.ndarray, *, reach: int, levels: int, threshold: float | None = None
    ) -> list[Sighting]:
        """The faces around a box of an (H, W) uint8 image, otherwise as `detect_full`.

        Args:
            grey: The image.
            box: (4,) in px, a box of this detector.
            reach: How far beyond the box is searched, in steps of the window: a ninth of the box each.
            levels: How many sizes larger and smaller than the box are searched, a factor of 1.2 each.
            threshold: Least score; None: the detector's own.
        """
        pyramid = self._pyramid_of(grey)
        middle = pyramid.level_of(box)
        parts = pyramid.parts(grey, np.asarray(box, np.float64), range(middle - levels, middle + levels + 1), reach)
        found = []
        for level, (pixels, first) in parts.items():
            boxes, scores, _ = self._find_on_level.run(pixels, 0, self.threshold if threshold is None else threshold)
            for found_box, score in zip(boxes, scores, strict=True):
                place = pyramid.to_frame(corners(found_box) + np.tile(first, 2), level)
                found.append(self._sighting(place, score))
        kept: list[Sighting] = []
        for face in _sorted(found):
            if all(shared(face.box, other.box) <= SAME_FACE for other in kept):
                kept.append(face)
        return kept

    def detection(self, grey: np.ndarray, face: Sighting) -> Detection:
        """The face with its landmarks, in the image where it was found."""
        return Detection(face.box, face.score, dlib_landmarks.landmarks(self._predictor, grey, face.box), face.source)

    def _sighting(self, box: np.ndarray, score: float) -> Sighting:
        return Sighting(box.astype(np.float32), score, Source.DLIB if score >= self.threshold else Source.DLIB_WEAK)

    def _pyramid_of(self, grey: np.ndarray) -> Pyramid:
        # One pyramid is enough: the frames of a clip have one size.
        if self._pyramid[0] != grey.shape:
            self._pyramid = (grey.shape, Pyramid(*grey.shape, self.upsample))
        return self._pyramid[1]


def one_level(detector: dlib.fhog_object_detector) -> dlib.fhog_object_detector:
    """The detector, made to search an image at its own size only.

    dlib's Python module has no setting for this, but its detector file has: the largest number of pyramid levels
    (1000), followed by the smallest sides of a level (64, 64).

    Raises:
        UserError: The file has another format.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "detector"
        detector.save(str(path))
        # An integer is stored as its number of bytes and the bytes, lowest first.
        many, one = (bytes([2, *(1000).to_bytes(2, "little")]), bytes([1, 1]))
        sides = bytes([1, LEAST, 1, LEAST])
        content = path.read_bytes()
        if content.count(many + sides) != 1:
            raise UserError("this dlib stores its detector in an unknown format: set faces.search to exact")
        path.write_bytes(content.replace(many + sides, one + sides))
        return dlib.fhog_object_detector(str(path))


def _sorted(faces: list[Sighting]) -> list[Sighting]:
    return sorted(faces, key=lambda face: face.score, reverse=True)


def shared(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes (4,)."""
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:]) + 1
    common = np.prod(np.maximum(high - low, 0))
    return float(common / (np.prod(a[2:] - a[:2] + 1) + np.prod(b[2:] - b[:2] + 1) - common))
