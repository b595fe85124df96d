"""A whole study on a small store: what it writes, what it may look at, and what its choices rest on."""

import json

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from small_store import make_clips, without, write_store

from deepfusion.config import HeadSettings, StudySettings
from deepfusion.corpora.folds import Fold, folds
from deepfusion.errors import UserError
from deepfusion.fusion import study
from deepfusion.fusion.evaluate import class_names, read_predictions
from deepfusion.fusion.speech import descriptors, windows
from deepfusion.report.study import CLAIMS, write_study
from deepfusion.store import FeatureStore

SETTINGS = StudySettings(
    axes=3,
    head=HeadSettings(reduced=3, k=2, o=3, dropout=0, batch=6, steps=4, tokens=3),
    windows=(0.2, 0.4),
    learning_rates=(1e-3, 1e-2),
    inner_folds=2,
    sweeps={"lambda": (0, "learned"), "k": (1,)},
)


def run(store, folder, *, by="training", chosen=None, seeds=(0, 1)):
    with FeatureStore(store) as opened:
        chosen = chosen or folds(opened.clips["speaker"], protocol="loso")
    study.run_study(store, folder, chosen, by=by, seeds=seeds, settings=SETTINGS, device=torch.device("cpu"))
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    return write_store(folder, make_clips())


@pytest.fixture(scope="module")
def finished(store, tmp_path_factory):
    return run(store, tmp_path_factory.mktemp("study"))


def test_every_model_judges_every_clip_once_a_seed(finished, store):
    predictions = read_predictions(finished / "predictions.csv")
    with FeatureStore(store) as opened:
        clips = set(opened.clips.index)
    for name, rows in predictions.groupby("model"):
        assert len(rows) == 2 * len(clips), name
        assert set(rows["clip"]) == clips
        assert not rows.duplicated(["clip", "seed"]).any()
        np.testing.assert_allclose(rows[[f"p({label})" for label in class_names(rows)]].sum(axis=1), 1, atol=1e-6)
    wanted = {"audio", "video", "EF-A", "EF-B", "concat", "sum", "product", "bilinear", "compact", "fbp", "adaptive"}
    wanted |= {"EF", "landmarks", "fbp_EF", "fbp_landmarks"}
    wanted |= {"late_mean", "late_product", "late_learned", "fbp_ensemble", "video_mean", "video_max", "svm_concat"}
    assert wanted <= set(predictions["model"])


def test_choices_are_kept_with_the_curves_they_rest_on(finished):
    choices = json.loads((finished / "choices.json").read_text())
    deaf = {"EF-A", "EF-B", "EF", "landmarks", "video", "video_mean", "video_max"}  # they choose no window of sound
    for name, chosen in choices["chosen"].items():
        curve = choices["curves"][name]
        assert len(chosen) == len(choices["folds"]) == 4
        assert len(curve) == (2 if name in deaf else 4)
        for fold, candidate in enumerate(chosen):
            best = min(curve, key=lambda entry: entry["loss"][fold])
            assert candidate == {key: best[key] for key in ("window", "learning_rate")}
    assert [point["value"] for point in choices["sweeps"]["lambda"]] == [0, "learned"]


def test_test_speakers_change_nothing_but_their_own_predictions(finished, store, tmp_path):
    """Their labels and features are replaced: choices and models of their fold stay, to the bit."""
    clips = make_clips()
    rng = np.random.default_rng(5)
    spoilt = [
        type(clip)(**{**vars(clip), "faces": rng.normal(size=clip.faces.shape).astype(np.float32), "label": "odd"})
        if clip.speaker == "s0"
        else clip
        for clip in clips
    ]
    other = run(write_store(tmp_path, spoilt), tmp_path / "study", chosen=[Fold("fold01", ("s0",))])
    before, after = (json.loads((folder / "choices.json").read_text()) for folder in (finished, other))
    for name, chosen in after["chosen"].items():
        assert chosen[0] == before["chosen"][name][0]
        for old, new in zip(before["curves"][name], after["curves"][name], strict=True):
            assert new["loss"][0] == pytest.approx(old["loss"][0], abs=1e-4)
    old, new = (read_predictions(folder / "predictions.csv") for folder in (finished, other))
    heard = [rows[(rows["model"] == "audio") & (rows["speaker"] == "s0")] for rows in (old, new)]
    columns = [f"p({label})" for label in class_names(old)]
    # Their sound was not replaced, so what is heard in it must stay.
    np.testing.assert_allclose(heard[0][columns].to_numpy(), heard[1][columns].to_numpy(), atol=1e-4)


