"""Trunks of recognition networks, which are fine-tuned: all layers below the one that distinguishes people."""

from collections.abc import Callable
from pathlib import Path

from torch import nn

from deepfusion.networks import catalogue
from deepfusion.networks.models.compact_vgg import CompactVGG
from deepfusion.networks.models.dlib_resnet import DlibResNet29
from deepfusion.networks.models.faceres import FaceRes
from deepfusion.networks.models.inception_resnet import InceptionResNetV1
from deepfusion.networks.models.iresnet import IResNet50
from deepfusion.networks.models.resnet50 import ResNet50
from deepfusion.networks.models.sface import PReLU, SFace, SFaceTrunk
from deepfusion.networks.models.vgg16 import VGG16


def _dlib(net: DlibResNet29) -> nn.Module:
    net.fc = nn.Identity()  # leaves the mean over the map, 256
    return net


_WITHOUT_HEAD: dict[str, Callable[[nn.Module], nn.Module]] = {"dlib-resnet29": _dlib, "sface": SFaceTrunk}
_EMPTY: dict[str, Callable[[], nn.Module]] = {
    "compact-vgg": CompactVGG,
    "dlib-resnet29": lambda: _dlib(DlibResNet29()),
    "sface": lambda: SFaceTrunk(SFace()),
    "faceres": FaceRes,
    "vgg-face": VGG16,
    "vggface2-resnet50": ResNet50,
    "facenet-vggface2": InceptionResNetV1,
    "arcface-iresnet50": IResNet50,
}
_FROZEN = {"sface": "conv_4", "faceres": "conv_pw_3"}
"""The last of the frozen first layers: they detect edges, and take most of the time."""


def pretrained(base: str, weights: Path | None = None, sha256: str | None = None) -> nn.Module:
    """The trunk with its weights from recognition; `compact-vgg` has none and starts from random ones.

    Args:
        base: a network of the catalogue.
        weights: the user's own file.
        sha256: of the user's file.

    Returns:
        (B, 3, S, S) -> (B, D); frozen layers need no gradient.

    Raises:
        UserError: as `catalogue.load`.
    """
    if base == "compact-vgg":
        return CompactVGG()
    net = catalogue.load(base, weights=weights, sha256=sha256)
    trunk = _WITHOUT_HEAD.get(base, lambda same: same)(net)
    for layer in _first_layers(trunk, _FROZEN.get(base)):
        layer.requires_grad_(False)
    for module in trunk.modules():
        if isinstance(module, PReLU):
            module.requires_grad_(False)  # like the batch normalisation next to them
    return trunk


def _first_layers(trunk: nn.Module, last: str | None) -> list[nn.Module]:
    if last is None:
        return []
    names = list(trunk.layers)
    stem = [trunk.conv1] if hasattr(trunk, "conv1") else []
    return stem + [trunk.layers[name] for name in names[: names.index(last) + 1]]


def empty(base: str) -> nn.Module:
    """The trunk without weights, to be filled from a file."""
    return _EMPTY[base]()
