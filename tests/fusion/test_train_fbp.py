"""The whole of `train_fbp` on a small store: files, figures, the model of all clips, and what may be looked at."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
import torch
from small_store import SETTINGS, make_clips, without, write_store

from deepfusion.corpora.folds import Fold, folds
from deepfusion.errors import UserError
from deepfusion.evaluation.metrics import class_names, read_predictions
from deepfusion.fusion.model import load_model
from deepfusion.fusion.train_fbp import train_fbp
from deepfusion.store import FeatureStore

EVERYONE = Fold("everyone", ())
CPU = torch.device("cpu")


def run(store, folder, *, chosen=None, everyone=EVERYONE, **changes):
    with FeatureStore(store) as opened:
        chosen = chosen or folds(opened.clips["speaker"], protocol="loso")
    settings = SETTINGS.model_validate({**SETTINGS.model_dump(by_alias=True), **changes})
    train_fbp(store, folder, chosen, everyone=everyone, settings=settings, device=CPU)
    return folder


@pytest.fixture(scope="module")
def finished(store, tmp_path_factory):
    return run(store, tmp_path_factory.mktemp("fbp"), audio=["speech", "speech-clip", "AF-clip"], video=None)


def test_each_model_predicts_each_clip_once_per_seed(finished, store):
    predictions = read_predictions(finished / "predictions.csv")
    with FeatureStore(store) as opened:
        clips = set(opened.clips.index)
    assert set(predictions["model"]) == {"audio", "video", "concat", "fbp"}
    for name, rows in predictions.groupby("model"):
        assert set(rows["clip"]) == clips, name
        assert not rows.duplicated(["clip", "seed"]).any()
        assert set(rows["seed"]) == {0, 1}
        np.testing.assert_allclose(rows[[f"p({label})" for label in class_names(rows)]].sum(axis=1), 1, atol=1e-6)


def test_a_clip_that_lacks_a_modality_is_predicted_from_the_other(finished, clips):
    predictions = read_predictions(finished / "predictions.csv").set_index(["model", "clip", "seed"])
    columns = [column for column in predictions if column.startswith("p(")]
    for position, other in ((1, "video"), (8, "audio")):
        clip = clips[position].id
        for seed in (0, 1):
            fused, alone = (predictions.loc[model, clip, seed][columns] for model in ("fbp", other))
            assert (fused == alone).all()


def test_metrics_hold_calibration_recall_and_claims(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    fbp = metrics["models"]["fbp"]
    predictions = read_predictions(finished / "predictions.csv")
    rows = predictions[predictions["model"] == "fbp"]
    right = np.where(rows["p(even)"] >= rows["p(odd)"], "even", "odd") == rows["label"]
    assert fbp["accuracy_mean"] == pytest.approx(right.groupby(rows["speaker"]).mean().mean())
    for label in ("even", "odd"):
        assert fbp["recall"][label] == pytest.approx(right[rows["label"] == label].mean())
    assert 0 <= fbp["ece"] <= 1
    assert [(c["model"], c["than"]) for c in metrics["comparisons"]] == [
        ("fbp", "audio"),
        ("fbp", "video"),
        ("fbp", "concat"),
    ]
    assert 0 < metrics["attention"]["video"]["effective_share"] <= 1


def test_the_members_of_each_fold_have_the_least_inner_losses(finished):
    choices = json.loads((finished / "choices.json").read_text())
    for name, chosen in choices["chosen"].items():
        curve = choices["curves"][name]
        assert len(curve) == 4  # two learning rates, two numbers of axes
        for fold, members in enumerate(chosen):
            best = sorted(curve, key=lambda entry: entry["loss"][fold])[: len(members)]
            for member, entry in zip(members, best, strict=True):
                assert {key: member[key] for key in ("learning_rate", "axes")} == {
                    key: entry[key] for key in ("learning_rate", "axes")
                }


def test_attention_is_kept_with_its_times(finished, store):
    with h5py.File(finished / "attention.h5") as file, FeatureStore(store) as opened:
        assert file["clip"].asstr()[:].tolist() == opened.clips.index.tolist()
        for i, id_ in enumerate(opened.clips.index):
            first, last = file["video/offsets"][i : i + 2]
            clip = opened[id_]
            np.testing.assert_allclose(file["video/time"][first:last], clip["time"][clip["valid"]])
            if last > first:
                assert file["video/weight"][first:last].sum() == pytest.approx(1, abs=1e-4)
            first, last = file["audio/offsets"][i : i + 2]
            assert (last > first) == (len(clip["spectrogram"]) > 0)


def test_folds_of_large_corpora_come_one_after_another_with_the_same_result(store, tmp_path, monkeypatch):
    whole = run(store, tmp_path / "together")
    monkeypatch.setattr("deepfusion.fusion.experiment.HELD", 1)
    parted = run(store, tmp_path / "parted")
    old, new = (read_predictions(folder / "predictions.csv") for folder in (whole, parted))
    columns = [f"p({label})" for label in class_names(old)]
    np.testing.assert_allclose(old[columns], new[columns], atol=1e-5)
    old, new = (json.loads((folder / "choices.json").read_text()) for folder in (whole, parted))
    assert old["folds"] == new["folds"]
    for name, curve in old["curves"].items():
        for a, b in zip(curve, new["curves"][name], strict=True):
            np.testing.assert_allclose(a["loss"], b["loss"], atol=1e-5)


def test_test_speakers_change_nothing_but_their_own_predictions(tmp_path):
    """Their labels and faces are replaced: the choices and models of their fold stay."""
    clips, rng = make_clips(), np.random.default_rng(5)
    spoilt = [
        replace(clip, faces=rng.normal(size=clip.faces.shape).astype(np.float32), label="odd")
        if clip.speaker == "s0"
        else clip
        for clip in clips
    ]
    found = []
    for name, some in (("before", clips), ("after", spoilt)):
        (tmp_path / name).mkdir()
        folder = run(write_store(tmp_path / name, some), tmp_path / name / "fbp", chosen=[Fold("fold01", ("s0",))])
        predictions = read_predictions(folder / "predictions.csv")
        audio = predictions[predictions["model"] == "audio"]
        found.append((json.loads((folder / "choices.json").read_text()), audio))
    (before, old), (after, new) = found
    for name, chosen in after["chosen"].items():
        assert chosen[0] == before["chosen"][name][0]  # the second is that of the model of all clips
    columns = [f"p({label})" for label in class_names(old)]
    np.testing.assert_allclose(old[columns], new[columns], atol=1e-5)  # their audio was not replaced


def of_afew(splits):
    """Clips whose split, by speaker or train, is all that is known of their speaker."""
    return [
        replace(clip, split=split, speaker=f"afew_{split}")
        for clip in make_clips()
        for split in [splits.get(clip.speaker, "train")]
    ]


# As AFEW with the labels of its test clips.
SPLIT = Fold("fold01", ("test",), ("val",), by="split")
ALL_OF_AFEW = Fold("everyone", (), ("val",), by="split")


@pytest.mark.parametrize(
    ("lacking", "left", "clips", "chosen"),
    [("face", "audio", of_afew({"s0": "test", "s1": "val"}), [SPLIT]), ("audio", "video", make_clips(), None)],
)
def test_one_modality_alone_trains_and_says_so(tmp_path, lacking, left, clips, chosen, caplog):
    clips = [without(clip, lacking) for clip in clips]
    store = write_store(tmp_path, clips)
    folder = run(store, tmp_path / "fbp", chosen=chosen, everyone=ALL_OF_AFEW if chosen else EVERYONE)
    predictions = read_predictions(folder / "predictions.csv")
    assert set(predictions["model"]) == {left}
    assert set(predictions["clip"]) == {clip.id for clip in clips if not chosen or clip.split == "test"}
    assert "no model" in caplog.text
    assert "fbp" in json.loads((folder / "metrics.json").read_text())["notes"][0]
    with FeatureStore(store) as opened:
        answer = load_model(folder).predict(opened[clips[0].id])
    assert answer.used == (left,)


def test_no_modality_at_all_is_refused(tmp_path):
    store = write_store(tmp_path, [without(clip, "audio, face") for clip in make_clips()])
    with pytest.raises(UserError, match="no clip has audio or a face"):
        run(store, tmp_path / "fbp")


@pytest.mark.parametrize("with_test", [True, False])
def test_afew_s_two_forms_train(tmp_path, with_test):
    """Its split is all that is known: inner folds are over clips where no validation split chooses, and it is said."""
    clips = of_afew({"s0": "test" if with_test else "val", "s1": "val"})
    fold = SPLIT if with_test else Fold("fold01", ("val",), by="split")
    folder = run(write_store(tmp_path, clips), tmp_path / "fbp", chosen=[fold], everyone=ALL_OF_AFEW)
    tested = read_predictions(folder / "predictions.csv")
    assert set(tested["speaker"]) == {"afew_test" if with_test else "afew_val"}
    notes = json.loads((folder / "metrics.json").read_text())["notes"]
    assert any("inner folds over clips" in note for note in notes) != with_test
    assert load_model(folder).labels == ["even", "odd"]
