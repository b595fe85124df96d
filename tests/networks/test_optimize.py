"""Networks with less arithmetic are the same networks."""

import numpy as np
import pytest
import torch
from torch import nn

from deepfusion.networks import trunks
from deepfusion.networks.catalogue import CATALOGUE, SHIPPED, load
from deepfusion.networks.engines import faces
from deepfusion.networks.fine_tuned import Tuned
from deepfusion.networks.inference import embed
from deepfusion.networks.models.faceres import FaceRes
from deepfusion.networks.optimize import PReLUConvolved, folded

HERE = [name for name, card in CATALOGUE.items() if card.packaged or (SHIPPED / f"{name}.safetensors").is_file()]
CPU = torch.device("cpu")


def same(net: nn.Module, crops: np.ndarray) -> None:
    before = {name: value.clone() for name, value in net.state_dict().items()}
    wanted = embed(net, crops, device=CPU)
    with torch.inference_mode():
        found = folded(net)(torch.from_numpy(crops)).numpy()
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())  # left as it was
    assert np.array_equal(embed(net, crops, device=CPU), wanted)


def test_the_shipped_networks_are_here():
    assert len(HERE) == 6  # four shipped, two in packages


@pytest.mark.parametrize("name", HERE)
def test_every_network_that_is_here(name):
    size = CATALOGUE[name].crop.size
    noise = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    same(load(name), np.concatenate([faces(size), noise]))


@pytest.mark.parametrize("base", ["facenet-vggface2", "arcface-iresnet50"])
def test_large_networks_that_see_grey(base):
    torch.manual_seed(0)
    card = CATALOGUE[f"{base}-fer2013"]
    same(Tuned(trunks.empty(base), card.dimension).eval(), faces(card.crop.size)[:2])


def test_faceres_in_colour():
    torch.manual_seed(0)
    same(FaceRes().eval(), np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8))


def test_large_numbers_are_shared_not_copied():
    net = load("compact-vgg-fer2013")
    assert folded(net).trunk.fc6.weight.data_ptr() == net.trunk.fc6.weight.data_ptr()


def test_prelu_of_any_slope():
    prelu = nn.PReLU(5)
    prelu.weight.data = torch.tensor([-0.8, 0.0, 0.25, 1.0, 1.7])
    x = torch.randn(2, 5, 4, 3)
    assert torch.allclose(PReLUConvolved(prelu.weight)(x), prelu(x), atol=1e-6)
