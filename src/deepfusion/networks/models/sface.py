"""SFace: a MobileNetV1 with parametric ReLUs trained to recognise faces, as a torch module.

Source: Zhong et al., "SFace: Sigmoid-Constrained Hypersphere Loss for Robust Face Recognition", IEEE TIP 30
(2021); the weights and the names of the layers are those of OpenCV's model zoo: ONNX, 8 bits in blocks.
"""

from pathlib import Path

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional as F

from deepfusion.errors import UserError
from deepfusion.networks.models.depthwise import DepthwiseConv2d

CHANNELS = [64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]
"""Outputs of the depthwise-separable layers conv_2 to conv_14; where they double, the map is halved."""
HALVED = {3, 5, 7, 13}
BATCHNORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_var"}


class PReLUFunction(torch.autograd.Function):
    """torch's PReLU with a backward pass that is faster in bfloat16 on a CPU: benchmarks/training_layers.py."""

    @staticmethod
    def forward(ctx, x: Tensor, slope: Tensor) -> Tensor:
        """The rectified map."""
        ctx.save_for_backward(x, slope)
        return F.prelu(x, slope.to(x.dtype))

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, Tensor | None]:
        """Gradients by x and, if it trains, by the slope."""
        x, slope = ctx.saved_tensors
        above = torch.ops.aten.threshold_backward(gradient, x, 0)
        below = gradient - above
        slopes = (below * x).sum((0, 2, 3)).to(slope.dtype) if ctx.needs_input_grad[1] else None
        return torch.addcmul(above, below, slope.to(x.dtype).view(-1, 1, 1)), slopes


class PReLU(nn.PReLU):
    """Parametric ReLU: (B, C, H, W) -> the same, negative values times their channel's slope."""

    def forward(self, x: Tensor) -> Tensor:
        """Rectify."""
        cheap = x.dtype == torch.bfloat16 and x.device.type == "cpu"
        return PReLUFunction.apply(x, self.weight) if cheap else super().forward(x)


class Layer(nn.Module):
    """Convolution, batch normalisation, parametric ReLU."""

    def __init__(self, conv2d: nn.Conv2d):
        super().__init__()
        outputs = conv2d.out_channels
        self.conv2d = conv2d
        self.batchnorm = nn.BatchNorm2d(outputs, eps=1e-3)
        self.relu = PReLU(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C', H / stride, W / stride)."""
        return self.relu(self.batchnorm(self.conv2d(x)))


class SFace(nn.Module):
    """(B, 3, 112, 112) float32 RGB 0..255, ArcFace's five-point template -> (B, 128), layer `fc1`."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("scale", torch.ones(1))
        layers, inputs = {"conv_1": Layer(nn.Conv2d(3, 32, 3, padding=1, bias=False))}, 32
        for i, outputs in enumerate(CHANNELS, start=2):
            stride = 2 if i in HALVED else 1
            layers[f"conv_{i}_dw"] = Layer(DepthwiseConv2d(inputs, stride=stride, padding=1, bias=False))
            layers[f"conv_{i}"] = Layer(nn.Conv2d(inputs, outputs, 1, bias=False))
            inputs = outputs
        self.layers = nn.ModuleDict(layers)
        self.bn1 = nn.BatchNorm2d(inputs, eps=2e-5)
        self.pre_fc1 = nn.Linear(inputs * 7 * 7, 128)
        self.fc1 = nn.BatchNorm1d(128, eps=2e-5)

    def forward(self, x: Tensor) -> Tensor:
        """Aligned faces to features; compare by cosine."""
        x = (x - self.mean) * self.scale
        for layer in self.layers.values():
            x = layer(x)
        return self.fc1(self.pre_fc1(self.bn1(x).flatten(1)))


class SFaceTrunk(nn.Module):
    """SFace below its fully connected layer: (B, 3, S, S) float32 RGB 0..255 -> (B, 1024), the mean over the map.

    Batch normalisation is folded into the convolutions, which freezes it during fine-tuning.
    """

    def __init__(self, net: SFace):
        super().__init__()
        self.register_buffer("mean", net.mean)
        self.register_buffer("scale", net.scale)
        self.layers = net.layers
        for layer in self.layers.eval().values():
            layer.conv2d = nn.utils.fuse_conv_bn_eval(layer.conv2d, layer.batchnorm)
            layer.batchnorm = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Aligned faces to features."""
        x = (x - self.mean) * self.scale
        for layer in self.layers.values():
            x = layer(x)
        return x.mean((2, 3))


NAMES = {
    nn.Conv2d: {"weight": "weight"},
    DepthwiseConv2d: {"weight": "weight"},
    nn.Linear: {"weight": "weight", "bias": "bias"},
    PReLU: {"weight": "gamma"},
    nn.BatchNorm2d: BATCHNORM,
    nn.BatchNorm1d: BATCHNORM,
}
"""torch's names of a layer's tensors, and the file's."""


def build(path: Path) -> SFace:
    """Read the weights out of the ONNX file and undo their quantisation.

    Raises:
        UserError: the file is not ONNX, or holds another network.
    """
    net, state = SFace(), {}
    try:
        values = _values(path)
        for name, module in net.named_modules():
            for ours, theirs in NAMES.get(type(module), {}).items():
                value = values[f"{name.removeprefix('layers.').replace('.', '_')}_{theirs}"]
                state[f"{name}.{ours}"] = torch.from_numpy(value.reshape(getattr(module, ours).shape))
        state["mean"], state["scale"] = (torch.from_numpy(values[name]) for name in ("scalar_op1", "scalar_op2"))
    except (DecodeError, KeyError, ValueError) as error:
        raise UserError(f"{path}: not the SFace network as ONNX: {' '.join(str(error).split())}") from error
    net.load_state_dict(state)
    return net.eval()


def _values(path: Path) -> dict[str, np.ndarray]:
    """The tensors of an ONNX file by name; values quantised in blocks are (integer - zero point) * scale."""
    values = {
        x.name: numpy_helper.to_array(x).copy() for x in onnx.load(path, load_external_data=False).graph.initializer
    }
    for name in [name.removesuffix("_quantized") for name in values if name.endswith("_quantized")]:
        integers, scales, zeros = (values[f"{name}_{part}"] for part in ("quantized", "scales", "zero_point"))
        block = integers.shape[-1] // scales.shape[-1]  # blocks lie along the last axis
        zeros, scales = np.repeat(zeros, block, axis=-1), np.repeat(scales, block, axis=-1)
        values[name] = (integers.astype(np.float32) - zeros) * scales
    return values
