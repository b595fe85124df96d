"""AFEW from its folders."""

import logging

import pytest

from deepfusion.corpora import load, read_manifest, write_manifest
from deepfusion.corpora.folds import by_split, folds
from deepfusion.corpora.needs import labelled
from deepfusion.errors import UserError

EMOTIONS = ["Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise", "Neutral"]


def tree(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"media")
    return folder


def afew(folder, *others, train="Train_AFEW", val="Val_AFEW"):
    clips = [f"{split}/{emotion}/000046280.avi" for split in (train, val) for emotion in EMOTIONS]
    points = [f"{split}/AlignedFaces_LBPTOP_Points/Faces/000046280/001.jpg" for split in (train, val)]
    return tree(folder, *clips, *points, *others)


def test_clips_are_named_by_their_folders(tmp_path, caplog):
    corpus = load(kind="afew", name="afew", path=afew(tmp_path, "Train_AFEW/Angry/001.AVI", "Train_AFEW/Angry/._1.avi"))
    assert corpus.labels == ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
    assert len(corpus.clips) == 15 and corpus.clips["id"].is_unique
    columns = ["id", "label", "speaker", "split"]
    assert corpus.clips[columns].iloc[[0, 1, -1]].to_numpy().tolist() == [
        ["train/angry/000046280", "angry", "afew_train", "train"],
        ["train/angry/001", "angry", "afew_train", "train"],
        ["val/surprise/000046280", "surprise", "afew_val", "val"],
    ]
    assert corpus.clips["path"][0] == str(tmp_path / "Train_AFEW/Angry/000046280.avi")
    assert "Dhall" in corpus.citation and "request" in corpus.licence
    assert not caplog.records


@pytest.mark.parametrize(("train", "val"), [("Train", "Val"), ("train", "val"), ("train_afew", "VAL_AFEW")])
def test_folders_have_several_names(tmp_path, train, val):
    corpus = load(kind="afew", name="afew", path=afew(tmp_path, "Traineeship/Angry/1.avi", train=train, val=val))
    assert corpus.clips["split"].value_counts().to_dict() == {"train": 7, "val": 7}


def test_labelled_test_clips_are_tested(tmp_path):
    corpus = load(kind="afew", name="afew", path=afew(tmp_path, "Test_AFEW/Sad/1.avi"))
    assert corpus.clips.iloc[0][["label", "speaker"]].tolist() == ["sad", "afew_test"]
    assert by_split(corpus.clips).test == ("test",)


@pytest.mark.parametrize("name", ["Test_AFEW/1.avi", "Test_vid_Distribute/Videos/1.avi"])
def test_test_clips_without_a_label_are_left_out_and_told(tmp_path, caplog, name):
    with caplog.at_level(logging.WARNING):
        corpus = load(kind="afew", name="afew", path=afew(tmp_path, name))
    assert set(corpus.clips["split"]) == {"train", "val"}
    (record,) = caplog.records
    assert (
        record.getMessage().endswith("of its emotion: test/1")
        and "1 clip left out, EmotiW keeps" in record.getMessage()
    )
    assert by_split(corpus.clips).test == ("val",)
    kept = load(kind="afew", name="afew", path=tmp_path, options={"unlabelled": "keep"}).clips
    assert kept[["label", "split"]].iloc[0].tolist() == ["", "unlabelled"] and len(kept) == len(corpus.clips) + 1
    assert by_split(labelled(kept)).test == ("val",)


@pytest.mark.parametrize("name", ["Train_AFEW/1.avi", "Val_AFEW/Hapy/1.avi"])
def test_a_clip_without_an_emotion_is_refused(tmp_path, name):
    with pytest.raises(UserError, match=r"1.avi is in no folder of an emotion \(Angry, .*, Neutral\): move it"):
        load(kind="afew", name="afew", path=afew(tmp_path, name))


def test_a_folder_that_is_not_afew(tmp_path):
    with pytest.raises(UserError, match="holds no clips of afew"):
        load(kind="afew", name="afew", path=tree(tmp_path, "Test_AFEW/1.avi", "AFEW/Train_AFEW/Angry/1.avi"))


def test_the_same_split_twice(tmp_path):
    with pytest.raises(UserError, match="two clips have the id 'train/angry/000046280'"):
        load(kind="afew", name="afew", path=afew(afew(tmp_path), train="Train"))


def test_folds_of_clips_that_share_films_are_refused(tmp_path):
    speakers = load(kind="afew", name="afew", path=afew(tmp_path)).clips["speaker"]
    with pytest.raises(UserError, match="k = 4 folds do not fit 2 speakers"):
        folds(speakers, protocol="kfold", k=4)


def test_resolved_manifest_is_the_corpus(tmp_path):
    clips = load(kind="afew", name="afew", path=afew(tmp_path)).clips
    write_manifest(tmp_path / "manifest.csv", clips)
    assert read_manifest(tmp_path / "manifest.csv", labels=None).equals(clips)
