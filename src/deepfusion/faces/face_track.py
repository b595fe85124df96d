"""The face track: the followed person in every frame of a clip."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import numpy as np


class Reason(IntEnum):
    """Why a frame has no face of the followed person; `FACE` where it has one."""

    FACE = 0
    NO_FACE = 1  # the detector found none
    OTHER_PERSON = 2  # there are faces (near: in the latest search of the whole frame), but not the followed person's
    MISALIGNED = 3  # the person's face was seen, but the landmarks do not lie on it: a crop would be wrong


class Choice(IntEnum):
    """How the face of a frame was chosen among those found."""

    NONE = 0  # no face, or a misaligned one
    FIRST = 1  # the most prominent face of the first frame that has any
    CONTINUED = 2  # the face that overlaps the one seen last
    AFTER_GAP = 3  # the most prominent again: the person had not been seen for too long
    AFTER_CUT = 4  # the most prominent again: the scene had changed (a cut)


class Source(IntEnum):
    """Which detector gave the box of a face."""

    NONE = 0  # no face
    DLIB = 1  # dlib, at least at `threshold`
    DLIB_WEAK = 2  # dlib below it, next to the last face; confirmed by YuNet if that is in use
    YUNET = 3  # YuNet, where dlib sees no face; the box is mapped to dlib's convention


class Found(NamedTuple):
    """One of the faces found in a searched frame; the fields are those of `FaceTrack.found`."""

    time: float
    box: np.ndarray
    score: float
    detector: Source


class Row(NamedTuple):
    """One frame of a face track; the fields are those of `FaceTrack`."""

    time: float
    box: np.ndarray
    landmarks: np.ndarray
    score: float
    reason: Reason
    choice: Choice
    faces: int
    detector: Source = Source.NONE
    alignment: float = np.nan
    found: tuple[Found, ...] = ()


FOUND_COLUMNS: dict[str, tuple[tuple[int, ...], str]] = {
    "time": ((), "f8"),
    "box": ((4,), "f4"),
    "score": ((), "f4"),
    "detector": ((), "u1"),
}
"""Shape of one row and dtype of every column of `FaceTrack.found`."""


@dataclass(frozen=True)
class FaceTrack:
    """One person followed through the L frames of a clip.

    Pixel coordinates are those of the upright frame, (0, 0) being the centre of its top left pixel.

    Attributes:
        time: (L,) float64, presentation time in s on the container's clock.
        box: (L, 4) float32, the detector's box: left, top, right, bottom in px, the last ones inclusive;
            it may reach beyond the frame; NaN where there is no face. A misaligned face has a box.
        landmarks: (L, 68, 2) float32, x and y in px of the 68 points of the iBUG 300-W scheme; NaN where
            there is no face, or a misaligned one.
        score: (L,) float32, the detector's score of the chosen face; NaN where there is none. dlib's is about -1 to 3,
            YuNet's 0 to 1: see `detector`.
        reason: (L,) uint8, see `Reason`.
        choice: (L,) uint8, see `Choice`.
        faces: (L,) uint8, number of faces found in the frame; 255 means 255 or more. After a local search it counts
            the person, if seen, and the other faces of the latest search of a whole frame.
        detector: (L,) uint8, which detector gave the box, see `Source`.
        alignment: (L,) float32, how far the eyes, nose and mouth corners of dlib's landmarks lie from YuNet's, on
            average, in distances between the eyes of a frontal face of this size; NaN where YuNet was not run.
        found: All faces found in the searched frames, in order of time: `time` (N,) float64 of the frame, `box` (N, 4)
            float32, `score` (N,) float32, `detector` (N,) uint8. Not every frame is searched as a whole, see
            `faces.redetect`.
    """

    time: np.ndarray
    box: np.ndarray
    landmarks: np.ndarray
    score: np.ndarray
    reason: np.ndarray
    choice: np.ndarray
    faces: np.ndarray
    detector: np.ndarray
    alignment: np.ndarray
    found: dict[str, np.ndarray] = field(default_factory=lambda: _arrays((), FOUND_COLUMNS))

    @property
    def valid(self) -> np.ndarray:
        """(L,) bool: the frame has a face of the followed person."""
        return self.reason == Reason.FACE

    def columns(self) -> dict[str, np.ndarray]:
        """The arrays with one row per frame, by name."""
        return {name: getattr(self, name) for name in COLUMNS}


COLUMNS: dict[str, tuple[tuple[int, ...], str]] = {
    "time": ((), "f8"),
    "box": ((4,), "f4"),
    "landmarks": ((68, 2), "f4"),
    "score": ((), "f4"),
    "reason": ((), "u1"),
    "choice": ((), "u1"),
    "faces": ((), "u1"),
    "detector": ((), "u1"),
    "alignment": ((), "f4"),
}
"""Shape of one row and dtype of every column of a `FaceTrack` that has one row per frame."""


def collect(rows: Iterable[Row]) -> FaceTrack:
    """The rows of one clip, in their order, as one track (no rows: a track of length 0)."""
    rows = list(rows)
    found = [face for row in rows for face in row.found]
    return FaceTrack(**_arrays(rows, COLUMNS), found=_arrays(found, FOUND_COLUMNS))


def _arrays(rows: Sequence[Row | Found], columns: dict[str, tuple[tuple[int, ...], str]]) -> dict[str, np.ndarray]:
    return {
        name: np.array([getattr(row, name) for row in rows], dtype).reshape(len(rows), *shape)
        for name, (shape, dtype) in columns.items()
    }
