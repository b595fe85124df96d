"""FaceNet: an Inception-ResNet v1 trained on VGGFace2, up to its embedding before normalisation to unit length.

Source: Schroff, Kalenichenko, Philbin, "FaceNet: A Unified Embedding for Face Recognition and Clustering", CVPR 2015;
Szegedy, Ioffe, Vanhoucke, Alemi, "Inception-v4, Inception-ResNet and the Impact of Residual Connections on
Learning", AAAI 2017. The weights and the names of the layers are those of T. Esler's facenet-pytorch, ported
from D. Sandberg's facenet: `20180402-114759-vggface2.pt`.
"""

from collections import OrderedDict
from pathlib import Path

import torch
from torch import Tensor, nn

from deepfusion.networks.formats import state_dict

Size = int | tuple[int, int]


def unit(inputs: int, outputs: int, kernel: Size, *, stride: int = 1, padding: Size = 0) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU."""
    conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=padding, bias=False)
    return nn.Sequential(OrderedDict(conv=conv, bn=nn.BatchNorm2d(outputs, eps=1e-3), relu=nn.ReLU()))


class Branches(nn.Module):
    """Parallel branches, concatenated along the channels: `branch0`, `branch1`, ..."""

    def __init__(self, *branches: nn.Module):
        super().__init__()
        for i, branch in enumerate(branches):
            self.add_module(f"branch{i}", branch)
        self.count = len(branches)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, sum of the branches' outputs, H', W')."""
        return torch.cat([self.get_submodule(f"branch{i}")(x) for i in range(self.count)], dim=1)


class Block(Branches):
    """Branches, projected to the input's channels, scaled, and added to the input."""

    def __init__(self, *branches: nn.Module, joined: int, channels: int, scale: float, last: nn.Module):
        super().__init__(*branches)
        self.conv2d = nn.Conv2d(joined, channels, 1)
        self.scale = scale
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) -> the same."""
        return self.last(self.conv2d(super().forward(x)) * self.scale + x)


def block35() -> Block:
    """The paper's block for a 35x35 grid; 17x17 here."""
    return Block(
        unit(256, 32, 1),
        nn.Sequential(unit(256, 32, 1), unit(32, 32, 3, padding=1)),
        nn.Sequential(unit(256, 32, 1), unit(32, 32, 3, padding=1), unit(32, 32, 3, padding=1)),
        joined=96,
        channels=256,
        scale=0.17,
        last=nn.ReLU(),
    )


def block17() -> Block:
    """The paper's block for a 17x17 grid; 8x8 here."""
    cross = (unit(896, 128, 1), unit(128, 128, (1, 7), padding=(0, 3)), unit(128, 128, (7, 1), padding=(3, 0)))
    return Block(unit(896, 128, 1), nn.Sequential(*cross), joined=256, channels=896, scale=0.1, last=nn.ReLU())


def block8(scale: float, last: nn.Module) -> Block:
    """The paper's block for an 8x8 grid; 3x3 here."""
    cross = (unit(1792, 192, 1), unit(192, 192, (1, 3), padding=(0, 1)), unit(192, 192, (3, 1), padding=(1, 0)))
    return Block(unit(1792, 192, 1), nn.Sequential(*cross), joined=384, channels=1792, scale=scale, last=last)


def mixed_6a() -> Branches:
    """(B, 256, 17, 17) -> (B, 896, 8, 8)."""
    return Branches(
        unit(256, 384, 3, stride=2),
        nn.Sequential(unit(256, 192, 1), unit(192, 192, 3, padding=1), unit(192, 256, 3, stride=2)),
        nn.MaxPool2d(3, stride=2),
    )


def mixed_7a() -> Branches:
    """(B, 896, 8, 8) -> (B, 1792, 3, 3)."""
    return Branches(
        nn.Sequential(unit(896, 256, 1), unit(256, 384, 3, stride=2)),
        nn.Sequential(unit(896, 256, 1), unit(256, 256, 3, stride=2)),
        nn.Sequential(unit(896, 256, 1), unit(256, 256, 3, padding=1), unit(256, 256, 3, stride=2)),
        nn.MaxPool2d(3, stride=2),
    )


class InceptionResNetV1(nn.Sequential):
    """(B, 3, 160, 160) float32 RGB 0..255 -> (B, 512), layer `last_bn`. `build` loads its weights."""

    def __init__(self):
        layers = OrderedDict(
            conv2d_1a=unit(3, 32, 3, stride=2),
            conv2d_2a=unit(32, 32, 3),
            conv2d_2b=unit(32, 64, 3, padding=1),
            maxpool_3a=nn.MaxPool2d(3, stride=2),
            conv2d_3b=unit(64, 80, 1),
            conv2d_4a=unit(80, 192, 3),
            conv2d_4b=unit(192, 256, 3, stride=2),
            repeat_1=nn.Sequential(*(block35() for _ in range(5))),
            mixed_6a=mixed_6a(),
            repeat_2=nn.Sequential(*(block17() for _ in range(10))),
            mixed_7a=mixed_7a(),
            repeat_3=nn.Sequential(*(block8(0.2, nn.ReLU()) for _ in range(5))),
            block8=block8(1.0, nn.Identity()),
            avgpool_1a=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            last_linear=nn.Linear(1792, 512, bias=False),
            last_bn=nn.BatchNorm1d(512, eps=1e-3),
        )
        super().__init__(layers)

    def forward(self, x: Tensor) -> Tensor:
        """Faces to features; compare by cosine."""
        return super().forward((x - 127.5) / 128)


def build(path: Path) -> InceptionResNetV1:
    """Read a torch state dict or .safetensors file with facenet-pytorch's names; `logits` is unused.

    Raises:
        UserError: the file cannot be read without executing code in it, or holds another network.
    """
    with torch.device("meta"):
        net = InceptionResNetV1()
    tensors = state_dict.read(path)
    state_dict.fill(net, tensors, path=path, network="FaceNet's Inception-ResNet v1", unused=r"logits\..*")
    return net.eval()