def test_attention_is_kept_with_its_times(finished, store):
    with h5py.File(finished / "attention.h5") as file, FeatureStore(store) as opened:
        assert file["clip"].asstr()[:].tolist() == opened.clips.index.tolist()
        for i, id_ in enumerate(opened.clips.index):
            first, last = file["faces/offsets"][i : i + 2]
            clip = opened[id_]
            np.testing.assert_allclose(file["faces/time"][first:last], clip["time"][clip["valid"]])
            assert file["faces/weight"][first:last].sum() == pytest.approx(1, abs=1e-4)
            first, last = file["sound/offsets"][i : i + 2]
            assert file["sound/weight"][first:last].sum() == pytest.approx(1, abs=1e-4)
            heard = descriptors(clip["spectrogram"], spacing=20.0)
            middles = [windows(heard, length=length)[1] for length in (20, 40)]  # a fold chose either
            times = [clip["audio_time"][0] + 0.01 * middle for middle in middles]
            found = file["sound/time"][first:last]
            assert any(len(found) == len(time) and np.allclose(found, time) for time in times)


def test_fixed_splits_choose_on_their_own_clips(tmp_path):
    clips = [
        type(clip)(**{**vars(clip), "split": {"s0": "test", "s1": "val"}.get(clip.speaker, "train")})
        for clip in make_clips()
    ]
    fold = Fold("fold01", ("test",), ("val",), by="split")
    folder = run(write_store(tmp_path, clips), tmp_path / "study", chosen=[fold], seeds=(0,))
    assert set(read_predictions(folder / "predictions.csv")["speaker"]) == {"s0"}


def test_speakers_normalised_by_themselves_are_another_table(store, tmp_path):
    folder = run(store, tmp_path / "study", by="speaker", seeds=(0,))
    assert json.loads((folder / "choices.json").read_text())["normalisation"] == "speaker"


def test_the_claims_are_tested_and_said_in_words(finished, tmp_path):
    text = write_study([finished], tmp_path / "study.json")
    result = json.loads((tmp_path / "study.json").read_text())
    comparisons = result["training"]["comparisons"]
    assert [(c["model"], c["than"]) for c in comparisons] == list(CLAIMS)
    assert all(words in text for words in result["training"]["words"])
    predictions = pd.read_csv(finished / "predictions.csv")
    fbp = predictions[predictions["model"] == "fbp"]
    said = fbp[["p(even)", "p(odd)"]].to_numpy().argmax(1)
    right = pd.Series(np.array(["even", "odd"])[said] == fbp["label"].to_numpy(), index=fbp["speaker"])
    assert result["training"]["models"]["fbp"]["accuracy_mean"] == pytest.approx(right.groupby(level=0).mean().mean())


def test_clips_without_anything_are_judged_but_not_learned_from(tmp_path):
    clips = make_clips()
    clips[0], clips[7], clips[13] = (
        without(clips[0], "sound, face"),
        without(clips[7], "sound"),
        without(clips[13], "face"),
    )
    store = write_store(tmp_path, clips)
    corpus = study.read_corpus(store, SETTINGS)
    made = study.part(corpus, Fold("fold01", ("s3",)), inner_folds=2)
    assert made.train == list(range(1, 18))
    predictions = read_predictions(run(store, tmp_path / "study", seeds=(0,)) / "predictions.csv")
    assert predictions[[f"p({label})" for label in class_names(predictions)]].notna().all(axis=None)
    assert (predictions.groupby("model")["clip"].nunique() == len(clips)).all()


@pytest.mark.parametrize(
    ("fold", "message"),
    [
        (Fold("fold01", ("nobody",)), "no speaker nobody"),
        (Fold("fold01", ("s0", "s1", "s2")), "two training speakers or more"),
    ],
)
def test_folds_that_cannot_be_studied_are_refused(store, tmp_path, fold, message):
    with pytest.raises(UserError, match=message):
        run(store, tmp_path, chosen=[fold])
