"""The same networks with less arithmetic: successive linear operations are merged in advance.

Everything here is exact up to rounding. torch's ONNX exporter folds batch normalisation into convolutions, see
`engines.py`.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepfusion.networks.fine_tuned import Tuned
from deepfusion.networks.models.compact_vgg import CompactVGG
from deepfusion.networks.models.dlib_resnet import DlibResNet29
from deepfusion.networks.models.faceres import FaceRes
from deepfusion.networks.models.inception_resnet import InceptionResNetV1
from deepfusion.networks.models.iresnet import IResNet50
from deepfusion.networks.models.sface import SFaceTrunk

ONE_NORMALISATION = (CompactVGG, SFaceTrunk, InceptionResNetV1, IResNet50)
"""Networks that normalise all channels alike: three equal channels stay equal, so one is enough."""


def folded(net: nn.Module) -> nn.Module:
    """The network as a function of uint8 crops, channels last.

    Args:
        net: a network of the catalogue, (B, 3, S, S) float32 RGB -> (B, D); not changed, its weights are shared.

    Returns:
        (B, S, S, 3) uint8 RGB -> (B, D) float32, in evaluation mode.
    """
    shared = {id(tensor): tensor for tensor in [*net.parameters(), *net.buffers()]}
    net = copy.deepcopy(net, shared).eval().requires_grad_(False)
    if not isinstance(net, Tuned):
        return Colour(_folded(net))
    trunk = net.trunk
    if isinstance(trunk, ONE_NORMALISATION):
        _sees_one_channel(next(m for m in trunk.modules() if isinstance(m, nn.Conv2d)))
    trunk = _folded(trunk)
    if isinstance(trunk, NormalisedDlib):
        _sees_one_channel(trunk.net.stem)
    return Grey(trunk, net.luma)


class Colour(nn.Module):
    """Crops to float, channels first, as all networks expect."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, crops: Tensor) -> Tensor:
        """(B, S, S, 3) uint8 -> (B, D)."""
        return self.net(crops.permute(0, 3, 1, 2).float())


class Grey(nn.Module):
    """RGB to grey by one product; the trunk's normalisation expands it to three channels if needed."""

    def __init__(self, trunk: nn.Module, luma: Tensor):
        super().__init__()
        self.trunk = trunk
        self.register_buffer("luma", luma.view(3, 1))

    def forward(self, crops: Tensor) -> Tensor:
        """(B, S, S, 3) uint8 -> (B, D)."""
        return self.trunk((crops.float() @ self.luma).permute(0, 3, 1, 2))


def _sees_one_channel(first: nn.Conv2d) -> None:
    """Make a convolution of three equal channels one of a single channel, by summing its filters over them."""
    first.weight = nn.Parameter(first.weight.sum(1, keepdim=True), requires_grad=False)
    first.in_channels = 1


def _folded(net: nn.Module) -> nn.Module:
    match net:
        case DlibResNet29():
            return NormalisedDlib(net)
        case FaceRes():
            return TurnedFaceRes(net)
    return net


class NormalisedDlib(nn.Module):
    """dlib's ResNet-29, normalisation folded into the first convolution; exact, because that has no padding."""

    def __init__(self, net: DlibResNet29):
        super().__init__()
        self.net, stem = net, net.stem
        bias = stem.bias - (stem.weight * net.mean / 256).sum((1, 2, 3))
        stem.bias = nn.Parameter(bias, requires_grad=False)
        stem.weight = nn.Parameter(stem.weight / 256, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Face chips, (B, 3 or 1, 150, 150), to features."""
        return self.net.after(self.net.stem(x))


class TurnedFaceRes(nn.Module):
    """HSE faceres on images rotated by 180 degrees, with rotated filters.

    TensorFlow pads convolutions of stride 2 only at the right and the bottom. After rotation that is left and top: for
    an even side, the same as a padding of 1 on all sides, which a convolution does itself, without a padded copy.
    """

    def __init__(self, net: FaceRes):
        super().__init__()
        self.net = net
        for conv in net.modules():
            if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3):
                conv.weight = nn.Parameter(conv.weight.flip(2, 3).contiguous(), requires_grad=False)
                conv.padding = (1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Faces, (B, 3 or 1, S, S), to features; the mean over the map is invariant to the rotation."""
        x = F.relu6(self.net.conv1(x.flip(1, 2, 3) - self.net.mean))
        for layer in self.net.layers.values():
            x = F.relu6(layer(x))
        return x.mean((2, 3))


class PReLUConvolved(nn.Module):
    """A parametric ReLU that graph engines can fuse: slope x + (1 - slope) max(x, 0), each factor a filter of 1 px.

    ONNX Runtime's own has another memory layout than its convolutions; conversion costs more than the computation.
    """

    def __init__(self, slope: Tensor):
        super().__init__()
        channels = len(slope)
        self.linear = nn.Conv2d(channels, channels, 1, groups=channels, bias=False)
        self.above = nn.Conv2d(channels, channels, 1, groups=channels, bias=False)
        self.linear.weight = nn.Parameter(slope.detach().view(-1, 1, 1, 1), requires_grad=False)
        self.above.weight = nn.Parameter(1 - slope.detach().view(-1, 1, 1, 1), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> the same."""
        return self.above(torch.relu(x)) + self.linear(x)


def with_convolved_prelus(net: nn.Module) -> nn.Module:
    """Replace all parametric ReLUs of maps, in place."""
    for module in list(net.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.PReLU) and child.num_parameters > 1:
                setattr(module, name, PReLUConvolved(child.weight))
    return net
