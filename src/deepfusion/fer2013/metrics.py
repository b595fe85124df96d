"""Metrics of a classifier of FER2013."""

import numpy as np
from sklearn.metrics import confusion_matrix, f1_score

from deepfusion.fer2013.data import EMOTIONS

BINS = 15


def accuracy(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Share of the images, (N,) of 0..6, whose label has the highest of the (N, 7) probabilities."""
    return float((probabilities.argmax(1) == labels).mean())


def figures(probabilities: np.ndarray, labels: np.ndarray) -> dict:
    """Accuracy, macro-F1, calibration error and confusion.

    Args:
        probabilities: (N, 7), in the order of `EMOTIONS`.
        labels: (N,) of 0..6.

    Returns:
        n, accuracy, macro_f1 and ece (shares), confusion (rows: the label, columns: the prediction; counts).
    """
    predicted = probabilities.argmax(1)
    classes = np.arange(len(EMOTIONS))
    return {
        "n": len(labels),
        "accuracy": accuracy(probabilities, labels),
        "macro_f1": float(f1_score(labels, predicted, labels=classes, average="macro", zero_division=0)),
        "ece": calibration_error(probabilities, labels),
        "confusion": confusion_matrix(labels, predicted, labels=classes).tolist(),
    }


def calibration_error(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Expected calibration error, 15 bins of equal width.

    Mean of |accuracy - confidence| over the bins of the highest probability, weighted by their images.
    Source: Guo, Pleiss, Sun, Weinberger, "On Calibration of Modern Neural Networks", ICML 2017, equation (3).
    """
    confidence = probabilities.max(1)
    right = probabilities.argmax(1) == labels
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(bins, right, BINS) - np.bincount(bins, confidence, BINS)
    return float(np.abs(gaps).sum() / len(labels))
