"""Stores without audio, without faces, without labels: what is trained, what is left out, and the reason."""

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_store import SETTINGS, make_clips, without, write_store
from test_study import run as study

from deepfusion.config import FusionSettings
from deepfusion.corpora.folds import Fold
from deepfusion.errors import UserError
from deepfusion.fusion.absent import absence, missing_modalities
from deepfusion.fusion.evaluate import class_names, read_predictions
from deepfusion.fusion.fold import train_fold
from deepfusion.fusion.models import MODELS
from deepfusion.report.page import write_page
from deepfusion.report.study import CLAIMS, write_study

SEEING = {"EF-A", "EF-B", "EF", "landmarks", "video", "video_mean", "video_max", "svm_video"}


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    """Stores in which no clip has the modality, by its name."""
    made = {}
    for what in ("sound", "face"):
        folder = tmp_path_factory.mktemp(what)
        made[what] = write_store(folder, [without(clip, what) for clip in make_clips()])
    return made


def train(store, folder, name, settings: FusionSettings = SETTINGS):
    options = {"name": name, "test": ["s3"], "fold": "fold04", "seed": 0, "settings": settings}
    train_fold(store, folder, device=torch.device("cpu"), **options)


@pytest.mark.parametrize(
    ("what", "word", "rows"), [("sound", "audio", SEEING), ("face", "a face", {"audio", "svm_audio"})]
)
@pytest.mark.filterwarnings("error")
def test_the_study_leaves_out_what_needs_it_and_says_so(stores, tmp_path, what, word, rows):
    folder = study(stores[what], tmp_path / "study", seeds=(0,))
    predictions = read_predictions(folder / "predictions.csv")
    assert set(predictions["model"]) == rows
    assert np.isfinite(predictions[[f"p({label})" for label in class_names(predictions)]].to_numpy()).all()
    choices = json.loads((folder / "choices.json").read_text())
    assert set(choices["absent"].values()) == {f"no clip has {word}"} and "fbp" in choices["absent"]
    assert not rows & choices["absent"].keys() and choices["sweeps"] == {}
    text = write_study([folder], tmp_path / "corpus" / "study.json")
    (sentence,) = absence(choices["absent"])
    assert sentence in text and sentence.startswith("no rows ") and sentence.endswith(f": no clip has {word}")
    assert not any(set(pair) <= rows for pair in CLAIMS)
    write_page(tmp_path / "corpus" / "study.json", stores[what], tmp_path / "corpus" / "report.html")
    page = (tmp_path / "corpus" / "report.html").read_text()
    assert sentence in page and "no claim could be tested" in page


@pytest.mark.parametrize(("what", "possible"), [("sound", "video"), ("face", "audio")])
@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_needs_it_is_refused_in_one_sentence(stores, tmp_path, what, possible, name):
    if name == possible:
        train(stores[what], tmp_path, name)
        assert read_predictions(tmp_path / "predictions.csv")["clip"].nunique() == 6
        return
    with pytest.raises(UserError, match=rf"the model '{name}' needs .*set protocol\.models: \[{possible}\]$") as error:
        train(stores[what], tmp_path, name)
    assert "\n" not in str(error.value) and not list(tmp_path.iterdir())


def test_one_class_without_faces(tmp_path, caplog):
    clips = [without(clip, "face") if clip.label == "odd" else clip for clip in make_clips()]
    store = write_store(tmp_path, clips)
    folder = study(store, tmp_path / "study", seeds=(0,))
    predictions = read_predictions(folder / "predictions.csv")
    assert {"fbp", "video", "audio", "svm_audio"} <= set(predictions["model"])
    assert (predictions.groupby("model")["clip"].nunique() == len(clips)).all()
    # An SVM of faces would know a single class: it says so instead of ending the study.
    absent = json.loads((folder / "choices.json").read_text())["absent"]
    assert set(absent) == {"svm_video", "svm_late_mean", "svm_late_product"}
    assert all("two classes at least" in reason for reason in absent.values())
    train(store, tmp_path / "fold", "fbp")
    assert len(read_predictions(tmp_path / "fold" / "predictions.csv")) == 6


def test_a_modality_that_one_fold_lacks_is_absent_from_all():
    clips = {"sound": [[1], [], []], "faces": [[1], [1], [1]]}
    names = {"sound": "audio", "faces": "a face"}
    folds = {"fold01": [1, 2], "fold02": [0, 1]}
    assert missing_modalities(clips, folds, names) == {"sound": "no training clip of fold01 has audio"}
    assert missing_modalities(clips, {"fold02": [0, 1]}, names) == {}


