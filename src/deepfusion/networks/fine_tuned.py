"""A face network fine-tuned on FER2013: a trunk that sees grey faces, and the classifier that it was trained with."""

import torch
from torch import Tensor, nn

from deepfusion.networks.emotion import EMOTIONS

LUMA = (0.299, 0.587, 0.114)
"""Grey of RGB, ITU-R BT.601: what OpenCV, Pillow and dlib compute."""


class Tuned(nn.Module):
    """(B, 3, S, S) float32 RGB 0..255 -> (B, D), the features that its classifier reads.

    FER2013 is grey, so colour is taken out before the trunk, which gets three equal channels.

    Args:
        trunk: (B, 3, S, S) -> (B, D).
        dimension: D.
    """

    def __init__(self, trunk: nn.Module, dimension: int):
        super().__init__()
        self.trunk = trunk
        self.classifier = nn.Linear(dimension, len(EMOTIONS))
        self.register_buffer("luma", torch.tensor(LUMA).view(3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """RGB faces to features."""
        return self.features((x * self.luma).sum(1, keepdim=True))

    def features(self, grey: Tensor) -> Tensor:
        """Grey faces, (B, 1, S, S) of 0..255, to features (B, D)."""
        return self.trunk(grey.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last))

    def logits(self, grey: Tensor, dropout: float = 0.0) -> Tensor:
        """Grey faces to the scores of the emotions, (B, 7), in FER2013's order; dropout in training only."""
        return self.classifier(nn.functional.dropout(self.features(grey), dropout, self.training))
