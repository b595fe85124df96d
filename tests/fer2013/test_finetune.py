"""Fine-tuning from prepared images to weights: what trains, that it learns, and that a killed run goes on."""

import json
import logging
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F
from toy_fer2013 import CPU, NAME, prepared, run, settings, toy

from deepfusion.config import FinetuneSettings, RecipeSettings
from deepfusion.errors import UserError
from deepfusion.fer2013 import augment, finetune, train
from deepfusion.fer2013.align import to_crop
from deepfusion.fer2013.data import EMOTIONS, VOTES, Fer2013
from deepfusion.networks import quantized
from deepfusion.networks.fine_tuned import Tuned
from deepfusion.networks.models import compact_vgg

CROP = finetune.tuned(NAME).crop


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    """The compact VGG with few filters: an epoch of the toy takes a twentieth of a second."""
    monkeypatch.setattr(compact_vgg, "GROUPS", [(8, 1)] * 4)


@pytest.fixture
def data(tmp_path):
    return prepared(tmp_path / "fer2013.npz", *toy())


def some(rows, votes=None):
    """FER2013 of (which image, label, usage, ambiguous) a row."""
    number, labels, usage, ambiguous = (np.array(column) for column in zip(*rows, strict=True))
    images = np.zeros((len(rows), 48, 48), np.uint8)
    images[:, 47, 47] = number
    return Fer2013(images, labels, usage, votes, ambiguous)


ROWS = [
    (0, 3, "Training", False),
    (1, 4, "Training", False),  # also in PublicTest
    (2, 4, "Training", True),
    (3, 6, "Training", False),
    (3, 6, "Training", False),  # repeated, and trains twice
    (4, 5, "Training", True),  # ambiguous and also in PrivateTest: counted once
    (1, 4, "PublicTest", False),
    (4, 2, "PrivateTest", False),
    (5, 2, "PrivateTest", False),
]


def test_what_trains():
    rows, targets, left_out = finetune.training_rows(some(ROWS), "fer2013")
    assert rows.tolist() == [0, 3, 4]
    assert left_out == {"also_in_a_test_split": 2, "ambiguous": 1}
    assert targets.dtype == torch.float32
    assert targets.tolist() == [[0, 0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 0, 1], [0, 0, 0, 0, 0, 0, 1]]


def test_votes_as_shares():
    votes = np.zeros((9, 10), np.int64)
    words = ["happiness", "sadness", "contempt", "unknown", "NF"]
    votes[0, [VOTES.index(word) for word in words]] = 3, 1, 2, 3, 1  # of seven emotions, 3 and 1
    votes[3, [VOTES.index("contempt"), VOTES.index("NF")]] = 6, 4  # none of them
    votes[4, [VOTES.index("neutral"), VOTES.index("anger")]] = 5, 5
    rows, targets, left_out = finetune.training_rows(some(ROWS, votes), "ferplus")
    assert rows.tolist() == [0, 4]
    assert left_out == {"also_in_a_test_split": 2, "ambiguous": 1, "no_vote_for_an_emotion": 1}
    shares = [dict(zip(EMOTIONS, row, strict=True)) for row in targets.tolist()]
    assert shares[0] == dict.fromkeys(EMOTIONS, 0.0) | {"happy": 0.75, "sad": 0.25}
    assert shares[1] == dict.fromkeys(EMOTIONS, 0.0) | {"neutral": 0.5, "angry": 0.5}
    # The original labels need none of it.
    assert finetune.training_rows(some(ROWS, votes), "fer2013")[0].tolist() == [0, 3, 4]


def test_votes_that_are_not_there():
    with pytest.raises(UserError, match=r"finetune\.labels is ferplus, but there are no votes: .*fer2013new\.csv"):
        finetune.training_rows(some(ROWS), "ferplus")


@pytest.mark.parametrize("name", ["sface", "vgg-face"])
def test_a_network_that_is_not_tuned_here(name, tmp_path, data):
    with pytest.raises(UserError, match=f"{name} is not fine-tuned here; these are: .*sface-fer2013") as error:
        finetune.tuned(name)
    assert "\n" not in str(error.value)
    assert finetune.tuned("sface-fer2013").base == "sface"


def test_a_network_without_a_recipe(tmp_path, data):
    with pytest.raises(UserError, match=f"sface-fer2013: finetune.recipes has no recipe for it, only for {NAME}"):
        finetune.finetune(data, tmp_path / "out", name="sface-fer2013", settings=settings(), device=CPU)


def test_probabilities_of_whole_and_broken_batches():
    torch.manual_seed(0)
    net = Tuned(compact_vgg.CompactVGG(), 4096).eval()
    data, found = toy(40)
    theta = augment.thetas(to_crop(found, CROP), 48)
    said = finetune.probabilities(net, data.images, theta, 48, device=CPU, dtype=torch.float32)
    assert said.shape == (40, 7) and said.dtype == np.float64
    np.testing.assert_allclose(said.sum(1), 1, atol=1e-12)
    with torch.no_grad():
        one = net.logits(augment.crops(torch.tensor(data.images[35:36]), theta[35:36], 48))
    np.testing.assert_allclose(said[35], F.softmax(one[0].double(), 0), atol=1e-4)
    assert np.ptp(said, axis=0).max() > 1e-3
    rough = finetune.probabilities(net, data.images, theta, 48, device=CPU, dtype=torch.bfloat16)
    assert 0 < np.abs(rough - said).max() < 0.1


