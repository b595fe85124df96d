"""What of a recognition network is fine-tuned: equal to the whole network below its last layer."""

import pytest
import torch
from torch import nn

from deepfusion.config import PRESETS
from deepfusion.networks import catalogue, trunks
from deepfusion.networks.formats import state_dict
from deepfusion.networks.models.faceres import FaceRes
from deepfusion.networks.models.sface import PReLU

CARDS = [network for network in catalogue.CATALOGUE.values() if network.base]


@pytest.fixture(scope="module")
def noise():
    return torch.rand(2, 3, 150, 150, generator=torch.Generator().manual_seed(0)) * 255


def test_dlibs_trunk_is_the_input_of_its_last_layer(noise):
    whole = catalogue.load("dlib-resnet29")
    weight = whole.fc.weight.detach().clone()
    trunk = trunks.pretrained("dlib-resnet29")
    with torch.no_grad():
        features, descriptors = trunk(noise), whole(noise)
    assert features.shape == (2, 256)
    torch.testing.assert_close(features @ weight.T, descriptors, rtol=0, atol=1e-5)


def test_sfaces_trunk_is_the_mean_of_its_last_map():
    picture = torch.rand(2, 3, 112, 112, generator=torch.Generator().manual_seed(0)) * 255
    whole = catalogue.load("sface")
    with torch.no_grad():
        x = (picture - whole.mean) * whole.scale
        for layer in whole.layers.values():
            x = layer(x)
        mean = x.mean((2, 3))
        features = trunks.pretrained("sface")(picture)
    assert features.shape == (2, 1024)
    assert x.abs().max() > 0.5
    torch.testing.assert_close(features, mean, rtol=0, atol=float(1e-4 * mean.abs().max()))


def test_sface_learns_above_its_first_layers():
    trunk = trunks.pretrained("sface")
    trunk(torch.rand(1, 3, 112, 112) * 255).sum().backward()
    learns = {name for name, value in trunk.named_parameters() if value.grad is not None}
    first = ["conv_1", "conv_2_dw", "conv_2", "conv_3_dw", "conv_3", "conv_4_dw", "conv_4"]
    others = [name for name in trunk.layers if name not in first]
    assert len(others) == 20
    # Nothing else learns: what was batch normalisation's, the biases, and the slopes stay recognition's.
    assert learns == {f"layers.{name}.conv2d.weight" for name in others}
    assert not any(isinstance(module, nn.BatchNorm2d) for module in trunk.modules())
    assert sum(isinstance(module, PReLU) for module in trunk.modules()) == 27


def test_faceres_learns_above_its_first_layers(monkeypatch):
    monkeypatch.setattr(catalogue, "load", lambda *_, **__: FaceRes())
    trunk = trunks.pretrained("faceres")
    frozen = {name.removesuffix(".weight") for name, value in trunk.named_parameters() if not value.requires_grad}
    frozen = {name.removesuffix(".bias") for name in frozen}
    first = [f"layers.conv_{kind}_{i}" for i in (1, 2, 3) for kind in ("dw", "pw")]
    assert frozen == {"conv1", *first}


@pytest.mark.parametrize("base", ["dlib-resnet29", "compact-vgg"])
def test_all_of_it_learns(base):
    assert all(value.requires_grad for value in trunks.pretrained(base).parameters())


@pytest.mark.parametrize("base", ["dlib-resnet29", "sface", "compact-vgg"])
def test_an_empty_trunk_has_the_names_and_shapes_of_the_trained_one(base):
    trained, empty = trunks.pretrained(base), trunks.empty(base)
    assert state_dict.names(empty) == state_dict.names(trained)
    assert all(empty.state_dict()[name].shape == value.shape for name, value in trained.state_dict().items())


@pytest.mark.parametrize(
    "card", [card for card in CARDS if card.name in PRESETS["compact"].values()], ids=lambda c: c.name
)
def test_its_crops_become_features_of_the_declared_dimension(card):
    trunk = trunks.empty(card.base).eval()
    with torch.no_grad():
        features = trunk(torch.rand(1, 3, card.crop.size, card.crop.size) * 255)
    assert features.shape == (1, card.dimension)


def test_every_base_has_a_trunk():
    assert set(trunks._EMPTY) == {card.base for card in CARDS}
