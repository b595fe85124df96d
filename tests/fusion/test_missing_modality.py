"""Stores without audio, without faces, without labels: what is trained, what is left out, and the reason."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_store import SETTINGS, make_clips, without, write_store

from deepfusion.config import StudySettings
from deepfusion.corpora.folds import Fold
from deepfusion.errors import UserError
from deepfusion.evaluation.metrics import class_names, read_predictions
from deepfusion.evaluation.summary import CLAIMS
from deepfusion.fusion.missing_modality import absence, missing_modalities
from deepfusion.fusion.study import run_study
from deepfusion.fusion.train_fbp import train_fbp
from deepfusion.report.page import read_results, write_page

SEEING = {"EF-A", "EF-B", "EF", "landmarks", "video", "video_mean", "video_max", "svm_video"}
QUICK = SETTINGS.model_copy(
    update={"audio": None, "video": None, "seeds": (0,), "learning_rates": (1e-3,), "axes": (3,), "epochs": 1}
)
TESTED = (Fold("fold04", ("s3",)),)
HALVES = (Fold("fold01", ("s0", "s1")), Fold("fold02", ("s2", "s3")))
CPU = torch.device("cpu")


def study(store, folder, *, chosen=HALVES):
    run_study(store, folder, chosen, settings=QUICK, study=StudySettings(sweeps={}), device=CPU)
    return folder


def train(store, folder, chosen=TESTED):
    train_fbp(store, folder, chosen, everyone=Fold("everyone", ()), settings=QUICK, device=CPU)
    return folder


@pytest.mark.parametrize(
    ("what", "word", "rows"), [("audio", "audio", SEEING), ("face", "a face", {"audio", "audio_speech", "svm_audio"})]
)
@pytest.mark.filterwarnings("error")
def test_the_study_leaves_out_what_needs_it_and_says_so(tmp_path, what, word, rows):
    store = write_store(tmp_path, [without(clip, what) for clip in make_clips()])
    folder = study(store, tmp_path / "study")
    predictions = read_predictions(folder / "predictions.csv")
    assert set(predictions["model"]) == rows - {"audio_speech"}
    assert np.isfinite(predictions[[f"p({label})" for label in class_names(predictions)]].to_numpy()).all()
    (sentence,) = json.loads((folder / "metrics.json").read_text())["notes"]
    assert sentence.startswith("no model ")
    assert sentence.endswith(f": no clip has {word}")
    assert "fbp" in sentence
    assert not any(set(pair) <= rows for pair in CLAIMS)
    write_page(read_results([folder]), store, tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert sentence in page
    assert "so no difference was tested" in page


def test_one_class_without_faces(tmp_path):
    clips = [without(clip, "face") if clip.label == "odd" else clip for clip in make_clips()]
    store = write_store(tmp_path, clips)
    folder = study(store, tmp_path / "study")
    predictions = read_predictions(folder / "predictions.csv")
    assert {"fbp", "video", "audio", "svm_audio"} <= set(predictions["model"])
    assert (predictions.groupby("model")["clip"].nunique() == len(clips)).all()
    # An SVM of faces would know a single class: it says so instead of ending the study.
    (note,) = json.loads((folder / "metrics.json").read_text())["notes"]
    assert note.startswith("no model svm_video, svm_late_mean, svm_late_product: ")
    assert "two classes at least" in note


def test_a_modality_that_one_fold_lacks_is_absent_from_all():
    clips = {"audio": [True, False, False], "video": [True, True, True]}
    names = {"audio": "audio", "video": "a face"}
    folds = {"fold01": [1, 2], "fold02": [0, 1]}
    assert missing_modalities(clips, folds, names) == {"audio": "no training clip of fold01 has audio"}
    assert missing_modalities(clips, {"fold02": [0, 1]}, names) == {}


def test_absence_is_a_sentence_for_each_reason():
    assert absence({"a": "no x", "b": "no y", "c": "no x"}) == ["no model a, c: no x", "no model b: no y"]


def test_a_single_training_clip_with_a_face_makes_no_number_that_is_none(tmp_path):
    """No deviation and no axis can be fitted to one vector."""
    clips = [clip if i in (0, 20) else without(clip, "face") for i, clip in enumerate(make_clips())]
    folder = study(write_store(tmp_path, clips), tmp_path / "study", chosen=[Fold("fold01", ("s3",))])
    predictions = read_predictions(folder / "predictions.csv")
    assert np.isfinite(predictions[["p(even)", "p(odd)"]].to_numpy()).all()


def test_folds_that_lack_one_modality_each_are_one_sentence(tmp_path):
    clips = [without(clip, "audio" if clip.speaker in ("s0", "s1") else "face") for clip in make_clips()]
    with pytest.raises(UserError, match=r"nothing to train: .*no training clip of fold02 has audio") as error:
        study(write_store(tmp_path, clips), tmp_path / "study")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": ""}, "needs a class for every clip: the store .* has no column 'label', or it is empty"),
        ({"speaker": ""}, "needs a speaker for every clip, since none may be in training and test"),
        ({"label": "odd"}, "needs two classes or more: all clips of the store .* are 'odd'"),
    ],
)
@pytest.mark.parametrize("command", [study, train])
def test_a_store_without_labels_or_speakers_is_not_trained_on(tmp_path, change, message, command):
    store = write_store(tmp_path, [replace(clip, **change) for clip in make_clips()])
    with pytest.raises(UserError, match=message) as error:
        command(store, tmp_path / "a", chosen=[Fold("fold01", ("s3",))])
    assert "\n" not in str(error.value)


def test_one_clip_without_a_label_is_named(tmp_path):
    clips = make_clips()
    clips[7] = replace(clips[7], label="")
    with pytest.raises(UserError, match=rf"has 1 clips without one, first {clips[7].id} \(column 'label'\)"):
        train(write_store(tmp_path, clips), tmp_path / "fbp")


def test_a_class_that_the_fold_cannot_learn_is_warned_of(tmp_path, caplog):
    clips = [replace(clip, label="odd" if clip.speaker == "s3" else "even") for clip in make_clips()]
    clips[0] = replace(clips[0], label="third")
    with caplog.at_level(logging.WARNING):
        train(write_store(tmp_path, clips, labels=["even", "odd", "third"]), tmp_path / "fbp")
    assert "fold04 trains on no clip of class 'odd', which it cannot predict" in caplog.text


def test_a_store_without_the_column_that_divides_it(tmp_path):
    store = write_store(tmp_path, make_clips())
    with pytest.raises(UserError, match=r"needs the fold of every clip .*: the store .*has no column 'fold'"):
        train(store, tmp_path / "fbp", chosen=[Fold("fold01", ("1",), by="fold")])


def test_folds_published_with_the_corpus_are_a_column(tmp_path):
    """`Fold.by` may be any column of the store."""
    clips = [replace(clip, split=f"f{i // 12}") for i, clip in enumerate(make_clips())]
    folder = train(write_store(tmp_path, clips), tmp_path / "fbp", chosen=[Fold("fold01", ("f1",), by="split")])
    assert set(read_predictions(folder / "predictions.csv")["speaker"]) == {"s2", "s3"}
