"""What training needs of a corpus."""

import logging

import pandas as pd
import pytest

from deepfusion.corpora import load
from deepfusion.corpora.folds import Fold
from deepfusion.corpora.needs import are_measurements, divide, doubts, need, need_classes
from deepfusion.errors import UserError

ORIGIN = {"purpose": "train_fbp", "origin": "the manifest mine.csv"}


def clips(**columns):
    table = pd.DataFrame({"label": ["a", "b"] * 4, "speaker": list("xxyyzzww"), **columns})
    return table.assign(id=[f"c{i}" for i in table.index])


@pytest.mark.parametrize(
    ("columns", "column", "said"),
    [
        ({"label": [""] * 8}, "label", "train_fbp needs a class for every clip: the manifest mine.csv has no column"),
        ({"label": ["a"] * 6 + ["", ""]}, "label", r"has 2 clips without one, first c6 \(column 'label'\)"),
        ({"speaker": [""] * 8}, "speaker", "needs a speaker for every clip, since none may be in training and test"),
        ({}, "fold", r"needs the fold of every clip \(protocol\.folds: published\): .* has no column 'fold'"),
    ],
)
def test_a_column_that_is_missing(columns, column, said):
    with pytest.raises(UserError, match=said) as error:
        need(clips(**columns), column, **ORIGIN)
    assert "\n" not in str(error.value)
    need(clips(), "label", **ORIGIN)


def test_a_folder_says_neither_class_nor_speaker(tmp_path):
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    corpus = load(kind="folder", name="f", path=tmp_path)
    with pytest.raises(
        UserError, match=r"the folder .* \(classes: set corpus\.labels: folders; .* has no column 'label'"
    ):
        need(corpus.clips, "label", purpose="training", origin=corpus.origin)
    with pytest.raises(UserError, match=r"speakers: write a manifest\) has no column 'speaker'"):
        need(corpus.clips, "speaker", purpose="training", origin=corpus.origin)


@pytest.mark.parametrize(
    ("labels", "measured"),
    [
        (["-0.35", "-0.25", "0.05", "0.45"], True),
        ([f"{i / 100:.2f}" for i in range(20)] * 50, True),  # rounded: far fewer values than clips
        (["1e-3", "2", "3", "4"], True),
        (["0", "1"] * 2, False),
        ([str(i) for i in range(1, 8)] * 3, False),  # ratings, or the numbers of classes
        (["a", "b", "c", "d"], False),
        (["0.1", "0.2", "x", "0.3"], False),
        ([""] * 4, False),
    ],
)
def test_labels_that_are_measured_numbers(labels, measured):
    table = pd.DataFrame({"id": [str(i) for i in range(len(labels))], "label": labels})
    assert are_measurements(table["label"]) == measured
    if measured:
        with pytest.raises(UserError, match=r"look like measured numbers .*: divide them into a few classes"):
            need_classes(table, **ORIGIN)


def test_doubtful_divisions_are_warned_of(caplog):
    table = clips(label=["a", "b", "a", "b", "a", "b", "c", "c"])
    with caplog.at_level(logging.WARNING):
        made = divide(table, protocol="loso", k=0, **ORIGIN)
    assert [record.getMessage() for record in caplog.records] == [
        "class 'c' has a single speaker, w: it cannot be both trained and tested",
        "fold01 trains on no clip of class 'c', which it cannot predict",
        "class 'a' has 3 clips, fewer than the 4 folds: some fold tests none",
        "class 'b' has 3 clips, fewer than the 4 folds: some fold tests none",
        "class 'c' has 2 clips, fewer than the 4 folds: some fold tests none",
    ]
    assert doubts(clips(), made) == []


def test_names_that_differ_in_case_alone_are_warned_of():
    table = clips(speaker=["Anna", "anna", "ﬁ", "fi", "b", "b", "c", "c"], label=["a", "b"] * 3 + ["A", "B"])
    alike = [line for line in doubts(table, []) if "differ only in case or Unicode form" in line]
    assert [line.partition(" differ")[0] for line in alike] == [
        "speakers 'Anna' and 'anna'",
        "speakers 'fi' and 'ﬁ'",
        "labels 'A' and 'a'",
        "labels 'B' and 'b'",
    ]


def test_clips_that_choose_the_epoch_are_not_trained_on():
    table = clips(split=["train"] * 4 + ["val"] * 2 + ["test"] * 2, label=list("ababccab"))
    fold = Fold("fold01", ("test",), ("val",), by="split")
    assert "fold01 trains on no clip of class 'c', which it cannot predict" in doubts(table, [fold])


def test_warnings_of_a_kind_are_bounded():
    table = pd.DataFrame({"label": [f"l{i}" for i in range(30)], "speaker": [f"s{i}" for i in range(30)]})
    lines = doubts(table, [])
    assert len(lines) == 11 and lines[-1] == "... and 20 more warnings of this kind"
