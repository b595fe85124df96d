import numpy as np
import pytest
import torch
from torch import nn

from deepfusion.errors import UserError
from deepfusion.networks.catalogue import CATALOGUE, load
from deepfusion.networks.inference import device, embed

PACKAGED = [name for name, network in CATALOGUE.items() if network.packaged]
CPU = torch.device("cpu")


@pytest.mark.parametrize("name", PACKAGED)
def test_batch_size_changes_nothing_but_rounding(name):
    size = CATALOGUE[name].crop.size
    crops = np.random.default_rng(0).integers(0, 256, (7, size, size, 3), dtype=np.uint8)
    net = load(name)
    whole = embed(net, crops, device=CPU, batch=7)
    assert whole.shape == (7, CATALOGUE[name].dimension)
    for batch in (1, 3, 8):
        assert np.abs(embed(net, crops, device=CPU, batch=batch) - whole).max() < 1e-5 * np.abs(whole).max()


@pytest.mark.parametrize("name", PACKAGED)
def test_no_crops(name):
    size = CATALOGUE[name].crop.size
    features = embed(load(name), np.zeros((0, size, size, 3), np.uint8), device=CPU)
    assert features.shape == (0, CATALOGUE[name].dimension)
    assert features.dtype == np.float32


class Probe(nn.Module):
    """Gives back one pixel per crop, and is different in training."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.dropout = nn.Dropout(0.5)

    def forward(self, x):
        assert x.dtype == torch.float32
        return self.dropout(self.weight * x[:, :, 1, 2])


def test_channels_and_rows_stay_where_they_are_and_nothing_is_trained():
    crops = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    crops.flags.writeable = False  # as slices of a file may be
    module = Probe().train()
    assert np.array_equal(embed(module, crops, device=CPU, batch=1), crops[:, 1, 2].astype(np.float32))
    module(torch.rand(1, 3, 4, 4)).sum().backward()  # the module itself can still be trained
    assert module.weight.grad is not None


@pytest.mark.parametrize(
    "crops", [np.zeros((1, 4, 4, 3)), np.zeros((4, 4, 3), np.uint8), np.zeros((1, 3, 4, 4), np.uint8)]
)
def test_wrong_crops(crops):
    with pytest.raises(ValueError, match="not uint8"):
        embed(Probe(), crops, device=CPU)


def test_device():
    assert device("cpu") == CPU
    assert device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(UserError, match="device 'gpu' cannot be used here"):
        device("gpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_absent_gpu_is_one_line():
    with pytest.raises(UserError, match="device 'cuda' cannot be used here") as caught:
        device("cuda")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")
@pytest.mark.parametrize("name", PACKAGED)
def test_gpu_equals_cpu(name):
    size = CATALOGUE[name].crop.size
    crops = np.random.default_rng(0).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    net = load(name)
    cpu = embed(net, crops, device=CPU)
    assert np.abs(embed(net, crops, device=device("cuda")) - cpu).max() < 1e-4 * np.abs(cpu).max()
