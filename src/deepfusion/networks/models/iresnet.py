"""ArcFace's IResNet-50 ("improved": normalisation first, parametric ReLUs, no ReLU after the sum).

Source: Deng, Guo, Xue, Zafeiriou, "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", CVPR 2019;
Duta, Liu, Zhu, Shao, "Improved Residual Networks for Image and Video Recognition", ICPR 2020. The weights and the
names of the layers are those of insightface's arcface_torch: the `backbone.pth` of an r50.
"""

from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn

from deepfusion.networks.formats import state_dict

STAGES = [(64, 3), (128, 4), (256, 14), (512, 3)]
"""Channels and number of blocks; the first block of each halves the map."""


class Block(nn.Module):
    """Normalisation, two convolutions, and a shortcut, which is a projection where the block halves the map."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.prelu = nn.PReLU(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample = nn.Identity()
        if stride > 1:
            conv = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(conv, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H / stride, W / stride)."""
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(y)) + self.downsample(x)


class IResNet50(nn.Sequential):
    """(B, 3, 112, 112) float32 RGB 0..255, ArcFace's five-point template -> (B, 512), layer `features`."""

    def __init__(self):
        layers = OrderedDict(
            conv1=nn.Conv2d(3, 64, 3, padding=1, bias=False), bn1=nn.BatchNorm2d(64), prelu=nn.PReLU(64)
        )
        inputs = 64
        for i, (outputs, count) in enumerate(STAGES, start=1):
            blocks = [Block(inputs, outputs, 2), *(Block(outputs, outputs, 1) for _ in range(count - 1))]
            layers[f"layer{i}"] = nn.Sequential(*blocks)
            inputs = outputs
        layers |= OrderedDict(
            bn2=nn.BatchNorm2d(inputs),
            flatten=nn.Flatten(),
            fc=nn.Linear(inputs * 7 * 7, 512),
            features=nn.BatchNorm1d(512),
        )
        super().__init__(layers)

    def forward(self, x: Tensor) -> Tensor:
        """Aligned faces to features; compare by cosine."""
        return super().forward(x / 127.5 - 1)


def build(path: Path) -> IResNet50:
    """Read a torch state dict or .safetensors file with arcface_torch's names.

    Raises:
        UserError: the file cannot be read without executing code in it, or holds another network.
    """
    with torch.device("meta"):
        net = IResNet50()
    state_dict.fill(net, state_dict.read(path), path=path, network="ArcFace's IResNet-50", unused="(?!)")
    return net.eval()
