"""Figures of a classifier, counted by hand and by a loop from the definition."""

import numpy as np
import pytest

from deepfusion.fer2013.metrics import BINS, calibration_error, figures


def sure(*said, confidence=0.7):
    """Probabilities whose highest is `confidence`, of the classes that are said."""
    rows = np.full((len(said), 7), (1 - confidence) / 6)
    rows[np.arange(len(said)), said] = confidence
    return rows


def test_figures_counted_by_hand():
    labels = np.array([0, 0, 0, 3, 3, 6])
    made = figures(sure(0, 0, 3, 3, 6, 6), labels)
    assert made["n"] == 6
    assert made["accuracy"] == pytest.approx(4 / 6)
    # F1: angry 2 * 2 / (2 * 2 + 0 + 1), happy 2 / (2 + 1 + 1), neutral 2 / (2 + 1 + 0); four classes have none: 0.
    assert made["macro_f1"] == pytest.approx((4 / 5 + 2 / 4 + 2 / 3) / 7)
    assert made["ece"] == pytest.approx(0.7 - 4 / 6)
    confusion = np.zeros((7, 7), int)
    confusion[0, 0], confusion[0, 3], confusion[3, 3], confusion[3, 6], confusion[6, 6] = 2, 1, 1, 1, 1
    assert made["confusion"] == confusion.tolist()


@pytest.mark.parametrize("sharpness", [0.3, 1, 4, 100])
def test_calibration_error_by_its_definition(sharpness):
    rng = np.random.default_rng(0)
    scores = np.exp(sharpness * rng.normal(size=(500, 7)))
    probabilities = scores / scores.sum(1, keepdims=True)
    labels = rng.integers(0, 7, 500)
    error = 0.0
    for b in range(BINS):
        inside = []
        for p, label in zip(probabilities, labels, strict=True):
            first, last = b / BINS, (b + 1) / BINS
            if first <= max(p) < last or (b == BINS - 1 and max(p) == 1):
                inside.append((list(p).index(max(p)) == label, max(p)))
        if inside:
            accuracy = sum(right for right, _ in inside) / len(inside)
            confidence = sum(sure for _, sure in inside) / len(inside)
            error += len(inside) / 500 * abs(accuracy - confidence)
    assert calibration_error(probabilities, labels) == pytest.approx(error)
    assert error > 0.05


def test_calibration_of_the_certain():
    assert calibration_error(np.eye(7), np.arange(7)) == 0
    assert calibration_error(np.eye(7), np.arange(7)[::-1]) == pytest.approx(6 / 7)  # the middle one is right
    # Errors of one bin outweigh each other, of two bins they add up.
    one = np.concatenate([sure(0, confidence=0.75), sure(0, confidence=0.75)])
    assert calibration_error(one, np.array([0, 1])) == pytest.approx(0.25)
    two = np.concatenate([sure(0, confidence=0.75), sure(0, confidence=0.55)])
    assert calibration_error(two, np.array([1, 0])) == pytest.approx((0.75 + 0.45) / 2)
