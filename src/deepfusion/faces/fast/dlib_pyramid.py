"""The image pyramid that dlib's frontal detector searches, computed for a part of the frame only.

dlib searches at many scales: it shrinks the frame by 5/6 repeatedly, and moves a window of 80 px over each level in
steps of 8 px. The score is sensitive to resampling: the same face scores 1.0 or 1.2 on frames that differ by one pixel
in width. A part of the frame therefore gives dlib's own boxes only if its levels hold exactly the pixels of the whole
frame's levels, as they do here.
"""

import math
from typing import NamedTuple

import cv2
import numpy as np

from deepfusion.faces.fast import dlib_resize

CELL = 8  # px: step of the window
LEAST = 64  # px: dlib makes no level with a shorter side, but always the first
SIDE = 73.0  # px: side of dlib's box at its own level; the window is somewhat larger
STEP = 1.2  # from a level to the next smaller one


class Size(NamedTuple):
    """Height and width of an image, px."""

    height: int
    width: int


class Part(NamedTuple):
    """A part of an image: columns left to right - 1 and rows top to bottom - 1, px."""

    left: int
    top: int
    right: int
    bottom: int

    def around(self, other: "Part") -> "Part":
        """The smallest part that holds both."""
        low = (min(self.left, other.left), min(self.top, other.top))
        return Part(*low, max(self.right, other.right), max(self.bottom, other.bottom))


class Pyramid:
    """Sizes of dlib's levels for frames of one size, and the levels' pixels in a part of a frame.

    The chain of images is: the frame, `upsample` doublings, and then the levels; level 0 is the last doubling.

    Args:
        height: Of the frames, px.
        width: Of the frames, px.
        upsample: How many times dlib doubles the frame first.
    """

    def __init__(self, height: int, width: int, upsample: int) -> None:
        self._upsample = upsample
        self._chain = [Size(height, width)]
        for _ in range(upsample):
            height, width = 2 * height + 1, 2 * width + 2  # dlib's own sizes
            self._chain.append(Size(height, width))
        while min(height, width) * 5 // 6 >= LEAST:
            height, width = height * 5 // 6, width * 5 // 6
            self._chain.append(Size(height, width))
        self._known: dict[int, tuple[dlib_resize.Axis, dlib_resize.Axis]] = {}

    @property
    def levels(self) -> int:
        """Number of levels that dlib searches."""
        return len(self._chain) - self._upsample

    def level_of(self, box: np.ndarray) -> int:
        """The level on which a box (4,) of the detector was found; it may not exist for another detector's box."""
        side = (box[2] - box[0] + 1) * 2**self._upsample
        return round(math.log(side / SIDE, STEP))

    def to_frame(self, box: np.ndarray, level: int) -> np.ndarray:
        """A box (4,) of a level in frame coordinates, in whole px as dlib rounds it: (4,) float64."""
        for _ in range(level):
            box = box * STEP + 0.3
        box = _rounded(box)
        for _ in range(self._upsample):
            box = box / 2 - [1.25, 0.75, 1.25, 0.75]
        return _rounded(box)

    def parts(self, frame: np.ndarray, box: np.ndarray, levels: range, margin: int) -> dict[int, tuple]:
        """The pixels of some levels around a box.

        Args:
            frame: (H, W) uint8.
            box: (4,) left, top, right, bottom in px of the frame.
            levels: Requested levels; those that do not exist are left out.
            margin: How far a part reaches beyond the box, in steps of the window at that level.

        Returns:
            level -> (h, w) uint8 and the level's coordinates (2,) x, y of its first pixel. Empty where the box lies
            outside the frame.
        """
        wanted = {}
        for level in levels if min(frame.shape) > 1 else ():
            if 0 <= level < self.levels:
                part = self._part(box, level, margin)
                if part.left < part.right and part.top < part.bottom:
                    wanted[self._upsample + level] = part
        if not wanted:
            return {}
        needed = self._needed(wanted)
        there = needed[0]
        picture = np.ascontiguousarray(frame[there.top : there.bottom, there.left : there.right])
        upright = True
        found = {}
        for i, here in needed.items():
            if i > 0:
                down, across = self._axes(i)
                axes = down.part(here.top, here.bottom, there.top), across.part(here.left, here.right, there.left)
                picture = dlib_resize.transposed(picture, *(axes if upright else reversed(axes)))
                there, upright = here, not upright
            if i in wanted:
                own = wanted[i]
                pixels = (picture if upright else cv2.transpose(picture))[
                    own.top - here.top : own.bottom - here.top, own.left - here.left : own.right - here.left
                ]
                found[i - self._upsample] = np.ascontiguousarray(pixels), np.array([own.left, own.top])
        return found

    def _part(self, box: np.ndarray, level: int, margin: int) -> Part:
        """The cells of a level around a box of the frame; whole cells, so that the window moves in dlib's steps."""
        size = self._chain[self._upsample + level]
        x, y = self._pixel(self._upsample + level)
        left, top, right, bottom = box / [x, y, x, y] / CELL
        return Part(
            max(0, math.floor(left) - margin) * CELL,
            max(0, math.floor(top) - margin) * CELL,
            min(size.width, (math.ceil(right) + margin) * CELL),
            min(size.height, (math.ceil(bottom) + margin) * CELL),
        )

    def _pixel(self, i: int) -> tuple[float, float]:
        """Width and height in the frame of a pixel of image i; dlib aligns corner pixels."""
        a, b = self._chain[0], self._chain[i]
        return (a.width - 1) / max(b.width - 1, 1), (a.height - 1) / max(b.height - 1, 1)

    def _needed(self, wanted: dict[int, Part]) -> dict[int, Part]:
        """The part of each image of the chain from which the next one and the requested ones are computed."""
        last = max(wanted)
        needed = {last: wanted[last]}
        for i in range(last, 0, -1):
            down, across = self._axes(i)
            part = needed[i]
            before = Part(
                int(across.first[part.left]),
                int(down.first[part.top]),
                int(across.first[part.right - 1]) + 2,
                int(down.first[part.bottom - 1]) + 2,
            )
            needed[i - 1] = before.around(wanted[i - 1]) if i - 1 in wanted else before
        return dict(sorted(needed.items()))

    def _axes(self, i: int) -> tuple[dlib_resize.Axis, dlib_resize.Axis]:
        """Positions of the rows and columns of image i of the chain in the previous one."""
        if i not in self._known:
            a, b = self._chain[i - 1], self._chain[i]
            self._known[i] = dlib_resize.rows(a.height, b.height), dlib_resize.columns(a.width, b.width)
        return self._known[i]


def _rounded(values: np.ndarray) -> np.ndarray:
    """To whole numbers, halves away from 0."""
    return np.sign(values) * np.floor(np.abs(values) + 0.5)