def test_a_run_leaves_weights_card_and_curve(tmp_path, data):
    out = run(data, tmp_path / "out")
    assert sorted(path.name for path in out.iterdir()) == [
        "checkpoint.pt", "curve.csv", "model.json", "model.safetensors",
    ]  # fmt: skip
    card = json.loads((out / "model.json").read_text())
    assert card["network"] == NAME and card["base"] == "compact-vgg"
    training = card["training"]
    assert training["images"] == 64 and training["left_out"] == {"also_in_a_test_split": 0, "ambiguous": 0}
    assert (
        training["curve"][0]["arithmetic"] == "float32"
        and training["device"] == "cpu"
        and training["labels"] == "fer2013"
    )
    assert training["recipe"]["epochs"] == 2 and "weights" not in training["recipe"]
    curve = pd.read_csv(out / "curve.csv")
    assert curve["epoch"].tolist() == [1, 2]
    assert list(curve) == ["epoch", "loss", "public_test", "seconds", "arithmetic"]
    # The weights are those whose accuracy on PublicTest the card states.
    whole, found = toy()
    of = whole.usage == "PublicTest"
    net = quantized.load(out / "model.safetensors", "compact-vgg", 4096)
    with torch.no_grad():
        theta = augment.thetas(to_crop(found, CROP)[of], 48)
        said = net.logits(augment.crops(torch.tensor(whole.images[of]), theta, 48)).argmax(1).numpy()
    assert card["public_test"] == pytest.approx((said == whole.labels[of]).mean())
    assert card["public_test"] == pytest.approx(curve["public_test"].iloc[-1])


def test_it_learns(tmp_path, data, monkeypatch):
    monkeypatch.setattr(train, "AVERAGE", 0.9)  # of few steps
    out = run(data, tmp_path / "out", epochs=30, smoothing=0.0)
    loss = pd.read_csv(out / "curve.csv")["loss"]
    assert loss.iloc[-5:].mean() < 0.7 * math.log(7)  # chance
    assert json.loads((out / "model.json").read_text())["public_test"] > 0.6


def test_test_images_do_not_train(tmp_path):
    """Other images and labels in PrivateTest: the same weights. Another training image: others."""
    whole, found = toy()
    made = []
    for usage in (None, "PrivateTest", "Training"):
        images, labels = whole.images.copy(), whole.labels.copy()
        if usage:
            images[whole.usage == usage] = images[whole.usage == usage][::-1]
            labels[whole.usage == usage] = 3
        data = prepared(tmp_path / "data.npz", Fer2013(images, labels, whole.usage, None, whole.ambiguous), found)
        made.append(load_file(run(data, tmp_path / f"{usage}", epochs=1) / "model.safetensors"))
    assert equal(made[0], made[1])
    assert not equal(made[0], made[2])


def equal(one, other):
    assert list(one) == list(other)
    return all(torch.equal(one[name], other[name]) for name in one)


class Killed(BaseException):
    """As an interrupt: nothing catches it."""


def killed_in(epoch, monkeypatch):
    """Let a run die at the end of an epoch, before its state is kept."""
    real, calls = finetune.probabilities, iter(range(1, 100))

    def dying(*args, **kwargs):
        if next(calls) == epoch:
            raise Killed
        return real(*args, **kwargs)

    monkeypatch.setattr(finetune, "probabilities", dying)


@pytest.mark.parametrize("epoch", [2, 3])
def test_a_killed_run_goes_on_to_the_same_weights(tmp_path, data, monkeypatch, caplog, epoch):
    whole = run(data, tmp_path / "whole", epochs=3)
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_in(epoch, patch)
        run(data, tmp_path / "killed", epochs=3)
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["checkpoint.pt"]
    torch.manual_seed(99)
    with caplog.at_level(logging.INFO):
        resumed = run(data, tmp_path / "killed", epochs=3)
    assert f"resuming after epoch {epoch - 1}" in caplog.text
    assert equal(load_file(whole / "model.safetensors"), load_file(resumed / "model.safetensors"))
    columns = ["epoch", "loss", "public_test"]
    pd.testing.assert_frame_equal(*(pd.read_csv(path / "curve.csv")[columns] for path in (whole, resumed)))


def test_killed_while_the_weights_are_written(tmp_path, data, monkeypatch):
    whole = run(data, tmp_path / "whole")

    def dying(*args, **kwargs):
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(quantized, "save", dying)
        run(data, tmp_path / "killed")
    resumed = run(data, tmp_path / "killed")
    assert equal(load_file(whole / "model.safetensors"), load_file(resumed / "model.safetensors"))


