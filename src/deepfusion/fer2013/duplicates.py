"""Duplicate images of FER2013: count them, find contradictory labels, and select images without them."""

import math

import numpy as np

from deepfusion.fer2013.data import USAGES, Fer2013


def groups(images: np.ndarray) -> np.ndarray:
    """Number the images so that equal images have equal numbers.

    Args:
        images: (N, ...) of any type; compared byte by byte.

    Returns:
        (N,) int64, 0..number of different images - 1; the numbering depends on the images only.
    """
    rows = np.ascontiguousarray(images).reshape(len(images), math.prod(images.shape[1:]))
    rows = rows.view(np.dtype((np.void, rows.itemsize * rows.shape[1]))).ravel()
    return np.unique(rows, return_inverse=True)[1].astype(np.int64)


def contradictory(images: np.ndarray, labels: np.ndarray, usage: np.ndarray) -> np.ndarray:
    """The images that have a duplicate with another label in their own split.

    A test image does not count against a training image, since the training set would depend on test labels.

    Args:
        images: (N, 48, 48) uint8.
        labels: (N,) int64.
        usage: (N,) str.

    Returns:
        (N,) bool.
    """
    cell = _cells(images, usage)
    cells, count = np.unique(np.unique(np.stack([cell, labels]), axis=1)[0], return_counts=True)
    return np.isin(cell, cells[count > 1])


def across(data: Fer2013) -> dict:
    """Count equal images within and between the splits.

    Returns:
        `repeats`: by usage, the images less the distinct images.
        `shared`: by "A in B" for every two usages, the images of A that also occur in B.
        `ambiguous`: the number of ambiguous images.
    """
    group = groups(data.images)
    of = {usage: group[data.usage == usage] for usage in USAGES}
    return {
        "repeats": {usage: len(own) - len(np.unique(own)) for usage, own in of.items()},
        "shared": {f"{a} in {b}": int(np.isin(of[a], of[b]).sum()) for a in USAGES for b in USAGES if a != b},
        "ambiguous": int(data.ambiguous.sum()),
    }


def clean(data: Fer2013) -> np.ndarray:
    """The images that are neither ambiguous nor equal to an earlier such image of their split.

    Images that occur in two splits stay in both: `across` counts them.

    Returns:
        (N,) bool.
    """
    candidates = np.flatnonzero(~data.ambiguous)
    # Equal images of a split that are not ambiguous have equal labels.
    first = np.unique(_cells(data.images, data.usage)[candidates], return_index=True)[1]
    kept = np.zeros(len(data.images), bool)
    kept[candidates[first]] = True
    return kept


def _cells(images: np.ndarray, usage: np.ndarray) -> np.ndarray:
    """(N,) int64, the same number for equal images of one split."""
    names, code = np.unique(usage, return_inverse=True)
    return groups(images) * len(names) + code
