"""Checkpoints: what is resumed is what was saved, and a damaged file is never more than a lost epoch."""

import json
import logging

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from deepfusion.checkpoint import resume, save_progress

PROGRESS = {"key": "k", "curve": [{"epoch": 1}]}


def training(seed):
    torch.manual_seed(seed)
    model = torch.nn.Linear(3, 2)
    return model, torch.optim.AdamW(model.parameters(), lr=0.1)


def step(model, optimiser):
    model(torch.ones(4, 3)).square().mean().backward()
    optimiser.step()
    optimiser.zero_grad()


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def saved(tmp_path):
    """A checkpoint after two steps, and the weights then and a step later."""
    model, optimiser = training(0)
    for _ in range(2):
        step(model, optimiser)
    path = tmp_path / "c.safetensors"
    save_progress(path, model, optimiser, PROGRESS)
    then = weights(model)
    step(model, optimiser)
    return path, then, weights(model)


def test_a_resumed_training_goes_on_as_if_it_had_not_ended(saved):
    path, then, later = saved
    model, optimiser = training(1)
    assert resume(path, model, optimiser, key="k") == PROGRESS
    assert same(weights(model), then)
    step(model, optimiser)
    assert same(weights(model), later)
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    assert set(header["__metadata__"]) == {"progress", "sha256"}


def test_another_key_and_no_file_leave_everything_as_it_is(saved, tmp_path, caplog):
    path, *_ = saved
    model, optimiser = training(1)
    before = weights(model)
    assert resume(path, model, optimiser, key="other") is None
    assert resume(tmp_path / "none", model, optimiser, key="k") is None
    assert same(weights(model), before) and not optimiser.state_dict()["state"] and not caplog.text


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "a folder", "no header", "other shapes"])
def test_a_damaged_checkpoint_is_ignored_with_a_warning(saved, tmp_path, caplog, damage):
    path, *_ = saved
    content = path.read_bytes()
    if damage == "a folder":
        path.unlink()
        path.symlink_to(tmp_path)
    elif damage == "no header":
        save_file({"model.x": torch.zeros(1)}, path)
    elif damage == "other shapes":
        other = torch.nn.Linear(5, 5)
        save_progress(path, other, torch.optim.AdamW(other.parameters()), PROGRESS)
    else:
        path.write_bytes({"truncated": content[:-100], "empty": b"", "text": b"not a checkpoint"}[damage])
    model, optimiser = training(1)
    before = weights(model)
    with caplog.at_level(logging.WARNING):
        assert resume(path, model, optimiser, key="k") is None
    assert same(weights(model), before) and not optimiser.state_dict()["state"]
    assert f"{path} is damaged" in caplog.text and "training starts from the beginning" in caplog.text


def test_every_flipped_bit_is_found(saved):
    """Or lies where it changes nothing: what is resumed is what was saved."""
    path, then, _ = saved
    content, rng, kept = path.read_bytes(), np.random.default_rng(0), 0
    for place in rng.choice(len(content), 200, replace=False):
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        model, optimiser = training(1)
        before = weights(model)
        progress = resume(path, model, optimiser, key="k")
        kept += progress is not None
        assert progress in (None, PROGRESS)
        assert same(weights(model), before if progress is None else then)
    assert kept < 10
