"""ResNet-50 trained on VGGFace2, up to its pooled features, as torchvision's module.

Source: Cao, Shen, Xie, Parkhi, Zisserman, "VGGFace2: A dataset for recognising faces across pose and age", FG 2018;
the weights and the names of the layers are those of S. Albanie's `resnet50_ft_dag.pth` (pretrained on
MS-Celeb-1M, then tuned on VGGFace2).

The network is Caffe's, not torchvision's: in a block that halves the map, the first convolution (1x1) has the stride,
not the second (3x3), and the max-pool has no padding but includes a last, incomplete window.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from deepfusion.networks import torchvision_cpu
from deepfusion.networks.formats import state_dict

MEAN = (131.0912, 103.8827, 91.4953)
"""Mean RGB of the VGGFace2 training images, of 255."""
BLOCKS = [3, 4, 6, 3]
LAYERS = {"1x1_reduce": "1", "3x3": "2", "1x1_increase": "3"}
"""A block's convolutions by their original names, and their indices in torchvision's."""


class ResNet50(nn.Module):
    """(B, 3, 224, 224) float32 RGB 0..255 -> (B, 2048), layer `pool5_7x7_s1`. `build` loads its weights."""

    def __init__(self):
        super().__init__()
        with torch.device("meta"):
            self.net = torchvision_cpu.models().resnet50(weights=None)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        for stage in (self.net.layer2, self.net.layer3, self.net.layer4):
            stage[0].conv1.stride, stage[0].conv2.stride = (2, 2), (1, 1)
        self.net.maxpool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.net.fc = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Faces to features; none is negative: they are means after a ReLU."""
        return self.net(x - self.mean)


def build(path: Path) -> ResNet50:
    """Read a torch state dict or .safetensors file with the names of `resnet50_ft_dag.pth`; `classifier` is unused.

    Raises:
        UserError: the file cannot be read without executing code in it, or holds another network.
    """
    net = ResNet50()
    state_dict.fill(
        net,
        state_dict.read(path),
        _names(net),
        path=path,
        network="VGGFace2's ResNet-50",
        unused=r"classifier\.(weight|bias)",
    )
    return net.eval()


def _names(net: ResNet50) -> dict[str, str]:
    """The file's name of every tensor, and this module's."""
    layers = {"conv1_7x7_s2": ("conv1", "bn1")}
    for stage, count in enumerate(BLOCKS, start=1):
        for block in range(count):
            old, new = f"conv{stage + 1}_{block + 1}", f"layer{stage}.{block}"
            layers |= {f"{old}_{name}": (f"{new}.conv{i}", f"{new}.bn{i}") for name, i in LAYERS.items()}
        layers[f"conv{stage + 1}_1_1x1_proj"] = (f"layer{stage}.0.downsample.0", f"layer{stage}.0.downsample.1")
    theirs = {f"net.{conv}": old for old, (conv, _) in layers.items()}
    theirs |= {f"net.{bn}": f"{old}_bn" for old, (_, bn) in layers.items()}
    split = (name.rpartition(".") for name in state_dict.names(net))
    return {f"{theirs[layer]}.{kind}": f"{layer}.{kind}" for layer, _, kind in split}
