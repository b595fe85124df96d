"""Small weight files: what comes back, and what is said of another file."""

import os
import pickle

import numpy as np
import pytest
import safetensors.torch
import torch

from deepfusion.errors import MachineError, UserError
from deepfusion.networks import quantized
from deepfusion.networks.fine_tuned import Tuned
from deepfusion.networks.formats import state_dict
from deepfusion.networks.models import compact_vgg


@pytest.fixture
def net(monkeypatch):
    """A narrow compact VGG with filters of very different sizes, one of them zero."""
    monkeypatch.setattr(compact_vgg, "GROUPS", [(4, 1), (4, 1), (6, 1), (8, 1)])
    torch.manual_seed(0)
    net = Tuned(compact_vgg.CompactVGG(), 4096).eval()
    with torch.no_grad():
        for name in state_dict.names(net):
            value = net.state_dict()[name]
            value.copy_(
                torch.randn(value.shape) * 10 ** torch.linspace(-3, 2, len(value)).view(-1, *[1] * (value.ndim - 1))
            )
        net.trunk.features[0].weight[1] = 0
        net.classifier.weight[2] = 1e-30
        net.trunk.features[1].running_var.abs_()
    return net


def stored(net, path, storage):
    quantized.save(net, path, base="compact-vgg", storage=storage)
    read = quantized.load(path, "compact-vgg", 4096)
    assert not any(module.training for module in read.modules())
    before, after = net.state_dict(), read.state_dict()
    assert list(after) == list(before)
    return {name: (before[name], after[name]) for name in state_dict.names(net)}


def test_float32_is_exact(tmp_path, net):
    for before, after in stored(net, tmp_path / "a.safetensors", "float32").values():
        assert torch.equal(before, after)


def test_float16_is_near(tmp_path, net):
    for name, (before, after) in stored(net, tmp_path / "a.safetensors", "float16").items():
        assert after.dtype == torch.float32
        if before.ndim < 2:
            assert torch.equal(before, after), name
        else:
            torch.testing.assert_close(after, before, rtol=2**-11, atol=2**-24)  # half of a step of half precision
            assert not torch.equal(before, after)


def test_int8_is_within_half_a_step_of_its_channel(tmp_path, net):
    for name, (before, after) in stored(net, tmp_path / "a.safetensors", "int8").items():
        if before.ndim < 2:
            assert torch.equal(before, after), name
            continue
        for one, other in zip(before.flatten(1).numpy(), after.flatten(1).numpy(), strict=True):
            step = np.abs(one).max() / 127
            assert np.abs(one - other).max() <= 0.5001 * step, name
            assert len(np.unique(other)) <= 255
            assert np.abs(other).max() == pytest.approx(np.abs(one).max(), rel=1e-6)  # the largest one is kept


def test_int8_keeps_a_channel_of_zeros(tmp_path, net):
    before, after = stored(net, tmp_path / "a.safetensors", "int8")["trunk.features.0.weight"]
    assert (before[1] == 0).all() and (after[1] == 0).all()


def test_sizes(tmp_path, net):
    numbers = sum(net.state_dict()[name].numel() for name in state_dict.names(net))
    for storage, size in [("float32", 4), ("float16", 2), ("int8", 1)]:
        path = tmp_path / f"{storage}.safetensors"
        quantized.save(net, path, base="compact-vgg", storage=storage)
        small = 4 * 2 * 4096 + 20_000  # biases and scales of fc6, names
        assert size * numbers < path.stat().st_size < size * numbers + small


def test_a_network_in_training_is_kept_as_it_is(tmp_path, net):
    net.train()
    for before, after in stored(net, tmp_path / "a.safetensors", "float32").values():
        assert torch.equal(before, after)
    assert net.training


def refused(path, base="compact-vgg", dimension=4096):
    with pytest.raises(UserError) as error:
        quantized.load(path, base, dimension)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    return str(error.value)


@pytest.fixture
def file(tmp_path, net):
    path = tmp_path / "net.safetensors"
    quantized.save(net, path, base="compact-vgg", storage="int8")
    return path


def test_another_base(file):
    said = refused(file, "sface", 1024)
    assert "expected sface in format deepfusion-tuned-1" in said and "found compact-vgg" in said


def test_another_dimension(file):
    assert "classifier.weight has the shape (7, 4096)" in refused(file, dimension=512)


@pytest.mark.parametrize("kept", [0, 5, 1000, -1])
def test_a_file_cut_off(file, kept):
    file.write_bytes(file.read_bytes()[:kept])
    assert "not a complete safetensors file" in refused(file)


def test_a_foreign_safetensors(file):
    safetensors.torch.save_file({"weight": torch.zeros(3)}, file)
    assert "found no metadata" in refused(file)
    safetensors.torch.save_file({"weight": torch.zeros(3)}, file, metadata={"format": "pt"})
    assert "expected compact-vgg in format deepfusion-tuned-1" in refused(file)


def test_the_right_words_about_other_tensors(file):
    words = {"format": quantized.FORMAT, "base": "compact-vgg"}
    safetensors.torch.save_file({"weight": torch.zeros(3)}, file, metadata=words)
    assert "not compact-vgg fine-tuned on FER2013" in refused(file)


def test_a_torch_pickle(file, net):
    torch.save(net.state_dict(), file)
    assert "not a complete safetensors file" in refused(file)
    file.write_bytes(pickle.dumps(net.classifier.weight.tolist()))
    assert "not a complete safetensors file" in refused(file)


def test_an_absent_file(tmp_path):
    assert "not a complete safetensors file" in refused(tmp_path / "absent.safetensors")


def test_a_full_disk_leaves_nothing_and_what_was_there(tmp_path, net, monkeypatch):
    def full(_):
        raise OSError("no space left on device")

    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    old.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    for path in (old, new):
        with pytest.raises(MachineError, match="no space"):
            quantized.save(net, path, base="compact-vgg", storage="int8")
    assert [path.name for path in tmp_path.iterdir()] == ["old.safetensors"] and old.read_bytes() == b"old"
