"""The weights that come with the project, and their cards."""

import json

import pytest
import torch

from deepfusion.config import PRESETS
from deepfusion.fer2013.data import EMOTIONS
from deepfusion.networks.catalogue import CATALOGUE, SHIPPED, load

shipped = pytest.mark.parametrize("name", PRESETS["compact"].values())


@shipped
def test_its_file_and_card_are_there(name):
    card = json.loads((SHIPPED / f"{name}.json").read_text())
    network = CATALOGUE[name]
    assert card["name"] == name and card["base"] == network.base
    assert card["feature"] == {
        "layer": network.output,
        "dimension": network.dimension,
        "crop": vars(network.crop),
        "normalisation": network.normalisation,
    }
    assert card["licence"] == network.licence and card["citation"] == network.citation
    assert card["emotions"] == list(EMOTIONS)
    assert card["storage"]["bytes"] == (SHIPPED / f"{name}.safetensors").stat().st_size


@shipped
def test_its_figures(name):
    figures = json.loads((SHIPPED / f"{name}.json").read_text())["fer2013"]
    for part in ("public", "private"):
        assert 0.6 < figures[f"{part}_test"] < 0.8
        assert figures[part]["n"] == sum(map(sum, figures[part]["confusion"])) == 3589
        right = sum(figures[part]["confusion"][i][i] for i in range(7))
        assert figures[f"{part}_test"] == figures[part]["accuracy"] == pytest.approx(right / 3589)


@shipped
def test_it_loads(name):
    net = load(name)
    size = CATALOGUE[name].crop.size
    picture = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0)) * 255
    with torch.inference_mode():
        features = net(picture)
        logits = net.classifier(features)
    assert features.shape == (2, CATALOGUE[name].dimension) and logits.shape == (2, 7)
    assert features.isfinite().all() and (features[0] - features[1]).abs().max() > 1e-3
    assert not any(module.training for module in net.modules())


def test_all_of_them_are_small():
    files = list(SHIPPED.glob("*.safetensors"))
    encoders = {"audio-encoder", "audio-encoder-free"}
    assert {file.stem for file in files} == {*PRESETS["compact"].values(), *encoders}
    assert sum(file.stat().st_size for file in files) <= 28_000_000
