"""Reader of Keras weight files (HDF5), in torch's names and order of axes.

A Keras file has one group per layer. Its weights are called `<layer>_W_1:0` and `<layer>_b_1:0` by Keras 1; `kernel:0`
and `bias:0`, one or two groups deeper, by Keras 2.
"""

import re
from pathlib import Path

import h5py
import torch
from torch import Tensor

from deepfusion.errors import UserError

KIND = re.compile(r"(?:.*_)?(W|b|kernel|bias)(?:_\d+)?(?::0)?")
"""The last part of a dataset's path."""
TORCH = {"W": "weight", "kernel": "weight", "b": "bias", "bias": "bias"}
AXES = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}
"""Keras's axes in torch's order: rows, columns, inputs, outputs; inputs, outputs; outputs."""


def read(path: Path, layers: set[str]) -> dict[str, Tensor]:
    """The weights of a Keras file, `<layer>.weight` and `<layer>.bias`.

    Args:
        path: the file.
        layers: layers to read; the others, which may be large, are skipped.

    Returns:
        Kernels of convolutions as (outputs, inputs, rows, columns), of dense layers as (outputs, inputs). A dataset of
        no known layer is listed by its path in the file, empty.

    Raises:
        UserError: the file is not HDF5, or is damaged.
    """
    tensors: dict[str, Tensor] = {}

    def visit(where: str, item: h5py.Group | h5py.Dataset) -> None:
        if isinstance(item, h5py.Group):
            return
        *groups, last = where.split("/")
        layer = next((group for group in groups if group in layers), None)
        kind = KIND.fullmatch(last)
        if layer and kind:
            tensors[f"{layer}.{TORCH[kind[1]]}"] = _torch_order(item)
        else:
            tensors[where] = torch.empty(0)

    try:
        with h5py.File(path) as file:
            file.visititems(visit)
    except (OSError, RuntimeError, KeyError, TypeError) as error:  # a foreign file can be wrong in any way
        raise UserError(f"{path}: not a Keras file of weights (HDF5), or damaged ({type(error).__name__})") from error
    return tensors


def _torch_order(item: h5py.Dataset) -> Tensor:
    values = torch.from_numpy(item[()])
    return values.permute(AXES[values.ndim])
