"""The network: reduced streams -> attention -> fusion layer -> classifier.

One definition for training, study and prediction. Small enough that hundreds of them train in one computation.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from deepfusion.config import NetworkShape
from deepfusion.fusion.attention import AudioAttention, VideoAttention, scaled_softmax, statistics
from deepfusion.fusion.fbp import drop
from deepfusion.fusion.fusion_layers import FUSION_LAYERS
from deepfusion.fusion.streams import Modality

Pooling = Literal["attention", "mean", "max"]
LAMBDA_AT_FIRST = 0.3  # initial value if the paper's lambda is learned


@dataclass(frozen=True)
class Sizes:
    """Lengths of a modality's inputs to the network, after reduction."""

    rows: int  # p, of an attended row
    clip: int  # q, of the vector of the whole clip; 0: none


@dataclass(frozen=True)
class Design:
    """Structure of a network, apart from its sizes."""

    modalities: tuple[Modality, ...]
    layer: str | None = None  # a key of `FUSION_LAYERS`, if there are two modalities
    pooling: Pooling = "attention"


@dataclass(frozen=True)
class Rows:
    """One modality of a batch of clips, padded."""

    values: Tensor  # (B, T, p), finite everywhere
    inside: Tensor  # (B, T) bool, which rows are a clip's own; at least one per clip
    clip: Tensor  # (B, q)


class Branch(nn.Module):
    """The rows of one modality pooled to a vector per clip, with the vector of the whole clip appended.

    Args:
        sizes: Of the modality.
        modality: "audio": equations (1)-(3). "video": equations (6)-(9).
        pooling: "attention", or "mean" and "max" instead.
        shape: lambda and the reduced length.
    """

    def __init__(self, sizes: Sizes, *, modality: Modality, pooling: Pooling, shape: NetworkShape):
        super().__init__()
        self.sizes = sizes
        lam = 0.0 if pooling == "mean" else shape.lam
        if lam == "learned":
            lam = nn.Parameter(torch.tensor(LAMBDA_AT_FIRST))
        if modality == "audio":
            self.attention, length, whole = AudioAttention(sizes.rows, lam=lam), sizes.rows, sizes.clip
            self.of_clip = nn.Identity()
        else:
            length = shape.reduced
            self.attention = VideoAttention(sizes.rows, length, lam=lam)
            whole = length if sizes.clip else 0
            self.of_clip = nn.Linear(sizes.clip, length) if sizes.clip else nn.Identity()
        self.pooling = pooling
        self.size = (length if pooling == "max" else 2 * length) + whole

    def forward(self, rows: Rows) -> tuple[Tensor, Tensor]:
        """A batch -> ((B, size) vectors, (B, T) attention weights)."""
        values = self.attention.reduce(rows.values)  # (6)
        alpha = scaled_softmax(self.attention.score(values), rows.inside, self.attention.lam)  # (1), (2); (7), (8)
        if self.pooling == "max":
            pooled = values.masked_fill(~rows.inside[..., None], -torch.inf).amax(1)
        else:
            pooled = statistics(alpha, values)  # (3), (9)
        return torch.cat([pooled, self.of_clip(rows.clip)], 1), alpha


class Network(nn.Module):
    """Reduced streams of audio and video -> logits.

    Args:
        sizes: Of each modality.
        classes: Number of classes.
        design: Its structure.
        shape: Its sizes.
    """

    def __init__(self, sizes: Mapping[Modality, Sizes], classes: int, *, design: Design, shape: NetworkShape):
        super().__init__()
        self.branches = nn.ModuleDict(
            {
                modality: Branch(sizes[modality], modality=modality, pooling=design.pooling, shape=shape)
                for modality in design.modalities
            }
        )
        lengths = [branch.size for branch in self.branches.values()]
        if len(lengths) == 1:
            self.layer, size, self.dropped = None, lengths[0], lengths[0]
        else:
            self.layer = FUSION_LAYERS[design.layer](*lengths, shape)
            size, self.dropped = self.layer.size, self.layer.dropped
        self.classifier = nn.Linear(size, classes)

    def forward(self, batch: Mapping[Modality, Rows], keep: Tensor | None = None) -> tuple[Tensor, dict[str, Tensor]]:
        """Predict clips.

        Args:
            batch: Of each modality that the network has, others are ignored.
            keep: (B, dropped) dropout mask, values 0 or 1 / (1 - p), while training.

        Returns:
            (B, classes) logits, and by modality the attention weights (B, T), 0 outside a clip's own rows.
        """
        vectors, weights = [], {}
        for modality, branch in self.branches.items():
            vector, weights[modality] = branch(batch[modality])
            vectors.append(vector)
        fused = self.layer(*vectors, keep) if self.layer is not None else drop(vectors[0], keep)
        return self.classifier(fused), weights