def test_a_single_training_clip_with_a_face_makes_no_number_that_is_none(tmp_path):
    """No deviation and no axis can be fitted to one vector."""
    clips = [clip if i in (0, 20) else without(clip, "face") for i, clip in enumerate(make_clips())]
    folder = study(write_store(tmp_path, clips), tmp_path / "study", seeds=(0,), chosen=[Fold("fold01", ("s3",))])
    predictions = read_predictions(folder / "predictions.csv")
    assert np.isfinite(predictions[["p(even)", "p(odd)"]].to_numpy()).all()


def test_folds_that_lack_one_modality_each_are_one_sentence(tmp_path):
    clips = [without(clip, "sound" if clip.speaker in ("s0", "s1") else "face") for clip in make_clips()]
    folds = [Fold("fold01", ("s0", "s1")), Fold("fold02", ("s2", "s3"))]
    with pytest.raises(UserError, match=r"nothing to study: .*no training clip of fold02 has audio") as error:
        study(write_store(tmp_path, clips), tmp_path / "study", seeds=(0,), chosen=folds)
    assert "\n" not in str(error.value)


def test_nothing_at_all_is_one_sentence(tmp_path):
    store = write_store(tmp_path, [without(clip, "sound, face") for clip in make_clips()])
    with pytest.raises(UserError, match="no clip has audio or a face, so there is nothing to study"):
        study(store, tmp_path / "study")
    with pytest.raises(UserError, match=r"no training clip has audio or a face .*: none can be trained"):
        train(store, tmp_path / "fold", "fbp")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": ""}, "needs a class for every clip: the store .* has no column 'label', or nothing in it"),
        ({"speaker": ""}, "needs a speaker for every clip, since none may be in training and test"),
        ({"label": "odd"}, "needs two classes or more: all clips of the store .* are 'odd'"),
    ],
)
def test_a_store_without_labels_or_speakers_is_not_trained_on(tmp_path, change, said):
    store = write_store(tmp_path, [replace(clip, **change) for clip in make_clips()])
    fold = [Fold("fold01", ("s3",))]
    for attempt in (lambda: study(store, tmp_path / "a", chosen=fold), lambda: train(store, tmp_path / "b", "fbp")):
        with pytest.raises(UserError, match=said) as error:
            attempt()
        assert "\n" not in str(error.value)


def test_one_clip_without_a_label_is_named(tmp_path):
    clips = make_clips()
    clips[7] = replace(clips[7], label="")
    with pytest.raises(UserError, match=rf"has 1 clips without one, first {clips[7].id} \(column 'label'\)"):
        train(write_store(tmp_path, clips), tmp_path / "fold", "fbp")


def test_a_class_that_the_fold_cannot_learn_is_warned_of(tmp_path, caplog):
    clips = [replace(clip, label="odd" if clip.speaker == "s3" else clip.label) for clip in make_clips()]
    clips = [replace(clip, label="even") if clip.speaker != "s3" and clip.label == "odd" else clip for clip in clips]
    with caplog.at_level(logging.WARNING):
        train(write_store(tmp_path, clips), tmp_path / "fold", "video")
    assert "fold04 trains on no clip of class 'odd', which it cannot predict" in caplog.text


def test_a_store_without_the_column_that_divides_it(tmp_path):
    store = write_store(tmp_path, make_clips())
    fold = Fold("fold01", ("1",), by="fold")
    with pytest.raises(UserError, match=r"needs the fold of every clip .*: the store .*has no column 'fold'"):
        study(store, tmp_path / "study", chosen=[fold])
    with pytest.raises(UserError, match=r"needs the fold of every clip .*: the store .*has no column 'fold'"):
        train_fold(store, tmp_path / "fold", name="fbp", test=["1"], by="fold", fold="fold01", seed=0,
                   settings=SETTINGS, device=torch.device("cpu"))  # fmt: skip


def test_folds_published_with_the_corpus_are_a_column(tmp_path):
    """`Fold.by` may be any column of the store."""
    clips = [replace(clip, split=f"f{i // 12}") for i, clip in enumerate(make_clips())]
    store = write_store(tmp_path, clips)
    folder: Path = study(store, tmp_path / "s", seeds=(0,), chosen=[Fold("fold01", ("f1",), by="split")])
    assert set(read_predictions(folder / "predictions.csv")["speaker"]) == {"s2", "s3"}
