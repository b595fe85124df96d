"""VGG-Face: VGG-16 trained on 2.6 million faces, up to its first fully connected layer, fc6.

Source: Parkhi, Vedaldi, Zisserman, "Deep Face Recognition", BMVC 2015. The weights are the user's own file.

fc6 is taken behind its ReLU. VGG-Face was published for Caffe, whose ReLUs work in place: the blob called
"fc6" there, which is what the "fc6 features" of that time are, holds the rectified values.
"""

import re
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from deepfusion.errors import UserError
from deepfusion.networks import torchvision_cpu

MEAN = (129.186279296875, 104.76238250732422, 93.59396362304688)
"""Mean RGB of the VGG-Face training pictures (`averageImage` of the published model), of 255."""
CONVOLUTIONS = {
    "conv1_1": 0, "conv1_2": 2, "conv2_1": 5, "conv2_2": 7, "conv3_1": 10, "conv3_2": 12, "conv3_3": 14,
    "conv4_1": 17, "conv4_2": 19, "conv4_3": 21, "conv5_1": 24, "conv5_2": 26, "conv5_3": 28,
}  # fmt: skip
"""Layers by their original names, and their places in torchvision's `features`."""
NOT_NEEDED = re.compile(r"(fc7|fc8|classifier\.3|classifier\.6)\.(weight|bias)")


class VGG16(nn.Module):
    """(B, 3, 224, 224) float32 RGB 0..255 -> (B, 4096), layer `fc6` after its ReLU. `build` gives it its numbers."""

    def __init__(self):
        super().__init__()
        with torch.device("meta"):  # the layers without their 553 MB of numbers
            whole = torchvision_cpu.models().vgg16(weights=None, init_weights=False)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.features = whole.features
        self.fc6 = whole.classifier[0]

    def forward(self, x: Tensor) -> Tensor:
        """Faces to features."""
        return self.fc6(self.features(x - self.mean).flatten(1)).relu()


def build(path: Path) -> VGG16:
    """Read a user's VGG-Face file: a torch state dict or a .safetensors file.

    Two layouts of names are known: the original layers' (`conv1_1.weight` ... `fc6.bias`, as in S. Albanie's
    `vgg_face_dag.pth`) and torchvision's (`features.0.weight` ... `classifier.0.bias`). fc7, fc8 are unused.
    The network must have been trained on RGB of 0..255 less MEAN, as the published one: a file cannot tell.

    Raises:
        UserError: the file cannot be read without executing code in it, or is not VGG-Face.
    """
    tensors = _tensors(path)
    names = _names("conv1_1.weight" in tensors)
    missing = [name for name in names if name not in tensors]
    unknown = [name for name in tensors if name not in names and not NOT_NEEDED.fullmatch(name)]
    if missing or unknown:
        raise UserError(
            f"{path}: not VGG-16 with the names conv1_1.weight ... fc6.bias, or torchvision's: "
            f"missing {_some(missing)}; unknown {_some(unknown)}"
        )
    for name in ("fc8.weight", "classifier.6.weight"):
        if name in tensors and len(tensors[name]) == 1000:
            raise UserError(f"{path}: {name} has ImageNet's 1000 classes: a VGG-16 of objects, not VGG-Face")
    net = VGG16()
    wanted = {name: net.get_parameter(ours) for name, ours in names.items()}
    for name, parameter in wanted.items():
        if tensors[name].shape != parameter.shape:
            found, shape = tuple(tensors[name].shape), tuple(parameter.shape)
            raise UserError(f"{path}: {name} has the shape {found}, VGG-16 has {shape}")
    net.load_state_dict({ours: tensors[name].float() for name, ours in names.items()}, assign=True)
    return net.eval()


def _names(original: bool) -> dict[str, str]:
    """The file's name of every parameter, and this module's."""
    layers = {old if original else f"features.{i}": f"features.{i}" for old, i in CONVOLUTIONS.items()}
    layers["fc6" if original else "classifier.0"] = "fc6"
    return {f"{old}.{kind}": f"{new}.{kind}" for old, new in layers.items() for kind in ("weight", "bias")}


def _tensors(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a foreign file can be wrong in any way
        raise UserError(
            f"{path}: neither safetensors nor a torch state dict that loads without running code in it "
            f"({type(error).__name__})"
        ) from error
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise UserError(
            f"{path}: holds no state dict of names and tensors: save one by torch.save(model.state_dict(), ...)"
        )
    return content


def _some(names: list[str]) -> str:
    """At most three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (", ".join(names[:3]) or "none") + more
