"""Training checkpoints: safetensors with JSON in the header, never a pickle; written atomically."""

import copy
import hashlib
import json
import logging
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from deepfusion.atomic import write_atomically

log = logging.getLogger(__name__)


def save_progress(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, progress: dict) -> None:
    """Write everything that the next epoch depends on into one file, with a hash.

    Each epoch seeds its own random numbers, so no generator state is saved.
    """
    tensors = {f"model.{name}": value.contiguous() for name, value in model.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": value.contiguous() for name, value in state.items()}
    text = json.dumps(progress)
    header = {"progress": text, "sha256": _digest(tensors, text)}
    write_atomically(path, lambda part: save_file(tensors, part, header))


def resume(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, *, key: str) -> dict | None:
    """Restore model and optimiser from a checkpoint of `save_progress`.

    A damaged checkpoint is logged and ignored, so that training starts from the beginning.

    Args:
        path: The checkpoint.
        model: Changed in place, unless None is returned.
        optimiser: Likewise.
        key: What the training depends on.

    Returns:
        The `progress`; None if there is no checkpoint, it has another `key`, or it is damaged.
    """
    if not path.exists():
        return None
    before = copy.deepcopy((model.state_dict(), optimiser.state_dict()))
    try:
        progress, tensors = _read(path)
        if progress["key"] != key:
            return None
        state = optimiser.state_dict()
        for name in [name for name in tensors if name.startswith("optimiser.")]:
            _, index, field = name.split(".")
            state["state"].setdefault(int(index), {})[field] = tensors.pop(name)
        optimiser.load_state_dict(state)
        model.load_state_dict({name.removeprefix("model."): value for name, value in tensors.items()})
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        log.warning("%s is damaged or cannot be read (%s): training starts from the beginning", path, error)
        model.load_state_dict(before[0])
        optimiser.load_state_dict(before[1])
        return None
    return progress


def _read(path: Path) -> tuple[dict, dict[str, Tensor]]:
    """The progress and the tensors of a checkpoint; ValueError if they differ from what was written."""
    with safe_open(path, "pt") as file:
        header = file.metadata() or {}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
    text = header.get("progress", "")
    if header.get("sha256") != _digest(tensors, text):
        raise ValueError("its hash does not match its content")
    return json.loads(text), tensors


def _digest(tensors: dict[str, Tensor], text: str) -> str:
    """SHA-256 over names, types, shapes and values, and a text."""
    digest = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        value = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()
