"""Late fusion: the class probabilities of two models combined (Kittler et al. 1998, sum and product rule)."""

import numpy as np

# Candidate weights of the first model.
WEIGHTS = np.linspace(0, 1, 21)
SMALLEST = 1e-12  # probability


def mean(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(..., classes) and (..., classes) -> their mean."""
    return (a + b) / 2


def weighted(a: np.ndarray, b: np.ndarray, weight: float) -> np.ndarray:
    """(..., classes) and (..., classes) -> a^weight b^(1 - weight), scaled to sum 1."""
    p = np.maximum(a, SMALLEST) ** weight * np.maximum(b, SMALLEST) ** (1 - weight)
    return p / p.sum(-1, keepdims=True)


def product(a: np.ndarray, b: np.ndarray, shares: np.ndarray | float = 1.0) -> np.ndarray:
    """(..., classes) and (..., classes) -> their product over the class shares, scaled to sum 1.

    Both probabilities contain the class shares, which must count once: a modality that predicts the shares alone, as a
    missing one does, leaves the other's probabilities unchanged.

    Args:
        a: Probabilities.
        b: Probabilities.
        shares: (classes,) of the training clips; 0 for a class that has none. 1: all classes alike.
    """
    joint = np.maximum(a, SMALLEST) * np.maximum(b, SMALLEST)
    joint = np.divide(joint, shares, out=np.zeros_like(joint), where=np.broadcast_to(shares, joint.shape) > 0)
    return joint / joint.sum(-1, keepdims=True)


def weight_of(a: np.ndarray, b: np.ndarray, label: np.ndarray) -> float:
    """The weight of `WEIGHTS` with which `weighted` has the least cross-entropy on these clips; 0.5 without clips."""
    if len(label) == 0:
        return 0.5
    losses = [-np.log(weighted(a, b, w)[range(len(label)), label]).mean() for w in WEIGHTS]
    return float(WEIGHTS[int(np.argmin(losses))])