@pytest.mark.parametrize("changes", [{"seed": 1}, {"learning_rate": 1e-3}, {"epochs": 2}], ids=str)
def test_the_state_of_another_run_is_left_aside(tmp_path, data, monkeypatch, caplog, changes):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_in(2, patch)
        run(data, tmp_path / "killed", epochs=3)
    changed = {"epochs": 3} | changes
    alone = run(data, tmp_path / "alone", **changed)
    assert "training starts from the beginning" not in caplog.text
    anew = run(data, tmp_path / "killed", **changed)
    assert "checkpoint.pt is of another recipe or other data: training starts from the beginning" in caplog.text
    assert equal(load_file(alone / "model.safetensors"), load_file(anew / "model.safetensors"))


def test_other_data_of_the_same_size_is_another_run(tmp_path, data, caplog):
    out = run(data, tmp_path / "out", epochs=1)
    before = load_file(out / "model.safetensors")
    other = prepared(tmp_path / "other.npz", *toy(seed=1))
    assert not equal(before, load_file(run(other, out, epochs=1) / "model.safetensors"))
    assert "training starts from the beginning" in caplog.text


@pytest.mark.parametrize("damage", ["truncated", "empty", "no checkpoint", "flipped"])
def test_a_damaged_state_is_ignored(tmp_path, data, monkeypatch, caplog, damage):
    with monkeypatch.context() as patch, pytest.raises(Killed):
        killed_in(2, patch)
        run(data, tmp_path / "killed", epochs=3)
    path = tmp_path / "killed" / "checkpoint.pt"
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 16
    path.write_bytes(
        {"truncated": content[:-1000], "empty": b"", "no checkpoint": b"PK\3\4 not a state", "flipped": content}[damage]
    )
    alone, again = run(data, tmp_path / "alone", epochs=3), run(data, tmp_path / "killed", epochs=3)
    assert f"{path} is damaged" in caplog.text and "training starts from the beginning" in caplog.text
    assert equal(load_file(alone / "model.safetensors"), load_file(again / "model.safetensors"))


def test_a_finished_run_goes_on_with_another_cycle(tmp_path, data, caplog):
    whole = run(data, tmp_path / "whole", cycles=2)
    assert pd.read_csv(whole / "curve.csv")["epoch"].tolist() == [1, 2, 3, 4]
    first = load_file(run(data, tmp_path / "parts", cycles=1) / "model.safetensors")
    with caplog.at_level(logging.INFO):
        parts = run(data, tmp_path / "parts", cycles=2)
    assert "resuming after epoch 2" in caplog.text
    assert equal(load_file(whole / "model.safetensors"), load_file(parts / "model.safetensors"))
    # One that is asked for less than it has done begins anew: its card would not be true.
    less = run(data, tmp_path / "parts", cycles=1)
    assert equal(load_file(less / "model.safetensors"), first)
    assert pd.read_csv(less / "curve.csv")["epoch"].tolist() == [1, 2]


def test_rate_of_each_step():
    rates = [train._rate(step, 200) for step in range(400)]
    assert rates[:200] == rates[200:]
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)  # a twentieth rises
    np.testing.assert_allclose(rates[10:200], (1 + np.cos(np.pi * np.arange(190) / 190)) / 2)
    assert rates[199] < 1e-3


def test_the_seed_decides(tmp_path, data):
    one, again, other = (
        load_file(run(data, tmp_path / f"{i}", epochs=1, seed=seed) / "model.safetensors")
        for i, seed in enumerate([0, 0, 1])
    )
    assert equal(one, again) and not equal(one, other)


@pytest.mark.parametrize("precision", ["bfloat16", "auto"])
def test_other_arithmetic(tmp_path, data, precision):
    out = run(data, tmp_path / "out", epochs=1, precision=precision)
    card = json.loads((out / "model.json").read_text())
    assert card["training"]["curve"][0]["arithmetic"] in (
        {"bfloat16"} if precision == "bfloat16" else {"bfloat16", "float32"}
    )
    assert all(value.dtype == torch.float32 for value in load_file(out / "model.safetensors").values())


def test_fewer_images_than_a_step_needs(tmp_path, data):
    with pytest.raises(UserError, match="64 training images, fewer than a batch of 65"):
        run(data, tmp_path / "out", batch=65)


def test_no_image_to_evaluate(tmp_path):
    whole, found = toy()
    data = prepared(tmp_path / "t.npz", replace(whole, usage=np.full(len(whole.usage), "Training")), found)
    with pytest.raises(UserError, match="no image of PublicTest"):
        run(data, tmp_path / "out")
    assert not (tmp_path / "out" / "checkpoint.pt").exists()


def test_defaults_have_a_recipe_for_each_shipped_network():
    assert all(isinstance(recipe, RecipeSettings) for recipe in FinetuneSettings().recipes.values())
    assert all(finetune.tuned(name).base for name in FinetuneSettings().recipes)
