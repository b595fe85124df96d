"""Heads: attention over tokens, a join, a classifier. Small enough that fifty of them train in one computation."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from deepfusion.config import HeadSettings
from deepfusion.fusion.attention import AudioAttention, VideoAttention
from deepfusion.fusion.fbp import FBP
from deepfusion.fusion.joins import AdaptiveFBP, Bilinear, CompactBilinear, Concat, Product, Sum

# Keeps the slope of the square root finite where a clip has one token.
EPSILON = 1e-5
# Length of the count sketch: many times `o`, which is why it is called compact beside m n and not beside FBP.
SKETCH = 1024

Pooling = Literal["attention", "mean", "max"]


def _lam(settings: HeadSettings) -> float | nn.Parameter:
    return nn.Parameter(torch.tensor(0.3)) if settings.lam == "learned" else settings.lam


def statistics(alpha: Tensor, x: Tensor) -> Tensor:
    """Attended mean, equations (3) and (9), and attended standard deviation beside it.

    Source: Okabe et al., "Attentive Statistics Pooling for Deep Speaker Embedding", 2018.

    Args:
        alpha: (B, T) weights; a clip's sum to 1.
        x: (B, T, C) vectors, finite where the weight is 0.

    Returns:
        (B, 2 C).
    """
    mean = torch.einsum("bt,btc->bc", alpha, x)
    # As a difference, for then nothing of the size of x has a gradient where x has none.
    variance = torch.einsum("bt,btc->bc", alpha, x * x) - mean * mean
    return torch.cat([mean, (variance.clamp_min(0) + EPSILON).sqrt()], 1)


def maximum(x: Tensor, inside: Tensor) -> Tensor:
    """(B, T, C) -> (B, C), the largest value of each column within a clip; (B, T) says what is inside."""
    return x.masked_fill(~inside[..., None], -torch.inf).amax(1)


class Modality(nn.Module):
    """The tokens of one modality pooled to a vector a clip.

    Args:
        size: Length of a token.
        kind: "sound": equations (1)-(3). "faces": tokens are reduced first, equations (6)-(9).
        pooling: "attention", or "mean" and "max" in its place.
        settings: lambda and the reduced length.
    """

    def __init__(self, size: int, *, kind: Literal["sound", "faces"], pooling: Pooling, settings: HeadSettings):
        super().__init__()
        lam = 0.0 if pooling == "mean" else _lam(settings)
        if kind == "sound":
            self.attention, length = AudioAttention(size, lam=lam), size
        else:
            self.attention, length = VideoAttention(size, settings.reduced, lam=lam), settings.reduced
        self.kind, self.pooling = kind, pooling
        self.size = length if pooling == "max" else 2 * length

    def forward(self, x: Tensor, inside: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, size) tokens, (B, T) whether each is one -> ((B, self.size) vectors, (B, T) attention weights)."""
        values = x if self.kind == "sound" else self.attention.W(x)  # (6)
        e = self.attention.score(values)  # (1), (7)
        alpha = (self.attention.lam * e).masked_fill(~inside, -torch.inf).softmax(1)  # (2), (8)
        return maximum(values, inside) if self.pooling == "max" else statistics(alpha, values), alpha


JOINS = {
    "concat": lambda m, n, s: Concat(m, n, dropout=s.dropout),
    "sum": lambda m, n, s: Sum(m, n, o=s.o, dropout=s.dropout),
    "product": lambda m, n, s: Product(m, n, o=s.o, dropout=s.dropout),
    "bilinear": lambda m, n, s: Bilinear(m, n, o=s.o, dropout=s.dropout),
    "compact": lambda m, n, s: CompactBilinear(m, n, d=SKETCH, dropout=s.dropout),
    "fbp": lambda m, n, s: FBP(m, n, k=s.k, o=s.o, dropout=s.dropout),
    "adaptive": lambda m, n, s: AdaptiveFBP(m, n, k=s.k, o=s.o, dropout=s.dropout),
}


@dataclass(frozen=True)
class Design:
    """What a head is made of, apart from its sizes."""

    modalities: Literal["sound", "faces", "both"]
    join: str | None = None  # a key of `JOINS`, where there are both
    pooling: Pooling = "attention"


class Head(nn.Module):
    """Tokens of sound and of faces -> logits.

    Args:
        m: Length of a token of sound.
        n: Length of a token of faces.
        classes: Number of classes.
        design: What it is made of.
        settings: Its sizes.
    """

    def __init__(self, m: int, n: int, classes: int, *, design: Design, settings: HeadSettings):
        super().__init__()

        def modality(kind, size):
            if design.modalities in (kind, "both"):
                return Modality(size, kind=kind, pooling=design.pooling, settings=settings)
            return None

        self.sound, self.faces = modality("sound", m), modality("faces", n)
        if self.sound and self.faces:
            self.join = JOINS[design.join](self.sound.size, self.faces.size, settings)
            size = self.join.size
        else:
            self.join = nn.Dropout(settings.dropout)
            size = (self.sound or self.faces).size
        self.classifier = nn.Linear(size, classes)

    def forward(
        self, sound: Tensor, sound_inside: Tensor, faces: Tensor, faces_inside: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Judge clips.

        A clip's tokens are few and come in equal numbers in training: they are padded here, which is cheaper than the
        ragged sums of `attention.py` for as long as there is little to pad.

        Args:
            sound: (B, T, m) tokens, finite behind a clip's own.
            sound_inside: (B, T) bool: which are the clip's own, at least one each.
            faces: (B, T', n) tokens.
            faces_inside: (B, T') bool.

        Returns:
            (B, classes) logits, and by modality the attention weights (B, T), zero behind a clip's own.
        """
        vectors, weights = [], {}
        if self.sound:
            vector, weights["sound"] = self.sound(sound, sound_inside)
            vectors.append(vector)
        if self.faces:
            vector, weights["faces"] = self.faces(faces, faces_inside)
            vectors.append(vector)
        return self.classifier(self.join(*vectors)), weights
