"""A whole study on a small store: every model, the SVMs, late fusion, sweeps; `fbp` is `train_fbp`'s."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
import torch
from small_store import SETTINGS, make_clips, write_store

from deepfusion.config import EndToEndSettings, StudySettings
from deepfusion.corpora.folds import Fold, folds
from deepfusion.evaluation.late_fusion import mean, product
from deepfusion.evaluation.metrics import class_names, read_predictions
from deepfusion.evaluation.summary import CLAIMS
from deepfusion.fusion import experiment, rows
from deepfusion.fusion.study import late_fusions, run_study
from deepfusion.fusion.train_fbp import train_fbp
from deepfusion.store import FeatureStore
from deepfusion.store.layout import seal_attributes

STUDY = StudySettings(sweeps={"lambda": (0, "learned"), "k": (1,)}, end_to_end=EndToEndSettings(epochs=1, frames=48))
CPU = torch.device("cpu")


FEW = [Fold("fold01", ("s0",)), Fold("fold02", ("s1",))]
QUICK = {"seeds": [0]}


def settings(**changes):
    # A search of one candidate: test_search.py and test_train_fbp.py have several.
    own = {"audio": None, "video": None, "learning_rates": [1e-3], "axes": [2], "members": 1}
    return SETTINGS.model_validate({**SETTINGS.model_dump(by_alias=True), **own, **changes})


def run(store, folder, *, chosen=None, **changes):
    with FeatureStore(store) as opened:
        chosen = chosen or folds(opened.clips["speaker"], protocol="loso")
    run_study(store, folder, chosen, settings=settings(**changes), study=STUDY, device=CPU)
    return folder


@pytest.fixture(scope="module")
def finished(store, tmp_path_factory):
    return run(store, tmp_path_factory.mktemp("study"))


def test_every_model_predicts_every_clip_once_per_seed(finished, store):
    predictions = read_predictions(finished / "predictions.csv")
    with FeatureStore(store) as opened:
        clips = set(opened.clips.index)
    for name, of in predictions.groupby("model"):
        assert len(of) == (1 if "end_to_end" in name else 2) * len(clips), name
        assert set(of["clip"]) == clips
        np.testing.assert_allclose(of[[f"p({label})" for label in class_names(of)]].sum(axis=1), 1, atol=1e-6)
    wanted = {"audio", "video", "EF-A", "EF-B", "EF", "landmarks", "audio_speech", "audio_encoder"}
    wanted |= {"concat", "concat_mlp", "sum", "product", "bilinear", "compact", "fbp", "adaptive"}
    wanted |= {
        "fbp_EF",
        "fbp_landmarks",
        "fbp_mfb_root",
        "fbp_no_bias",
        "fbp_paper",
        "fbp_end_to_end",
        "fbp_mean",
        "video_max",
    }
    wanted |= {"late_mean", "late_product", "late_learned", "fbp_ensemble", "svm_concat", "svm_audio", "svm_video"}
    assert wanted <= set(predictions["model"])


def test_the_row_fbp_is_that_of_train_fbp(finished, store, tmp_path):
    with FeatureStore(store) as opened:
        chosen = folds(opened.clips["speaker"], protocol="loso")
    train_fbp(store, tmp_path, chosen, everyone=Fold("everyone", ()), settings=settings(), device=CPU)
    tables = [read_predictions(folder / "predictions.csv") for folder in (finished, tmp_path)]
    a, b = (table[table["model"] == "fbp"].sort_values(["clip", "seed"]) for table in tables)
    columns = [f"p({label})" for label in class_names(a)]
    np.testing.assert_allclose(a[columns], b[columns], atol=1e-6)


def test_late_fusion_is_of_the_two_models_alone(finished):
    predictions = read_predictions(finished / "predictions.csv").sort_values(["clip", "seed"])
    columns = [f"p({label})" for label in class_names(predictions)]
    p = {name: of[columns].to_numpy() for name, of in predictions.groupby("model")}
    audio, face = (predictions.loc[predictions["model"].eq("audio"), has].to_numpy() for has in ("audio", "face"))
    whole = audio & face
    assert 0 < whole.sum() < len(whole)
    np.testing.assert_allclose(p["late_mean"][whole], mean(p["audio"], p["video"])[whole], atol=1e-12)
    np.testing.assert_allclose(p["late_product"][whole], product(p["audio"], p["video"])[whole], atol=1e-12)


@pytest.mark.parametrize("balance", ["weighted", "none"])
def test_the_product_counts_the_class_shares_once(balance):
    p = np.array([[[0.6, 0.4], [0.5, 0.5], [0.3, 0.7], [0.2, 0.8]]])
    everywhere = SimpleNamespace(label=torch.tensor([0, 0, 0, 1]), labels=["a", "b"], has=lambda m: np.full(4, True))
    choice = SimpleNamespace(held=[np.arange(3)], probabilities=[p[0, :3]])
    found = SimpleNamespace(
        corpus=everywhere,
        settings=SimpleNamespace(balance=balance),
        parts=[SimpleNamespace(train=[0, 1, 2, 3], test=[3])],
        choices={"audio": choice, "video": choice},
        probabilities={"audio": p, "video": p},
    )
    fused = late_fusions(found)["late_product"]
    shares = np.array([0.75, 0.25]) if balance == "none" else np.ones(2)
    wanted = p[0, 3] ** 2 / shares
    np.testing.assert_allclose(fused[0, 3], wanted / wanted.sum())
    assert np.isnan(fused[0, :3]).all()


def test_a_clip_without_a_modality_is_predicted_by_the_model_of_the_other(finished):
    predictions = read_predictions(finished / "predictions.csv").sort_values(["clip", "seed"])
    columns = [f"p({label})" for label in class_names(predictions)]
    for model, alone in (("fbp", ""), ("late_product", ""), ("late_learned", ""), ("svm_concat", "svm_")):
        for lacking, there, other in (("face", "audio", "audio"), ("audio", "face", "video")):
            of = predictions[~predictions[lacking] & predictions[there]]
            a, b = (of.loc[of["model"].eq(name), columns].to_numpy() for name in (model, alone + other))
            assert len(a)
            np.testing.assert_array_equal(a, b)


def test_the_svms_have_the_streams_of_the_configuration(store, tmp_path, monkeypatch):
    monkeypatch.setattr(experiment, "run", lambda *_, **__: None)  # no networks
    monkeypatch.setattr(experiment, "write", lambda found, *_, **__: found.probabilities["svm_audio"])
    speech, encoder = (
        run_study(store, tmp_path, FEW, settings=settings(audio=[name]), study=STUDY, device=CPU)
        for name in ("speech", "AF")
    )
    assert np.isfinite(speech).any()
    assert not np.allclose(speech, encoder, equal_nan=True)


def test_claims_are_tested_and_put_into_words(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    assert [(c["model"], c["than"]) for c in metrics["comparisons"]] == list(CLAIMS)
    *words, powerless = metrics["words"]
    assert len(words) == len(CLAIMS)
    assert "no difference can be supported: with 4 test speakers and 8 comparisons" in powerless


def test_sweeps_choose_nothing(finished):
    choices = json.loads((finished / "choices.json").read_text())
    assert [point["value"] for point in choices["sweeps"]["lambda"]] == [0, "learned"]
    assert all(len(point["loss"]) == len(choices["folds"]) for point in choices["sweeps"]["k"])


def test_afew_with_the_labels_of_its_test_clips_is_studied_whole(tmp_path):
    """A split is its only speaker; the other form is studied in tests/workflow/test_snakemake.py."""
    splits = {"s0": "test", "s1": "val"}
    clips = [
        replace(clip, split=split, speaker=f"afew_{split}")
        for clip in make_clips()
        for split in [splits.get(clip.speaker, "train")]
    ]
    chosen = [Fold("fold01", ("test",), ("val",), by="split")]
    folder = run(write_store(tmp_path, clips), tmp_path / "study", chosen=chosen, **QUICK)
    predictions = read_predictions(folder / "predictions.csv")
    assert {"fbp", "svm_concat", "late_learned"} <= set(predictions["model"])
    # `val` chooses for the networks, not for the SVMs.
    (note,) = json.loads((folder / "metrics.json").read_text())["notes"]
    assert note.startswith("SVMs: ") and "inner folds over clips" in note


@pytest.fixture
def few_models(monkeypatch):
    """The study has the networks of `train_fbp` alone."""
    monkeypatch.setattr(rows, "study", lambda streams, *_, **__: rows.base(streams))


def test_speakers_normalised_by_themselves_are_another_table(store, tmp_path, few_models):
    folder = run(store, tmp_path, chosen=FEW, normalisation="speaker", **QUICK)
    assert json.loads((folder / "metrics.json").read_text())["normalisation"] == "speaker"


def test_another_audio_encoder_s_store_is_studied_without_the_end_to_end_models(store, tmp_path, few_models):
    copy = shutil.copy(store, tmp_path / "features.h5")
    with h5py.File(copy, "r+") as file:
        file["audio/AF/positions"].attrs["sha256"] = "0" * 64
        seal_attributes(file)
    folder = run(Path(copy), tmp_path / "study", chosen=FEW, **QUICK)
    assert not any("end_to_end" in name for name in set(read_predictions(folder / "predictions.csv")["model"]))
    assert any("no end-to-end models" in note for note in json.loads((folder / "metrics.json").read_text())["notes"])
