"""The first layers of the network, fitted and not trained: standardisation and principal axes of each stream."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor, nn

Normalisation = Literal["training", "speaker"]
SMALLEST = 1e-6  # lower bound of standard deviations
# Lower bound of a speaker's own deviation, as a share of the training clips': a feature that hardly varies in one
# person's rows must not be amplified.
FLOOR = 0.1
# Wider streams get randomised PCA: exact PCA is cubic in the width.
EXACT_WIDTH = 1500
POWER = 2  # iterations of randomised PCA


def standardisation(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column, float32; (L, n) rows, L at least 1."""
    deviation, mean = torch.std_mean(torch.from_numpy(np.ascontiguousarray(rows)), 0, correction=0)
    return mean.numpy(), deviation.clamp_min(SMALLEST).numpy()


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
        self.register_buffer("centre", torch.zeros(size))  # projection of the mean standardised row
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
        return self.scaled(rows, own) @ self.axes - self.centre

    def scaled(self, rows: Tensor, own: tuple[Tensor, Tensor] | None = None) -> Tensor:
        """Standardised rows, before the axes: (..., n)."""
        mean, deviation = own or (self.mean, self.deviation)
        return (rows - mean) / torch.maximum(deviation, FLOOR * self.deviation)

    def scale(self, axes: int) -> float:
        """Factor that gives the first `axes` of reduced rows a mean variance of 1 again."""
        return float(1 / self.variance[:axes].mean().sqrt().clamp_min(SMALLEST))

    def first(self, reduced: Tensor, axes: int) -> Tensor:
        """The first `axes` of reduced rows (..., p), scaled to a mean variance of 1 again: (..., min(axes, p))."""
        return reduced[..., :axes] * self.scale(axes)


def fit(rows: Sequence[np.ndarray], own: Sequence[tuple[Tensor, Tensor] | None], *, size: int) -> Reduction:
    """Fit a reduction.

    Args:
        rows: (L, n) of each training clip.
        own: Of each clip, mean and deviation to standardise by; None: those of all.
        size: Axes, at most; fewer if columns are fewer, or rows: L rows vary along L - 1 axes.

    Returns:
        The reduction; without two different rows, its only axis is 0.
    """
    joined = np.concatenate(rows)
    if len(joined) < 2:
        return Reduction(joined.shape[1], 1)
    mean, deviation = map(torch.from_numpy, standardisation(joined))
    made = Reduction(joined.shape[1], min(size, len(joined) - 1, joined.shape[1]))
    made.mean.copy_(mean)
    # A column that is constant in training may vary in test: dividing by almost 0 would make it an outlier.
    made.deviation.copy_(torch.where(deviation > SMALLEST, deviation, 1))
    scaled, ends = joined, np.cumsum([len(x) for x in rows])  # in place: wide rows take memory
    for x, of, end in zip(rows, own, ends, strict=True):
        scaled[end - len(x) : end] = made.scaled(torch.from_numpy(x), of)
    if not scaled.any():
        return Reduction(joined.shape[1], 1)
    solver = "covariance_eigh" if joined.shape[1] <= EXACT_WIDTH else "randomized"
    axes = PCA(made.size, svd_solver=solver, iterated_power=POWER, random_state=0, copy=False).fit(scaled)
    scale = np.sqrt(max(axes.explained_variance_.mean(), SMALLEST))
    # The model's file, mostly axes, has half precision: rounded here, so that training uses the same values.
    matrix = (axes.components_.T / scale).astype(np.float16).astype(np.float32)
    made.axes.copy_(torch.from_numpy(matrix))
    made.centre.copy_(torch.from_numpy(axes.mean_.astype(np.float32) @ matrix))
    made.variance.copy_(torch.from_numpy((axes.explained_variance_ / scale**2).astype(np.float32)))
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
