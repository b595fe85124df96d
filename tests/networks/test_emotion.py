"""Emotion of single faces: which networks, which numbers."""

import subprocess
import sys

import numpy as np
import pytest

from deepfusion.config import PRESETS, NetworkSettings
from deepfusion.errors import UserError
from deepfusion.extract.derived import derived_columns
from deepfusion.fer2013 import data
from deepfusion.networks import catalogue
from deepfusion.networks.emotion import EMOTIONS, Classifier, classifiers, load_card, mean_probability

COMPACT = {slot: NetworkSettings(network=name) for slot, name in PRESETS["compact"].items()}


def fingerprints(networks):
    return {slot: catalogue.fingerprint(of.network, of.weights) for slot, of in networks.items()}


def test_the_card_is_of_the_weights_that_are_shipped():
    networks = load_card()["networks"]
    assert list(networks) == list(PRESETS["compact"].values())
    assert [of["fingerprint"] for of in networks.values()] == list(fingerprints(COMPACT).values())
    assert load_card()["emotions"] == list(EMOTIONS) == list(data.EMOTIONS)


def test_any_slot_may_hold_any_of_the_four_but_no_other_weights(tmp_path):
    turned = dict(zip(COMPACT, reversed(COMPACT.values()), strict=True))
    found = classifiers(fingerprints(turned), dict.fromkeys(turned))
    assert [of.weight.shape for of in found.values()] == [(7, 4096), (7, 256), (7, 1024), (7, 1024)]
    assert list(found) == list(reversed(COMPACT))
    other = fingerprints(COMPACT) | {"EF-C": "faceres-fer2013 version 1 sha256 other"}
    assert classifiers(other, dict.fromkeys(other)) == {}
    three = {slot: of for slot, of in COMPACT.items() if slot != "EF-C"}
    assert classifiers(fingerprints(three), dict.fromkeys(three)) == {}


def test_a_store_of_other_networks_has_no_emotion_and_the_log_tells_it(caplog):
    with caplog.at_level("INFO"):
        columns = derived_columns({"EF-A": NetworkSettings(network="dlib-resnet29")})
    assert [column.name for column in columns] == ["pose", "eye_opening", "mouth_opening"]
    assert "emotion is left out" in caplog.text
    columns = derived_columns(COMPACT)
    assert columns[-1].name == "emotion" and columns[-1].attrs["classes"] == list(EMOTIONS)


def test_the_mean_of_probabilities_keeps_frames_without_a_face():
    rng = np.random.default_rng(0)
    one, two = (Classifier(rng.normal(size=(7, 5)), rng.normal(size=7), t) for t in (1.0, 2.0))
    features = rng.normal(size=(4, 5)).astype(np.float16)
    features[2] = np.nan
    p = mean_probability(of.logits(features) for of in (one, two))
    assert np.isnan(p[2]).all() and np.isfinite(p[[0, 1, 3]]).all()
    np.testing.assert_allclose(p[[0, 1, 3]].sum(1), 1)
    by_hand = [np.exp((features[0].astype(float) @ of.weight.T + of.bias) / of.temperature) for of in (one, two)]
    np.testing.assert_allclose(p[0], np.mean([of / of.sum() for of in by_hand], axis=0))


def test_a_damaged_file_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "SHIPPED", tmp_path)
    for name in PRESETS["compact"].values():
        (tmp_path / f"{name}.safetensors").write_bytes(b"no weights")
    with pytest.raises(UserError, match="its classifier cannot be read"):
        slots = dict(zip(COMPACT, (of["fingerprint"] for of in load_card()["networks"].values()), strict=True))
        classifiers(slots, dict.fromkeys(slots))


def test_needs_no_torch():
    code = "import sys, deepfusion.networks.emotion, deepfusion.faces.pose; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
