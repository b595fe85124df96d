"""Training: repeatable, resumable, and blind to the speakers that are tested."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file
from small_store import SETTINGS, dataset_of, make_clips, write_store

from deepfusion.config import AugmentSettings
from deepfusion.errors import UserError
from deepfusion.fusion.evaluate import evaluate
from deepfusion.fusion.fold import train_fold
from deepfusion.fusion.models import MODELS, Sizes
from deepfusion.fusion.train import batches, exhausted, fit, new_model, predict, split_speakers, train, vary

CPU = torch.device("cpu")


def run(path, folder, **changes):
    options = {"name": "fbp", "test": ["s3"], "fold": "fold04", "seed": 0, "settings": SETTINGS, "device": CPU}
    train_fold(path, folder, **(options | changes))
    return load_file(folder / "model.safetensors")


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", MODELS)
def test_the_same_seed_gives_the_same_model_and_predictions(name, store, tmp_path):
    first, again = run(store, tmp_path / "a", name=name), run(store, tmp_path / "b", name=name)
    assert same(first, again)
    assert (tmp_path / "a/predictions.csv").read_text() == (tmp_path / "b/predictions.csv").read_text()


def test_without_a_choice_all_features_are_joined(store, tmp_path):
    chosen = [SETTINGS.model_copy(update={"features": features}) for features in (None, ("EF-A", "EF-B"), ("EF-A",))]
    every, both, one = (run(store, tmp_path / f"{i}", settings=settings) for i, settings in enumerate(chosen))
    assert same(every, both)
    assert json.loads((tmp_path / "0/model.json").read_text())["features"] == ["EF-A", "EF-B"]
    assert any(every[name].shape != one[name].shape for name in every)


def test_another_seed_gives_another_model(store, tmp_path):
    assert not same(run(store, tmp_path / "a"), run(store, tmp_path / "b", seed=1))


def test_nothing_of_the_tested_speaker_reaches_the_model(tmp_path):
    """The strongest guard: with other features and labels for the tested speaker the model is the same to the bit."""
    clips = make_clips()
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    plain = run(write_store(tmp_path / "x", clips), tmp_path / "a")
    changed = [
        replace(clip, faces=clip.faces * 50 + 7, sound=clip.sound * 0.1, label="even") if clip.speaker == "s3" else clip
        for clip in clips
    ]
    assert same(plain, run(write_store(tmp_path / "y", changed), tmp_path / "b"))


def test_a_change_of_a_training_speaker_does_reach_the_model(tmp_path):
    clips = make_clips()
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    plain = run(write_store(tmp_path / "x", clips), tmp_path / "a")
    clips[0] = replace(clips[0], faces=clips[0].faces * 50 + 7)
    assert not same(plain, run(write_store(tmp_path / "y", clips), tmp_path / "b"))


def test_normalisation_is_that_of_the_training_clips(dataset):
    train_positions = dataset.positions(["s0", "s1"])
    model = new_model("fbp", dataset, train_positions, SETTINGS, 0)
    faces = np.concatenate([dataset[i].faces.numpy() for i in train_positions])
    sound = np.concatenate([dataset[i].spectrogram.numpy() for i in train_positions])
    assert model.video.standardise.mean.numpy() == pytest.approx(faces.mean(0), abs=1e-4)
    assert model.video.standardise.deviation.numpy() == pytest.approx(faces.std(0), abs=1e-4)
    assert model.audio.standardise.mean.numpy() == pytest.approx(sound.mean(0), abs=1e-2)


def test_a_broken_training_resumes_to_the_same_weights(dataset, tmp_path):
    positions, watched = dataset.positions(["s0", "s1"]), dataset.positions(["s2"])

    def go(epochs, checkpoint, key="k"):
        model = new_model("fbp", dataset, positions, SETTINGS, 5)
        history = fit(
            model,
            dataset,
            positions,
            choosing=watched,
            epochs=epochs,
            settings=SETTINGS.model_copy(update={"patience": 9}),
            seed=1,
            device=CPU,
            checkpoint=checkpoint,
            key=key,
        )
        return model.state_dict(), history

    unbroken, history = go(4, tmp_path / "one.safetensors")
    go(2, tmp_path / "two.safetensors")
    resumed, history_resumed = go(4, tmp_path / "two.safetensors")
    assert same(unbroken, resumed)
    assert history == history_resumed
    assert [epoch["epoch"] for epoch in history] == [1, 2, 3, 4]
    # A checkpoint of something else is not continued.
    _, other = go(1, tmp_path / "two.safetensors", key="other")
    assert len(other) == 1


def fit_one(dataset, folder, **settings):
    """An epoch whose steps are too small to change anything: (train loss, validation loss)."""
    positions, watched = dataset.positions(["s0", "s1"]), dataset.positions(["s2"])
    watched = [i for i in watched if len(dataset[i].spectrogram)]
    chosen = SETTINGS.model_copy(update={"learning_rate": 1e-12, "dropout": 0.0, **settings})
    model = new_model("audio", dataset, positions, chosen, 5)
    checkpoint = folder / f"{len(list(folder.iterdir()))}.safetensors"
    (entry,) = fit(
        model,
        dataset,
        positions,
        choosing=watched,
        epochs=1,
        settings=chosen,
        seed=1,
        device=CPU,
        checkpoint=checkpoint,
        key="k",
    )
    return entry["train_loss"], entry["validation_loss"]


AS_IT_IS = AugmentSettings()


def test_sound_is_varied_where_it_is_learned_from_and_nowhere_else(dataset, tmp_path):
    plain, varied = fit_one(dataset, tmp_path, augment=AS_IT_IS), fit_one(dataset, tmp_path)
    assert plain[0] != pytest.approx(varied[0], abs=1e-3)
    assert plain[1] == pytest.approx(varied[1], abs=1e-6)


def test_each_epoch_varies_it_anew(dataset):
    clips, generator = [dataset[0], dataset[2]], torch.Generator().manual_seed(0)
    model = new_model("fbp", dataset, [0, 2], SETTINGS, 0)
    first, second = (vary(model, clips, SETTINGS.augment, generator) for _ in range(2))
    for clip, one, other in zip(clips, first, second, strict=True):
        assert one.id == other.id == clip.id and torch.equal(one.faces, clip.faces)
        assert one.spectrogram.shape != other.spectrogram.shape or not torch.equal(one.spectrogram, other.spectrogram)


def test_a_model_that_does_not_hear_is_not_changed_by_it(store, tmp_path):
    plain = SETTINGS.model_copy(update={"augment": AS_IT_IS})
    assert same(run(store, tmp_path / "a", name="video"), run(store, tmp_path / "b", name="video", settings=plain))
    assert not same(run(store, tmp_path / "c"), run(store, tmp_path / "d", settings=plain))


def test_the_epoch_is_chosen_by_training_speakers_and_the_model_learns_from_all_of_them(dataset, tmp_path):
    positions = dataset.positions(["s0", "s1", "s2"])
    trained = train("video", dataset, positions, settings=SETTINGS, seed=0, device=CPU, folder=tmp_path)
    assert sorted(trained.learning + trained.choosing) == positions
    assert dataset.table["speaker"].iloc[trained.choosing].nunique() == 1
    assert len(trained.choosing) == 6
    best = min(trained.search, key=lambda epoch: epoch["validation_loss"])
    assert trained.epochs == best["epoch"] == len(trained.refit)
    assert list(tmp_path.iterdir()) == []  # the checkpoints have done their work


def test_of_a_single_speaker_some_clips_choose_the_epoch(dataset, tmp_path):
    positions = dataset.positions(["s1"])
    trained = train("video", dataset, positions, settings=SETTINGS, seed=0, device=CPU, folder=tmp_path)
    assert sorted(trained.learning + trained.choosing) == positions
    assert len(trained.choosing) == 1
    assert all(epoch["validation_loss"] is not None for epoch in trained.search)


def split_store(folder, speaker_of_split, change=None):
    """Clips of s0 and s1 in train, of s2 in val, of s3 in test; `change` is made to those of val."""
    folder.mkdir()
    made = []
    for clip in make_clips():
        split = {"s2": "val", "s3": "test"}.get(clip.speaker, "train")
        clip = replace(clip, split=split, speaker=speaker_of_split.get(split, clip.speaker))
        made.append(replace(clip, **change) if change and split == "val" else clip)
    return write_store(folder, made)


SPLIT = {"by": "split", "test": ["test"], "choose": ["val"]}


def test_the_corpus_own_split_is_kept_to(tmp_path):
    run(split_store(tmp_path / "store", {}), tmp_path, **SPLIT)
    card = json.loads((tmp_path / "model.json").read_text())
    assert (card["train_speakers"], card["epoch_chosen_by"], card["test_speakers"]) == (["s0", "s1"], ["s2"], ["s3"])
    assert card["epochs"] == min(card["search"], key=lambda epoch: epoch["validation_loss"])["epoch"]
    predictions = pd.read_csv(tmp_path / "predictions.csv")
    assert predictions["clip"].tolist() == [f"s3-{i}" for i in range(6)]


def test_what_is_tested_has_learned_nothing_from_those_that_choose(tmp_path):
    one = SPLIT | {"settings": SETTINGS.model_copy(update={"epochs": 1})}
    plain = run(split_store(tmp_path / "x", {}), tmp_path / "a", **one)
    other = {"label": "even", "faces": np.full((3, 7), 9, np.float32), "valid": np.ones(3, bool)}
    assert same(plain, run(split_store(tmp_path / "y", {}, other), tmp_path / "b", **one))


def test_without_test_clips_val_is_tested_and_train_chooses(tmp_path):
    """As AFEW is: a split is a single speaker."""
    store = split_store(tmp_path / "store", {"train": "afew_train", "val": "afew_val", "test": "afew_train"})
    run(store, tmp_path, by="split", test=["val"])
    card = json.loads((tmp_path / "model.json").read_text())
    assert card["train_speakers"] == card["epoch_chosen_by"] == ["afew_train"] and card["search"]
    predictions = pd.read_csv(tmp_path / "predictions.csv")
    assert predictions["clip"].tolist() == [f"s2-{i}" for i in range(6)]
    assert evaluate(predictions.astype({"clip": str}))["uar_mean"] == evaluate(predictions)["overall"]["uar"]


def test_a_model_of_everybody_learns_from_those_that_choose(tmp_path):
    run(split_store(tmp_path / "store", {}), tmp_path, **SPLIT | {"test": [], "fold": "everyone"})
    card = json.loads((tmp_path / "model.json").read_text())
    assert card["train_speakers"] == ["s0", "s1", "s2", "s3"]
    assert card["epoch_chosen_by"] == ["s2"]


@pytest.mark.parametrize(
    ("speakers", "changes", "message"),
    [
        ({"val": "s0", "test": "s1"}, {}, r"leakage: speakers both trained and tested on: s1 \(s1-0 and s3-0\)"),
        ({"val": "s3"}, {}, r"leakage: speakers both trained and tested on: s3 \(s2-0 and s3-0\)"),
        ({}, {"choose": ["test"]}, "leakage: clips both trained and tested on: s3-0"),
        ({}, {"test": ["dev"]}, "has no split dev; it has test, train, val"),
        ({}, {"test": ["test", "train"]}, "nobody is left to train on"),
    ],
)
def test_splits_that_leak_or_are_none(tmp_path, speakers, changes, message):
    with pytest.raises(UserError, match=message) as error:
        run(split_store(tmp_path / "store", speakers), tmp_path, **SPLIT | changes)
    assert "\n" not in str(error.value)


def test_patience_ends_the_search():
    falling = [{"validation_loss": 1 / (i + 1)} for i in range(9)]
    assert not exhausted(falling, 3)
    assert exhausted([*falling, *[{"validation_loss": 1.0}] * 3], 3)
    assert not exhausted([*falling, *[{"validation_loss": 1.0}] * 2], 3)
    assert not exhausted([{"validation_loss": None}] * 9, 3)


def test_speakers_are_parted_without_overlap():
    learning, choosing = split_speakers([f"s{i}" for i in range(10)], share=0.2, seed=4)
    assert len(choosing) == 2
    assert not set(learning) & set(choosing)
    assert split_speakers(["one"], share=0.2, seed=0) == (["one"], [])


def test_batches_hold_every_clip_once_and_change_with_the_seed(dataset):
    positions = list(range(len(dataset)))
    drawn = batches(dataset, positions, size=5, seed=1)
    assert sorted(i for batch in drawn for i in batch) == positions
    assert max(map(len, drawn)) == 5
    assert drawn != batches(dataset, positions, size=5, seed=2)


def test_probabilities_stand_in_the_order_that_was_asked_for(dataset):
    torch.manual_seed(0)
    model = MODELS["fbp"](Sizes(200, 7, 2), SETTINGS)
    positions = [5, 0, 17, 3, 22, 8]
    together = predict(model, dataset, positions, CPU)
    assert torch.allclose(together.sum(1), torch.ones(6, dtype=torch.float64))
    for row, position in zip(together, positions, strict=True):
        assert torch.allclose(row, predict(model, dataset, [position], CPU)[0], atol=1e-5)


def test_predictions_hold_every_clip_of_the_tested_speaker(store, tmp_path):
    run(store, tmp_path)
    table = pd.read_csv(tmp_path / "predictions.csv")
    assert list(table) == ["clip", "speaker", "fold", "seed", "model", "label", "sound", "face", "p(even)", "p(odd)"]
    assert table["clip"].tolist() == [f"s3-{i}" for i in range(6)]
    assert np.allclose(table[["p(even)", "p(odd)"]].sum(axis=1), 1)
    card = json.loads((tmp_path / "model.json").read_text())
    assert card["test_speakers"] == ["s3"]
    assert "s3" not in card["train_speakers"] + card["epoch_chosen_by"]


def test_a_copy_of_a_clip_under_another_speaker_is_refused(tmp_path):
    clips = make_clips()
    clips[-1] = replace(clips[-1], sha256=clips[0].sha256)
    with pytest.raises(UserError, match="s0-0 = s3-5"):
        run(write_store(tmp_path, clips), tmp_path / "fold")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "fpb"}, "no model 'fpb'"),
        ({"test": ["s9"]}, "has no speaker s9"),
        ({"test": ["s0", "s1", "s2", "s3"]}, "nobody is left"),
        ({"settings": SETTINGS.model_copy(update={"features": ("EF-VGG",)})}, "no face feature 'EF-VGG'"),
    ],
)
def test_usage_errors_are_one_line(store, tmp_path, changes, message):
    with pytest.raises(UserError, match=message) as error:
        run(store, tmp_path / "fold", **changes)
    assert "\n" not in str(error.value)


def test_figures_against_a_hand_count():
    rows = [
        ("a", "s0", "x", 0.9, True),
        ("b", "s0", "y", 0.6, True),
        ("c", "s1", "y", 0.2, False),
        ("d", "s1", "y", 0.1, True),
    ]
    table = pd.DataFrame(rows, columns=["clip", "speaker", "label", "p(x)", "face"])
    table["p(y)"] = 1 - table["p(x)"]
    figures = evaluate(table)
    assert figures["overall"]["accuracy"] == 0.75
    assert figures["overall"]["uar"] == pytest.approx((1 + 2 / 3) / 2)
    assert figures["overall"]["macro_f1"] == pytest.approx((2 / 3 + 0.8) / 2)
    assert figures["confusion"] == [[1, 0], [1, 2]]
    assert figures["accuracy_mean"] == 0.75
    assert figures["accuracy_std"] == pytest.approx(np.std([0.5, 1.0], ddof=1))
    assert figures["with_face"]["overall"]["clips"] == 3
    assert figures["per_speaker"]["s1"] == {"clips": 2, "accuracy": 1.0, "uar": 1.0, "macro_f1": 1.0}


def test_everyone_is_learned_from_when_nobody_is_tested(store, tmp_path):
    run(store, tmp_path, test=[], fold="everyone")
    assert not (tmp_path / "predictions.csv").exists()
    assert json.loads((tmp_path / "model.json").read_text())["train_speakers"] == ["s0", "s1", "s2", "s3"]


def test_dataset_key_follows_the_content(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    clips = make_clips(clips=2)
    before = dataset_of(write_store(tmp_path / "x", clips)).key
    clips[0] = replace(clips[0], faces=clips[0].faces + 1)
    assert dataset_of(write_store(tmp_path / "y", clips)).key != before
