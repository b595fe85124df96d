"""dlib's predictor of 68 landmarks: the same points, computed faster (benchmarks/face_parts.py).

Kazemi and Sullivan, "One millisecond face alignment with an ensemble of regression trees" (2014): in each of 15 rounds,
500 trees each add one of their 16 leaves to the shape, selected by comparing grey levels of pixels that move with the
shape. Most of the time goes into fetching 7,500 leaves out of 65 MB. dlib adds them tree by tree; here all leaves of a
round are selected before the first is added, so that the processor fetches many at a time.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from deepfusion.numba_cache import compiled

ROUNDS, TREES, DEPTH, PIXELS, POINTS = 15, 500, 4, 500, 68
SPLITS, LEAVES = 2**DEPTH - 1, 2**DEPTH
SHAPE = 2 + 2 * 2 * POINTS  # integers of a shape in the file: rows, columns, floats
TREE = 1 + 4 * SPLITS + 1 + LEAVES * SHAPE


class Predictor(NamedTuple):
    """The trees. Shapes and places are in units of the face's box, (0, 0) its top left pixel, (1, 1) its bottom right.

    `mean` (136,) float32: x, y of the first shape's points. `pairs` (15, 500, 15, 2) uint16 and `least`
    (15, 500, 15) float32: by which two pixels a node decides, and by how much the first must be brighter to go left.
    `leaves` (15, 500, 16, 136) float32. `anchors` (15, 500) int32 and `away` (15, 500, 2) float32: the point that each
    pixel moves with, and x, y of the pixel from there in the first shape.
    """

    mean: np.ndarray
    pairs: np.ndarray
    least: np.ndarray
    leaves: np.ndarray
    anchors: np.ndarray
    away: np.ndarray


def read(path: Path) -> Predictor:
    """The trees of dlib's file of 68 landmarks (`detect.predictor_path`, which knows its checksum).

    It is a sequence of integers, each a control byte (low nibble: how many bytes follow; 0x80: negative) and its bytes,
    lowest first; a float is two of them, mantissa and exponent; each list begins with its length.
    """
    content, position = np.fromfile(path, np.uint8), 0

    def take(count: int) -> np.ndarray:
        nonlocal position
        numbers, position = _integers(content, position, count)
        return numbers

    take(1)  # version of the format
    mean = _floats(take(SHAPE)[2:])
    pairs = np.empty((ROUNDS, TREES, SPLITS, 2), np.uint16)
    least = np.empty((ROUNDS, TREES, SPLITS), np.float32)
    leaves = np.empty((ROUNDS, TREES, LEAVES, 2 * POINTS), np.float32)
    take(1)
    for i in range(ROUNDS):
        trees = take(1 + TREES * TREE)[1:].reshape(TREES, TREE)
        splits = trees[:, 1 : 1 + 4 * SPLITS].reshape(TREES, SPLITS, 4)
        pairs[i], least[i] = splits[..., :2], _floats(splits[..., 2:])[..., 0]
        leaves[i] = _floats(trees[:, 2 + 4 * SPLITS :].reshape(TREES, LEAVES, SHAPE)[..., 2:])
    anchors = take(1 + ROUNDS * (1 + PIXELS))[1:].reshape(ROUNDS, 1 + PIXELS)[:, 1:]
    away = take(1 + ROUNDS * (1 + 4 * PIXELS))[1:].reshape(ROUNDS, 1 + 4 * PIXELS)[:, 1:]
    return Predictor(mean, pairs, least, leaves, anchors.copy(), _floats(away.reshape(ROUNDS, PIXELS, 4)))


def landmarks(predictor: Predictor, grey: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The 68 points of the face in a box of an (H, W) uint8 image: (68, 2) float32 x, y, whole px as dlib gives them.

    Args:
        predictor: From `read`.
        grey: The image.
        box: (4,) left, top, right, bottom in px, the last ones inclusive; it may reach beyond the image.
    """
    left, top, right, bottom = (float(side) for side in box)
    return _landmarks(np.ascontiguousarray(grey), left, top, right - left, bottom - top, *predictor)


def _floats(numbers: np.ndarray) -> np.ndarray:
    """(..., 2 n) mantissas and exponents as (..., n) float32."""
    return np.ldexp(numbers[..., 0::2].astype(np.float32), numbers[..., 1::2])


@compiled
def _integers(content, position, count):
    """`count` integers of a file's bytes from a position on, (count,) int32, and the position after them."""
    found = np.empty(count, np.int32)
    for i in range(count):
        control, value = content[position], np.int64(0)
        for k in range(control & 0x0F):
            value |= np.int64(content[position + 1 + k]) << (8 * k)
        found[i] = -value if control & 0x80 else value
        position += 1 + (control & 0x0F)
    return found, position


@compiled
def _landmarks(grey, left, top, width, height, mean, pairs, least, leaves, anchors, away):
    """`landmarks`, on the fields of a `Predictor`: equation (1) of the paper, as in dlib's shape_predictor.h."""
    shape = mean.copy()
    centred, spread = _centred(mean)
    pixels = np.empty(away.shape[1], np.float32)
    chosen = np.empty(pairs.shape[1], np.int64)
    for turn in range(len(leaves)):
        # The rotation and scale that bring the mean shape nearest to this one, by least squares.
        moved, _ = _centred(shape)
        along = across = 0.0
        for i in range(0, len(mean), 2):
            along += moved[i] * centred[i] + moved[i + 1] * centred[i + 1]
            across += moved[i + 1] * centred[i] - moved[i] * centred[i + 1]
        cosine, sine = np.float32(along / spread), np.float32(across / spread)
        for i in range(len(pixels)):
            x, y = away[turn, i]
            anchor = 2 * anchors[turn, i]
            column = np.floor(width * (cosine * x - sine * y + shape[anchor]) + left + 0.5)
            row = np.floor(height * (sine * x + cosine * y + shape[anchor + 1]) + top + 0.5)
            inside = 0 <= column < grey.shape[1] and 0 <= row < grey.shape[0]
            pixels[i] = grey[int(row), int(column)] if inside else 0
        for tree in range(len(chosen)):
            node = 0
            for _ in range(DEPTH):
                first, second = pairs[turn, tree, node]
                node = 2 * node + 2 - int(pixels[first] - pixels[second] > least[turn, tree, node])
            chosen[tree] = node - least.shape[2]
        for tree in range(len(chosen)):
            leaf = leaves[turn, tree, chosen[tree]]
            for i in range(len(shape)):
                shape[i] += leaf[i]
    found = np.empty((len(shape) // 2, 2), np.float32)
    for i in range(len(found)):
        found[i, 0] = np.floor(width * shape[2 * i] + left + 0.5)
        found[i, 1] = np.floor(height * shape[2 * i + 1] + top + 0.5)
    return found


@compiled
def _centred(shape):
    """A shape (136,) about its mean, float64, and the sum of its squares."""
    found = shape.astype(np.float64)
    found[0::2] -= found[0::2].mean()
    found[1::2] -= found[1::2].mean()
    return found, (found**2).sum()
