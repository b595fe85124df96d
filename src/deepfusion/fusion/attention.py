"""Attention over the vectors of a clip, equations (1)-(3) for sound and (6)-(9) for faces.

A batch is ragged: the vectors of all clips stand one behind the other, and `clip` says whose each one is. Nothing is
padded, so nothing has to be masked away.
"""

import torch
from torch import Tensor, nn


def scaled_softmax(e: Tensor, clip: Tensor, clips: int, *, lam: float) -> Tensor:
    """Attention weights, equations (2) and (8): alpha_i = exp(lam e_i) / sum_k exp(lam e_k) within a clip.

    Args:
        e: (L,) scores of all vectors of the batch.
        clip: (L,) int64, the clip in the batch, 0 <= clip < clips, that each vector belongs to.
        clips: Number of clips in the batch; some may have no vector.
        lam: The paper's lambda: 1 is the plain softmax, 0 the plain mean.

    Returns:
        (L,) weights that sum to 1 within each clip that has a vector.
    """
    e = lam * e
    # The largest score of each clip is taken off first: the weights stay the same and exp cannot overflow.
    peak = e.new_full((clips,), -torch.inf).scatter_reduce(0, clip, e.detach(), "amax")
    weight = (e - peak[clip]).exp()
    total = weight.new_zeros(clips).index_add(0, clip, weight)
    return weight / total[clip]


def weighted_sum(alpha: Tensor, x: Tensor, clip: Tensor, clips: int) -> Tensor:
    """One vector a clip, equations (3) and (9): sum_i alpha_i x_i.

    Args:
        alpha: (L,) weights.
        x: (L, C) vectors.
        clip: (L,) int64, the clip of each vector.
        clips: Number of clips in the batch.

    Returns:
        (clips, C); the row of a clip without any vector is zero (see `missing.Impute`).
    """
    return x.new_zeros(clips, x.shape[1]).index_add(0, clip, alpha[:, None] * x)


class AudioAttention(nn.Module):
    """Equations (1)-(3): where in time and frequency the emotion is heard.

    Args:
        channels: C, the length of the encoder's vectors a_i.
        lam: The paper's lambda.
    """

    def __init__(self, channels: int, *, lam: float):
        super().__init__()
        self.W = nn.Linear(channels, channels)  # with the b of equation (1)
        self.u = nn.Linear(channels, 1, bias=False)
        self.lam = lam

    def score(self, a: Tensor) -> Tensor:
        """Equation (1): (..., C) encoder vectors -> (...) scores."""
        return self.u(torch.tanh(self.W(a)))[..., 0]

    def forward(self, a: Tensor, clip: Tensor, clips: int) -> tuple[Tensor, Tensor]:
        """(L, C) encoder vectors of all clips -> ((clips, C) attended vectors, (L,) weights)."""
        alpha = scaled_softmax(self.score(a), clip, clips, lam=self.lam)  # (2)
        return weighted_sum(alpha, a, clip, clips), alpha  # (3)


class VideoAttention(nn.Module):
    """Equations (6)-(9): the frames' features are reduced by `W`, then the frames that show the emotion are picked.

    The caller applies `W`, equation (6), for it may have the features standardised on the way: `Standardise.then`.

    Args:
        features: C', the length of a frame's feature (4096 for EF-VGG; a sum where several networks are joined).
        reduced: Length of the reduced feature.
        lam: The paper's lambda.
    """

    def __init__(self, features: int, reduced: int, *, lam: float):
        super().__init__()
        self.W = nn.Linear(features, reduced)  # with the b~ of equation (6)
        self.u = nn.Linear(reduced, 1, bias=False)
        self.lam = lam

    def score(self, v: Tensor) -> Tensor:
        """Equation (7): (..., reduced) features -> (...) scores."""
        return self.u(torch.tanh(v))[..., 0]

    def forward(self, v: Tensor, clip: Tensor, clips: int) -> tuple[Tensor, Tensor]:
        """(L, reduced) features of all frames with a face -> ((clips, reduced) attended vectors, (L,) weights)."""
        alpha = scaled_softmax(self.score(v), clip, clips, lam=self.lam)  # (8)
        return weighted_sum(alpha, v, clip, clips), alpha  # (9)
