"""Weight files in torch's layout, names and tensors: read without running code in them, and loaded into a module.

Names and shapes are compared before anything is copied: for another network's file, one line names the missing and
unknown tensors, or the one with the wrong shape.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from deepfusion.errors import UserError

COUNTERS = "num_batches_tracked"
"""Last part of the name of batch normalisation's step counter: only training uses it, and old files lack it."""


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file, or of a torch state dict, by name.

    Raises:
        UserError: the file cannot be read without executing code in it, or is not a state dict.
    """
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


def names(net: nn.Module) -> list[str]:
    """The module's parameters and saved buffers without the counters: the tensors that a file must have."""
    return [name for name in net.state_dict() if not name.endswith(COUNTERS)]


def fill(
    net: nn.Module,
    tensors: Mapping[str, Tensor],
    ours: Mapping[str, str] | None = None,
    *,
    path: Path,
    network: str,
    unused: str,
) -> None:
    """Load a file's tensors into a module, as float32; the module may be on the meta device.

    Args:
        net: the module.
        tensors: of the file.
        ours: name in the file -> name in the module, for every tensor that the module needs; None: the same names.
        path: the file, for the error message.
        network: name of the network, for the error message.
        unused: regular expression of the names that the file may also hold, such as its classifier's.

    Raises:
        UserError: a tensor is missing, unknown or has another shape.
    """
    ours = ours or {name: name for name in names(net)}
    missing = [name for name in ours if name not in tensors]
    others = re.compile(rf"({unused})|(.*\.)?{COUNTERS}")
    unknown = [name for name in tensors if name not in ours and not others.fullmatch(name)]
    if missing or unknown:
        first, *_, last = ours
        raise UserError(
            f"{path}: not {network}, whose names are {first} ... {last}: "
            f"missing {_some(missing)}; unknown {_some(unknown)}"
        )
    wanted = net.state_dict()
    for theirs, name in ours.items():
        found, shape = tuple(tensors[theirs].shape), tuple(wanted[name].shape)
        if found != shape:
            raise UserError(f"{path}: {theirs} has the shape {found}, {network} has {shape}")
    state = {name: tensors[theirs].float() for theirs, name in ours.items()}
    state |= {name: torch.tensor(0) for name in wanted if name.endswith(COUNTERS)}
    net.load_state_dict(state, assign=True)


def _some(names: list[str]) -> str:
    """At most three names, and how many more there are."""
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return (", ".join(names[:3]) or "none") + more
