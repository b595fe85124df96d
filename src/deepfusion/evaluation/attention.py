"""Selectivity of attention."""

import numpy as np
from scipy.stats import entropy


def effective_share(weights: np.ndarray) -> float:
    """How evenly a clip's attention weights are spread: exp(entropy) / number; 1 is the plain mean.

    Args:
        weights: Of any shape, at least one; they sum to 1.
    """
    return float(np.exp(entropy(weights, axis=None)) / weights.size)
