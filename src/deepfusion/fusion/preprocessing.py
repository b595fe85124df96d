"""The first layers of the network, fitted and not trained: standardisation and principal axes of each stream."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

Normalisation = Literal["training", "speaker"]
SMALLEST = 1e-6  # standard deviation of a value that never changes
# Wider streams get randomised axes: the exact ones take the cube of the width.
EXACT_WIDTH = 1500


def standardisation(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column, float32; (L, n) rows, L at least 1."""
    mean = rows.mean(0, dtype=np.float64)
    deviation = rows.std(0, dtype=np.float64)
    return mean.astype(np.float32), np.maximum(deviation, SMALLEST).astype(np.float32)


class Reduction(nn.Module):
    """Standardised rows of a stream on their principal axes, scaled by one factor to a mean variance of 1.

    Fixed, fitted without labels: the first half of the reduction of equation (6), whose trained half follows. A trained
    projection with thousands of inputs overfits a few hundred clips.

    Args:
        width: n, columns of the stream.
        size: p, number of axes.
    """

    def __init__(self, width: int, size: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        self.register_buffer("axes", torch.zeros(width, size))
        self.register_buffer("centre", torch.zeros(size))  # what the mean standardised row is on the axes
        self.register_buffer("variance", torch.ones(size))  # of the training rows on the axes; its mean is 1

    @property
    def size(self) -> int:
        """Number of axes."""
        return self.axes.shape[1]

    def forward(self, rows: Tensor, own: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Reduce.

        Args:
            rows: (..., n).
            own: Mean and deviation to standardise by, instead of those of the training clips (normalised by speaker).

        Returns:
            (..., p).
        """
        mean, deviation = own or (self.mean, self.deviation)
        return ((rows - mean) / deviation) @ self.axes - self.centre

    def first(self, reduced: Tensor, axes: int) -> Tensor:
        """The first `axes` of reduced rows (..., p), scaled to a mean variance of 1 again: (..., min(axes, p))."""
        return reduced[..., :axes] / self.variance[:axes].mean().sqrt().clamp_min(SMALLEST)


# Single-threaded, so that the axes are the same on any machine.
@threadpool_limits.wrap(limits=1, user_api="blas")
def fit(rows: np.ndarray, *, size: int, standardised: bool = False) -> Reduction:
    """Fit a reduction.

    Args:
        rows: (L, n) of training clips.
        size: Axes, at most; fewer if rows or columns are fewer.
        standardised: Rows are standardised already, by each speaker's own clips.

    Returns:
        The reduction; without two rows, its only axis is 0.
    """
    if len(rows) < 2:
        return Reduction(rows.shape[1], 1)
    mean, deviation = (np.zeros(rows.shape[1], np.float32), np.ones(rows.shape[1], np.float32))
    if not standardised:
        mean, deviation = standardisation(rows)
    scaled = (rows - mean) / deviation
    solver = "covariance_eigh" if rows.shape[1] <= EXACT_WIDTH else "randomized"
    axes = PCA(min(size, *rows.shape), svd_solver=solver, random_state=0).fit(scaled)
    scale = np.sqrt(max(axes.explained_variance_.mean(), SMALLEST))
    made = Reduction(rows.shape[1], len(axes.components_))
    matrix = (axes.components_.T / scale).astype(np.float32)
    for name, value in (
        ("mean", mean),
        ("deviation", deviation),
        ("axes", matrix),
        ("centre", axes.mean_.astype(np.float32) @ matrix),
        ("variance", (axes.explained_variance_ / scale**2).astype(np.float32)),
    ):
        getattr(made, name).copy_(torch.from_numpy(np.ascontiguousarray(value)))
    return made


def speaker_statistics(rows: Sequence[np.ndarray], speakers: Sequence[str]) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and deviation of each speaker's own rows, without labels.

    Transductive: several clips of a test speaker must be there before the first is predicted.

    Args:
        rows: (L, n) of each clip; L may be 0.
        speakers: Of each clip.

    Returns:
        Speaker -> mean and deviation; no entry for one without rows.
    """
    found = {}
    for speaker in sorted(set(speakers)):
        own = [x for x, who in zip(rows, speakers, strict=True) if who == speaker and len(x)]
        if own:
            mean, deviation = standardisation(np.concatenate(own))
            found[speaker] = (torch.from_numpy(mean), torch.from_numpy(deviation))
    return found
