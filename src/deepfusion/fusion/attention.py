"""Attention over the vectors of a clip, equations (1)-(3) for audio and (6)-(9) for video.

Clips of a batch are padded to the longest: `inside` marks the vectors that belong to a clip. Padding gets a weight of
exactly 0.
"""

import torch
from torch import Tensor, nn

Lambda = float | nn.Parameter

# Keeps the slope of the square root finite where a clip has one vector.
EPSILON = 1e-5


def scaled_softmax(e: Tensor, inside: Tensor, lam: float | Tensor) -> Tensor:
    """Attention weights, equations (2) and (8): alpha_i = exp(lam e_i) / sum_k exp(lam e_k) within a clip.

    Args:
        e: (B, T) scores.
        inside: (B, T) bool: which of them belong to the clip, at least one per clip.
        lam: The paper's lambda: 1 is the plain softmax, 0 the plain mean.

    Returns:
        (B, T) weights that sum to 1 per clip, 0 outside.
    """
    return (lam * e).masked_fill(~inside, -torch.inf).softmax(1)


def weighted_sum(alpha: Tensor, x: Tensor) -> Tensor:
    """One vector per clip, equations (3) and (9): (B, T) weights, (B, T, C) vectors -> (B, C)."""
    return torch.einsum("bt,btc->bc", alpha, x)


def statistics(alpha: Tensor, x: Tensor) -> Tensor:
    """Attended mean, equations (3) and (9), followed by the attended standard deviation.

    Source: Okabe et al., "Attentive Statistics Pooling for Deep Speaker Embedding", 2018.

    Args:
        alpha: (B, T) weights; a clip's sum to 1.
        x: (B, T, C) vectors, finite where the weight is 0.

    Returns:
        (B, 2 C).
    """
    mean = weighted_sum(alpha, x)
    # As a difference of moments: no intermediate of the size of x, and no gradient through one.
    variance = weighted_sum(alpha, x * x) - mean * mean
    return torch.cat([mean, (variance.clamp_min(0) + EPSILON).sqrt()], 1)


class AudioAttention(nn.Module):
    """Equations (1)-(3): where in time and frequency the emotion is audible.

    Args:
        channels: C, the length of the vectors a_i.
        lam: The paper's lambda, fixed or learned.
    """

    def __init__(self, channels: int, *, lam: Lambda):
        super().__init__()
        self.W = nn.Linear(channels, channels)  # with the b of equation (1)
        self.u = nn.Linear(channels, 1, bias=False)
        self.lam = lam

    def reduce(self, a: Tensor) -> Tensor:
        """Audio vectors are attended as they are; `VideoAttention` has a reduction here."""
        return a

    def score(self, a: Tensor) -> Tensor:
        """Equation (1): (..., C) audio vectors -> (...) scores."""
        return self.u(torch.tanh(self.W(a)))[..., 0]


class VideoAttention(nn.Module):
    """Equations (6)-(9): frame features are reduced, then the frames that show the emotion are weighted.

    Args:
        features: C', the length of a frame's feature.
        reduced: Length of the reduced feature.
        lam: The paper's lambda, fixed or learned.
    """

    def __init__(self, features: int, reduced: int, *, lam: Lambda):
        super().__init__()
        self.W = nn.Linear(features, reduced)  # with the b~ of equation (6)
        self.u = nn.Linear(reduced, 1, bias=False)
        self.lam = lam

    def reduce(self, v: Tensor) -> Tensor:
        """Equation (6): (..., C') features -> (..., reduced)."""
        return self.W(v)

    def score(self, v: Tensor) -> Tensor:
        """Equation (7): (..., reduced) features -> (...) scores."""
        return self.u(torch.tanh(v))[..., 0]
