"""A compact VGG with a 4096-d fc6, for images of FER2013's size.

The plan is VGG-16's (Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition",
ICLR 2015; VGG-Face has the same): 3 x 3 convolutions in groups that end in a 2 x 2 max-pool, then fc6. It is
narrower, starts from 48 px, has batch normalisation after every convolution, and three convolutions fewer.
"""

import torch
from torch import Tensor, nn

GROUPS = [(32, 2), (64, 2), (128, 3), (256, 3)]
"""Filters and number of convolutions of each group."""
SIZE = 48
FC6 = 4096


class CompactVGG(nn.Module):
    """(B, 3, 48, 48) float32 RGB 0..255 -> (B, 4096), layer `fc6` after its ReLU."""

    def __init__(self):
        super().__init__()
        layers, inputs = [], 3
        for outputs, count in GROUPS:
            for _ in range(count):
                convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
                nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
                layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
                inputs = outputs
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        side = SIZE >> len(GROUPS)
        self.dropout = nn.Dropout(0.2)
        self.fc6 = nn.Linear(inputs * side * side, FC6)

    def forward(self, x: Tensor) -> Tensor:
        """Faces to features."""
        pooled = self.features((x - 127.5) / 64)
        return torch.relu(self.fc6(self.dropout(pooled.flatten(1))))
