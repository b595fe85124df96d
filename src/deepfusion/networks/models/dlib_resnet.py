"""dlib's face recognition network, a ResNet with 29 convolutions, as a torch module.

Source: D. King's `dnn_face_recognition_ex.cpp` (the architecture) and
`dlib_face_recognition_resnet_model_v1.dat` (the weights). The output equals dlib's own face descriptor.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepfusion.errors import UserError
from deepfusion.networks.formats.dlib_dat import DatReader

STAGES = [(32, 3, False), (64, 4, True), (128, 3, True), (256, 3, True), (256, 1, True)]
"""Channels, number of residual blocks, and whether the first of them halves the map."""


class Block(nn.Module):
    """dlib's `ares` and, with `down`, `ares_down`: two convolutions and a shortcut without weights."""

    def __init__(self, inputs: int, outputs: int, *, down: bool):
        super().__init__()
        self.down = down
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=2 if down else 1, padding=0 if down else 1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) -> (B, outputs, H', W')."""
        y = self.conv2(F.relu(self.conv1(x)))
        if self.down:
            x = F.avg_pool2d(x, 2)
        # dlib's add_prev: the smaller of the two is padded with zeros at the right, the bottom and in channels.
        shape = [max(pair) for pair in zip(x.shape, y.shape, strict=True)]
        return F.relu(_filled(x, shape) + _filled(y, shape))


def _filled(x: Tensor, shape: list[int]) -> Tensor:
    channels, rows, columns = (large - small for large, small in zip(shape[1:], x.shape[1:], strict=True))
    return F.pad(x, (0, columns, 0, rows, 0, channels)) if channels or rows or columns else x


class DlibResNet29(nn.Module):
    """(B, 3, 150, 150) float32 RGB 0..255, dlib's chip with padding 0.25 -> (B, 128), layer `fc_2`."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(3, 1, 1))
        self.stem = nn.Conv2d(3, 32, 7, stride=2)
        blocks, inputs = [], 32
        for outputs, count, down in STAGES:
            for i in range(count):
                blocks.append(Block(inputs, outputs, down=down and i == 0))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(256, 128, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Face chips to descriptors; not normalised to unit length (dlib's are not either)."""
        return self.after(self.stem((x - self.mean) / 256))

    def after(self, x: Tensor) -> Tensor:
        """The first convolution's map, (B, 32, 72, 72), to descriptors."""
        x = self.blocks(F.max_pool2d(F.relu(x), 3, stride=2))
        return self.fc(x.mean(dim=(2, 3)))


def build(path: Path) -> DlibResNet29:
    """Read the weights out of dlib's file.

    dlib's `affine_` layers (its batch normalisation, frozen) are folded into the convolution before them.

    Raises:
        UserError: the file is cut off or holds another network.
    """
    net, file = DlibResNet29(), DatReader(path)
    file.skip_to("input_rgb_image_sized")
    net.mean.copy_(torch.tensor([file.double() for _ in range(3)]).view(3, 1, 1))
    with torch.no_grad():
        for conv in (m for m in net.modules() if isinstance(m, nn.Conv2d)):
            file.skip_to("con_4")
            filters, bias = np.split(_values(file, conv.weight.numel() + conv.out_channels), [conv.weight.numel()])
            file.skip_to("affine_")
            gamma, beta = np.split(_values(file, 2 * conv.out_channels), 2)
            conv.weight.copy_(torch.from_numpy(filters.reshape(conv.weight.shape) * gamma[:, None, None, None]))
            conv.bias.copy_(torch.from_numpy(bias * gamma + beta))
        file.skip_to("fc_2")
        outputs, inputs = file.integer(), file.integer()
        net.fc.weight.copy_(torch.from_numpy(_values(file, inputs * outputs).reshape(inputs, outputs).T))
    return net.eval()


def _values(file: DatReader, count: int) -> np.ndarray:
    """The next tensor as `count` numbers."""
    values = file.tensor().ravel()
    if len(values) != count:
        raise UserError(f"{file.path}: {len(values)} weights where dlib's ResNet-29 has {count}: another network")
    return values
