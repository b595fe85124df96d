"""VGG-Face: VGG-16 trained on 2.6 million faces, up to its first fully connected layer, fc6.

Source: Parkhi, Vedaldi, Zisserman, "Deep Face Recognition", BMVC 2015. The weights are the user's own file.

fc6 is taken after its ReLU. VGG-Face was published for Caffe, whose ReLUs work in place: the blob called
"fc6" there, which is what the "fc6 features" of that time are, holds the rectified values.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from deepfusion.errors import UserError
from deepfusion.networks import torchvision_cpu
from deepfusion.networks.formats import keras_h5, state_dict

MEAN = (129.186279296875, 104.76238250732422, 93.59396362304688)
"""Mean RGB of the VGG-Face training images (`averageImage` of the published model), of 255."""
CONVOLUTIONS = {
    "conv1_1": 0, "conv1_2": 2, "conv2_1": 5, "conv2_2": 7, "conv3_1": 10, "conv3_2": 12, "conv3_3": 14,
    "conv4_1": 17, "conv4_2": 19, "conv4_3": 21, "conv5_1": 24, "conv5_2": 26, "conv5_3": 28,
}  # fmt: skip
"""Layers by their original names, and their indices in torchvision's `features`."""
UNUSED = r"(fc7|fc8|classifier\.3|classifier\.6)\.(weight|bias)|(.*/)?fc[78]/.*"
"""Names of the layers after fc6, in a state dict and in a Keras file."""


class VGG16(nn.Module):
    """(B, 3, 224, 224) float32 RGB 0..255 -> (B, 4096), layer `fc6` after its ReLU. `build` loads its weights."""

    def __init__(self):
        super().__init__()
        with torch.device("meta"):  # the layers without their 553 MB of weights
            whole = torchvision_cpu.models().vgg16(weights=None, init_weights=False)
        self.register_buffer("mean", torch.tensor(MEAN).view(3, 1, 1), persistent=False)
        self.features = whole.features
        self.fc6 = whole.classifier[0]

    def forward(self, x: Tensor) -> Tensor:
        """Faces to features."""
        return self.fc6(self.features(x - self.mean).flatten(1)).relu()


def build(path: Path) -> VGG16:
    """Read a user's VGG-Face file: a torch state dict, a .safetensors file, or Keras's .h5.

    Three layouts are known: the original layers' names (`conv1_1.weight` ... `fc6.bias`, as in S. Albanie's
    `vgg_face_dag.pth`), torchvision's (`features.0.weight` ... `classifier.0.bias`), and Keras's, R. C. Malli's
    `rcmalli_vggface_tf_vgg16.h5`. fc7, fc8 are unused. The first two layouts must have been trained on
    RGB of 0..255 less MEAN, like the published one, Keras's on BGR less MEAN: the file does not say.

    Raises:
        UserError: the file cannot be read without executing code in it, or is not VGG-Face.
    """
    keras = path.suffix in (".h5", ".hdf5")
    tensors = _keras(path) if keras else state_dict.read(path)
    for name in ("fc8.weight", "classifier.6.weight"):
        if name in tensors and len(tensors[name]) == 1000:
            raise UserError(f"{path}: {name} has ImageNet's 1000 classes: a network of objects, not VGG-Face")
    net = VGG16()
    names = _names("features.0.weight" not in tensors)
    state_dict.fill(net, tensors, names, path=path, network="VGG-16", unused=UNUSED)
    return net.eval()


def _names(original: bool) -> dict[str, str]:
    """The file's name of every parameter, and this module's."""
    layers = {old if original else f"features.{i}": f"features.{i}" for old, i in CONVOLUTIONS.items()}
    layers["fc6" if original else "classifier.0"] = "fc6"
    return {f"{old}.{kind}": f"{new}.{kind}" for old, new in layers.items() for kind in ("weight", "bias")}


def _keras(path: Path) -> dict[str, Tensor]:
    """The weights of a Keras file in torch's order, for RGB."""
    tensors = keras_h5.read(path, {*CONVOLUTIONS, "fc6"})
    first, fc6 = tensors.get("conv1_1.weight"), tensors.get("fc6.weight")
    if first is not None and first.ndim == 4:
        tensors["conv1_1.weight"] = first.flip(1)  # it was trained on BGR
    if fc6 is not None and fc6.shape == (4096, 7 * 7 * 512):
        # Keras flattens rows, columns, channels; torch channels, rows, columns.
        tensors["fc6.weight"] = fc6.reshape(4096, 7, 7, 512).permute(0, 3, 1, 2).reshape(4096, -1)
    return tensors
