"""Late fusion: what two models say of a clip, joined."""

import numpy as np

# Weights of the first model that are tried.
WEIGHTS = np.linspace(0, 1, 21)
SMALLEST = 1e-12  # probability


def mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(…, classes) and (…, classes) -> their mean."""
    return (a + b) / 2


def weighted(a: np.ndarray, b: np.ndarray, weight: float) -> np.ndarray:
    """(…, classes) and (…, classes) -> a^weight b^(1 - weight), made to sum to 1."""
    p = np.maximum(a, SMALLEST) ** weight * np.maximum(b, SMALLEST) ** (1 - weight)
    return p / p.sum(-1, keepdims=True)


def product_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(…, classes) and (…, classes) -> their product, made to sum to 1."""
    p = np.maximum(a, SMALLEST) * np.maximum(b, SMALLEST)
    return p / p.sum(-1, keepdims=True)


def weight_of(a: np.ndarray, b: np.ndarray, label: np.ndarray) -> float:
    """The weight of `WEIGHTS` with which `weighted` has the least cross-entropy on these clips."""
    losses = [-np.log(weighted(a, b, w)[range(len(label)), label]).mean() for w in WEIGHTS]
    return float(WEIGHTS[int(np.argmin(losses))])
