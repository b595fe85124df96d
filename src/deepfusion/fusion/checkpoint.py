"""Checkpoints: safetensors with JSON beside or inside, never a pickle; a kill leaves the old file or the new one."""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from deepfusion.atomic import write_atomically


def save_progress(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer, progress: dict) -> None:
    """Everything that the next epoch depends on, in one file.

    The random numbers of an epoch come from its own seed, so no generator has to be kept.
    """
    tensors = {f"model.{name}": value.contiguous() for name, value in model.state_dict().items()}
    for index, state in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser.{index}.{name}": value.contiguous() for name, value in state.items()}
    write_atomically(path, lambda part: save_file(tensors, part, {"progress": json.dumps(progress)}))


def read_progress(path: Path) -> dict:
    """The `progress` of a checkpoint alone."""
    with safe_open(path, "pt") as file:
        return json.loads(file.metadata()["progress"])


def restore(path: Path, model: nn.Module, optimiser: torch.optim.Optimizer) -> dict:
    """Put model and optimiser where `save_progress` left them and return its `progress`."""
    tensors = load_file(path)
    state = optimiser.state_dict()
    for name in [name for name in tensors if name.startswith("optimiser.")]:
        _, index, field = name.split(".")
        state["state"].setdefault(int(index), {})[field] = tensors.pop(name)
    optimiser.load_state_dict(state)
    model.load_state_dict({name.removeprefix("model."): value for name, value in tensors.items()})
    return read_progress(path)


def save_model(folder: Path, model: nn.Module, card: dict) -> None:
    """Write `model.safetensors` and `model.json`, the card that tells how it was made and how to build it."""
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    write_atomically(folder / "model.safetensors", lambda part: save_file(tensors, part))
    write_atomically(folder / "model.json", lambda part: part.write_text(json.dumps(card, indent=2) + "\n"))
