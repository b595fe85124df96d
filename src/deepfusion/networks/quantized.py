"""Weights in a small file: safetensors, matrices and filters as 8-bit integers or half precision.

An 8-bit tensor `name` has a float32 scale for each output channel in `name.scale`; value = integer * scale. Tensors of
one dimension (biases, batch normalisation, slopes) stay float32. The file's metadata names the base network.
"""

from pathlib import Path
from typing import Literal

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from deepfusion.atomic import write_atomically
from deepfusion.errors import UserError
from deepfusion.networks import trunks
from deepfusion.networks.fine_tuned import Tuned
from deepfusion.networks.formats import state_dict

Storage = Literal["float32", "float16", "int8"]
FORMAT = "deepfusion-tuned-1"
LARGEST = 127  # symmetric: -128 is not used


def save(net: nn.Module, path: Path, *, base: str, storage: Storage) -> None:
    """Write a fine-tuned network atomically.

    Args:
        net: the network; its state dict is stored.
        path: of the .safetensors file.
        base: the network that was fine-tuned.
        storage: type of tensors of two dimensions or more.
    """
    tensors: dict[str, Tensor] = {}
    for name in state_dict.names(net):
        value = net.state_dict()[name].detach().cpu().float().contiguous()
        if value.ndim < 2 or storage == "float32":
            tensors[name] = value
        elif storage == "float16":
            tensors[name] = value.half()
        else:
            tensors[name], tensors[f"{name}.scale"] = quantised(value)
    content = safetensors.torch.save(tensors, metadata={"format": FORMAT, "base": base, "storage": storage})
    write_atomically(path, lambda part: part.write_bytes(content))


def quantised(value: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest integers in -127..127 and the scale (C,) of each output channel, the first dimension."""
    scale = value.flatten(1).abs().amax(1).clamp(min=torch.finfo(torch.float32).tiny) / LARGEST
    shape = (-1, *[1] * (value.ndim - 1))
    return (value / scale.view(shape)).round().to(torch.int8), scale


def load(path: Path, base: str, dimension: int) -> Tuned:
    """Read a fine-tuned network, in evaluation mode.

    Args:
        path: a file that `save` has written.
        base: the expected base network.
        dimension: D of its features.

    Raises:
        UserError: the file is damaged, or holds another network.
    """
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (not a dictionary)
    except (OSError, safetensors.SafetensorError) as error:
        raise UserError(f"{path}: not a complete safetensors file: {error}") from error
    if metadata.get("format") != FORMAT or metadata.get("base") != base:
        found = f"{metadata.get('base')} in format {metadata.get('format')}" if metadata else "no metadata"
        raise UserError(f"{path}: expected {base} in format {FORMAT} (`snakemake finetune`), found {found}")
    scales = {name: tensors.pop(name) for name in list(tensors) if name.endswith(".scale") and name[:-6] in tensors}
    for name, scale in scales.items():
        integers = tensors[name.removesuffix(".scale")]
        tensors[name.removesuffix(".scale")] = integers.float() * scale.view(-1, *[1] * (integers.ndim - 1))
    net = Tuned(trunks.empty(base), dimension)
    state_dict.fill(net, tensors, path=path, network=f"{base} fine-tuned on FER2013", unused="(?!)")
    return net.eval()
