"""Resample a grey image as dlib does, pixel for pixel: its detector's score depends on single grey levels.

The arithmetic is that of `resize_image` in dlib's image_transforms/interpolation.h, except for the order of sums: very
few pixels differ, by one grey level. benchmarks/face_parts.py measures how many, and the time saved.
"""

from typing import NamedTuple

import cv2
import numpy as np

from deepfusion.numba_cache import compiled

STRIP = 128  # rows at a time, so that the intermediate image stays in the core's cache


class Axis(NamedTuple):
    """Positions of the n columns (or rows) of one image in another.

    `first` (n,) int32 is the column before each, `fraction` (n,) float32 its distance from there towards the next.
    `half` (n,) float32 is added before a value is cut to a whole number.
    """

    first: np.ndarray
    fraction: np.ndarray
    half: np.ndarray

    def part(self, start: int, end: int, origin: int) -> "Axis":
        """Columns start to end - 1, in an image without the first `origin` columns."""
        return Axis(self.first[start:end] - np.int32(origin), self.fraction[start:end], self.half[start:end])


def columns(before: int, after: int) -> Axis:
    """The columns of an image that dlib resizes from `before` columns to `after`, each at least 2.

    dlib aligns the first and the last columns. It handles four at a time, sums positions in float32 and rounds
    values; from the first four that reach beyond the image on, it handles one at a time and truncates.
    """
    step = (before - 1) / (after - 1)
    four = np.arange(4) * step
    steps = np.full((-(-after // 4) + 1, 4), 4 * step, np.float32)
    steps[0] = four - 4 * step
    place = np.cumsum(steps, axis=0, dtype=np.float32)[1:]
    beyond = np.append(place[:, 3].astype(int) + 1 >= before, True)
    by_fours = np.arange(after) < 4 * np.argmax(beyond)
    place = np.where(by_fours, place.reshape(-1)[:after], np.arange(after) * step)
    return _axis(place, np.where(by_fours, 0.5, 0.0), before)


def rows(before: int, after: int) -> Axis:
    """The rows of an image that dlib resizes from `before` rows to `after`, each at least 2."""
    step = (before - 1) / (after - 1)
    return _axis(np.arange(after) * step, np.zeros(after), before)


def _axis(place: np.ndarray, half: np.ndarray, before: int) -> Axis:
    # The last column lies at fraction 1 from the one before it.
    first = np.clip(np.floor(place), 0, before - 2)
    return Axis(*(array.astype(dtype) for array, dtype in ((first, "i4"), (place - first, "f4"), (half, "f4"))))


def transposed(picture: np.ndarray, down: Axis, across: Axis) -> np.ndarray:
    """An (H, W) uint8 image resampled, bilinear: (columns of `across`, rows of `down`) uint8, axes swapped.

    A second call, with the axes in the other order, makes it upright again. Swapping the axes in each call lets
    both directions interpolate whole rows at once, which is faster than gathering pixels along a row.
    """
    height, width = len(down.first), picture.shape[1]
    strip, turned = np.empty((STRIP, width), np.float32), np.empty((width, STRIP), np.float32)
    found = np.empty((len(across.first), height), np.uint8)
    for start in range(0, height, STRIP):
        _mix(picture, *down, start, min(start + STRIP, height), strip, 0)
        cv2.transpose(strip, turned)
        _mix(turned, *across, 0, len(found), found, start)
    return found


@compiled
def _mix(picture, first, fraction, half, start, end, found, offset):
    """Write rows start to end - 1 of an `Axis`, each interpolated between two rows of an image, to columns of another.

    `picture` (H, W) and `found` are uint8 or float32; the rows go to rows 0, 1 ... of `found`, from column `offset` on.
    """
    columns = min(picture.shape[1], found.shape[1] - offset)
    for j in range(start, end):
        above, below, share, more = picture[first[j]], picture[first[j] + 1], fraction[j], half[j]
        row = found[j - start, offset : offset + columns]
        for i in range(columns):
            value = np.float32(above[i])
            row[i] = value + share * (np.float32(below[i]) - value) + more
