"""A depthwise 3 x 3 convolution that also trains at full speed in reduced precision."""

import torch
from torch import Tensor, nn


class DepthwiseConv2d(nn.Conv2d):
    """One 3 x 3 filter per channel: (B, C, H, W) -> (B, C, H / stride, W / stride)."""

    def __init__(self, channels: int, *, stride: int, padding: int, bias: bool = True):
        super().__init__(channels, channels, 3, stride=stride, padding=padding, groups=channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Filter every channel."""
        if self.stride == (1, 1) or x.device.type != "cpu":
            return super().forward(x)
        # On a CPU, the backward pass with a stride is far slower in bfloat16: benchmarks/training_layers.py.
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())
