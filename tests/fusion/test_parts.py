"""The clips of a fold: speakers on one side alone, inner folds of training clips alone, AFEW's two forms."""

import numpy as np
import pandas as pd
import pytest

from deepfusion.corpora.folds import Fold, by_split, folds
from deepfusion.corpora.inner_folds import BY_CLIP, inner_folds
from deepfusion.errors import UserError
from deepfusion.fusion.parts import part


def table(speakers=6, each=5, **columns):
    """The columns of a store's table of clips that folds look at."""
    rows = speakers * each
    return pd.DataFrame(
        {
            "label": [("angry", "happy", "sad")[i % 3] for i in range(rows)],
            "speaker": [f"s{i // each}" for i in range(rows)],
            "split": [("train", "val", "test")[i // each % 3] for i in range(rows)],
            "fold": [str(i // each % 3) for i in range(rows)],
            "sha256": [f"{i:064}" for i in range(rows)],
            "start": np.nan,
            "end": np.nan,
            "audio_status": "ok",
            "faces": 5,
            **columns,
        },
        index=pd.Index([f"c{i}" for i in range(rows)], name="id"),
    )


def afew(*, speakers="afew", test=True):
    """AFEW's form: its own split, and no speaker, or the split in the speaker's place as its adapter writes it."""
    clips = table()
    if not test:
        clips.loc[clips["split"] == "test", "split"] = "train"
    return clips.assign(speaker=[f"afew_{name}" if speakers else "" for name in clips["split"]])


def speakers_of(clips, positions):
    return set(clips["speaker"].iloc[positions])


def test_a_clip_of_which_only_the_audio_file_was_read_is_guarded_too():
    clips = table().assign(audio_sha256="")
    clips.loc["c0", ["sha256", "audio_sha256", "split"]] = ["", "a" * 64, "test"]  # its speaker is in train
    with pytest.raises(UserError, match="speakers both trained and tested on: s0"):
        part(clips, by_split(clips), inner_folds=2)


@pytest.mark.parametrize("inner_folds", [2, 3, 99])
@pytest.mark.parametrize("protocol", ["loso", "kfold"])
def test_no_speaker_is_on_two_sides(protocol, inner_folds):
    clips = table()
    for fold in folds(clips["speaker"], protocol=protocol, k=3):
        made = part(clips, fold, inner_folds=inner_folds)
        assert speakers_of(clips, made.test) == set(fold.test)
        assert sorted(made.train + made.test) == list(range(len(clips)))
        assert not speakers_of(clips, made.train) & set(fold.test)
        speakers = 6 - len(fold.test)
        assert len(made.inner) == min(inner_folds, speakers) and made.speakers_known
        assert made.note == "" if inner_folds <= speakers else f"clips of a fold have {speakers} speakers" in made.note
        for train, held in made.inner:
            assert sorted(train + held) == made.train
            assert not speakers_of(clips, train) & speakers_of(clips, held)
        assert sorted(i for _, held in made.inner for i in held) == made.train  # each validates once


def test_the_tested_clips_decide_nothing_but_who_is_left():
    """Their labels do not reach the inner folds."""
    clips = table()
    fold = folds(clips["speaker"], protocol="loso")[2]
    other = clips.assign(label=clips["label"].where(clips["speaker"] != "s2", "happy"))
    assert part(clips, fold, inner_folds=3) == part(other, fold, inner_folds=3)


def test_a_fold_without_test_clips_trains_on_all():
    clips = table()
    made = part(clips, Fold("all", ()), inner_folds=3)
    assert made.train == list(range(30)) and made.test == [] and len(made.inner) == 3


def test_the_model_of_all_clips_chooses_on_val_and_is_trained_on_it_too():
    clips = table()
    made = part(clips, Fold("all", (), choose=("val",), by="split"), inner_folds=3)
    val = np.flatnonzero(clips["split"] == "val").tolist()
    assert made.train == list(range(30))
    ((train, held),) = made.inner
    assert held == val and sorted(train + held) == made.train


def test_published_folds():
    clips = table()
    made = part(clips, Fold("fold01", ("0",), by="fold"), inner_folds=2)
    assert set(clips["fold"].iloc[made.test]) == {"0"} and speakers_of(clips, made.test) == {"s0", "s3"}
    assert not speakers_of(clips, made.inner[0][0]) & speakers_of(clips, made.inner[0][1])


@pytest.mark.parametrize("speakers", ["afew", ""])
def test_afew_with_test_clips_chooses_on_val(speakers):
    clips = afew(speakers=speakers)
    made = part(clips, by_split(clips), inner_folds=3)
    wanted = {name: np.flatnonzero(clips["split"] == name).tolist() for name in ("train", "val", "test")}
    assert made.train == wanted["train"] and made.test == wanted["test"]
    assert made.inner == [(wanted["train"], wanted["val"])] and made.note == ""


@pytest.mark.parametrize("speakers", ["afew", ""])
def test_afew_without_test_clips_chooses_on_folds_over_clips_and_says_so(speakers):
    clips = afew(speakers=speakers, test=False)
    made = part(clips, by_split(clips), inner_folds=3)
    assert set(clips["split"].iloc[made.test]) == {"val"} and set(clips["split"].iloc[made.train]) == {"train"}
    assert len(made.inner) == 3 and made.note == BY_CLIP
    for train, held in made.inner:
        assert sorted(train + held) == made.train
        assert set(clips["label"].iloc[held]) == {"angry", "happy", "sad"}  # stratified
    assert sorted(i for _, held in made.inner for i in held) == made.train


def test_a_split_with_known_speakers_has_inner_folds_by_speaker():
    clips = table()
    clips.loc[clips["split"] == "test", "split"] = "train"
    made = part(clips, by_split(clips), inner_folds=2)
    assert made.note == "" and len(speakers_of(clips, made.train)) == 4
    for train, held in made.inner:
        assert not speakers_of(clips, train) & speakers_of(clips, held)


def test_clips_without_audio_and_face_are_tested_and_never_trained_on():
    clips = table()
    clips.iloc[[0, 7], clips.columns.get_loc("faces")] = 0
    clips.iloc[[0, 7, 12], clips.columns.get_loc("audio_status")] = "absent"
    made = part(clips, Fold("fold01", ("s0",)), inner_folds=3)
    assert 0 in made.test and 7 not in made.train and 12 in made.train
    assert not any(7 in train or 7 in held for train, held in made.inner)
    chosen = part(clips, Fold("fold01", ("s0",), choose=("s1",)), inner_folds=3)
    assert chosen.inner[0][1] == [5, 6, 8, 9]


NOBODY = {"audio_status": "failed", "faces": 0}


@pytest.mark.parametrize(
    ("clips", "fold", "message"),
    [
        (table(), Fold("fold01", ("s9", "s0")), "the store has no speaker s9"),
        (table(), Fold("fold01", ("dev",), by="split"), "the store has no split dev"),
        (table(speaker=""), Fold("fold01", ("s0",)), "fold fold01 needs a speaker for every clip"),
        (table(split=""), Fold("fold01", ("val",), by="split"), "fold fold01 needs the split"),
        (table(**NOBODY), Fold("fold01", ("s0",)), "no clip has audio or a face: there is nothing to train on"),
        (table(1), Fold("fold01", ("s0",)), "fold fold01: no clip is left to train on"),
        (table(2), Fold("fold01", ("s0",)), "fold01: inner folds need two training speakers or more"),
        (table(split=["val", *["train"] * 29]), Fold("fold01", ("val",), by="split"), "leakage: speakers .* s0"),
        (table(sha256="0" * 64), Fold("fold01", ("s0",)), "leakage: the same file is trained and tested on"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_a_line(clips, fold, message):
    with pytest.raises(UserError, match=message) as caught:
        part(clips, fold, inner_folds=3)
    assert "\n" not in str(caught.value)


def test_validation_clips_without_audio_and_face_cannot_choose():
    clips = table()
    clips.loc[clips["split"] == "val", list(NOBODY)] = list(NOBODY.values())
    with pytest.raises(UserError, match="fold all: no clip of val has audio or a face to choose by"):
        part(clips, Fold("all", (), choose=("val",), by="split"), inner_folds=3)


def test_a_clip_per_class_is_too_few_without_speakers():
    clips = afew(test=False)
    clips = pd.concat([clips[clips["split"] == "train"].iloc[:3], clips[clips["split"] == "val"]])
    with pytest.raises(UserError, match="fold01: inner folds need two training clips of a class or more"):
        part(clips, by_split(clips), inner_folds=3)


def test_inner_folds_do_not_depend_on_anything_but_speakers_and_labels():
    speakers, labels = np.array([""] * 12), np.array(["a", "b"] * 6)
    first, _ = inner_folds(speakers, labels, 3)
    np.random.default_rng().random()
    again, _ = inner_folds(speakers, labels, 3)
    for (a, b), (c, d) in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, c)
        np.testing.assert_array_equal(b, d)
