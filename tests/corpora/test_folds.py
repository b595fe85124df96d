"""Folds by speaker, and the guard that refuses what leaks."""

import itertools

import numpy as np
import pandas as pd
import pytest

from deepfusion.corpora import Fold, folds, guard
from deepfusion.corpora.folds import by_split
from deepfusion.errors import UserError


def some_speakers(seed):
    rng = np.random.default_rng(seed)
    return [f"s{i:02d}" for i in range(rng.integers(2, 30)) for _ in range(rng.integers(1, 40))]


@pytest.mark.parametrize("seed", range(20))
def test_every_speaker_is_tested_once(seed):
    speakers = some_speakers(seed)
    for protocol, k in [("loso", 5), ("kfold", 2), ("kfold", len(set(speakers)))]:
        made = folds(speakers, protocol=protocol, k=k, seed=seed)
        assert sorted(speaker for fold in made for speaker in fold.test) == sorted(set(speakers))
        assert all(fold.test for fold in made)
        assert len({fold.name for fold in made}) == len(made) == (k if protocol == "kfold" else len(set(speakers)))


def test_loso_is_in_the_order_of_names():
    made = folds(["b", "a/ö", "b", "c"], protocol="loso")
    assert [(fold.name, fold.test) for fold in made] == [("fold01", ("a/ö",)), ("fold02", ("b",)), ("fold03", ("c",))]


@pytest.mark.parametrize("seed", range(20))
def test_kfold_is_balanced(seed):
    """No fold can be improved on by handing one of its speakers to another."""
    speakers = some_speakers(seed)
    k = min(4, len(set(speakers)))
    size = {
        fold: sum(speakers.count(s) for s in fold.test) for fold in folds(speakers, protocol="kfold", k=k, seed=seed)
    }
    for (one, n), (_, m) in itertools.permutations(size.items(), 2):
        assert n - m <= min(speakers.count(s) for s in one.test)


def test_kfold_depends_on_the_seed_alone():
    speakers = [f"s{i}" for i in range(12)] * 3
    first = folds(speakers, protocol="kfold", k=4, seed=1)
    assert first == folds(speakers[::-1], protocol="kfold", k=4, seed=1)
    assert first != folds(speakers, protocol="kfold", k=4, seed=2)
    assert all(len(fold.test) == 3 for fold in first)


@pytest.mark.parametrize(
    ("speakers", "settings", "said"),
    [
        (["a", "a"], {"protocol": "loso"}, "two speakers or more, and the corpus has 1: a"),
        ([], {"protocol": "loso"}, "two speakers or more"),
        (
            ["a", "b"],
            {"protocol": "kfold", "k": 3},
            "k = 3 folds do not fit 2 speakers: set protocol.k in config.yaml to 2 to 2",
        ),
        (["a", "b"], {"protocol": "kfold", "k": 1}, "k = 1"),
        (["a", "b"], {"protocol": "k-fold"}, "unknown protocol 'k-fold': it is loso or kfold"),
    ],
)
def test_folds_that_cannot_be(speakers, settings, said):
    with pytest.raises(UserError, match=said):
        folds(speakers, **settings)


def partition(*splits):
    return pd.DataFrame({"id": [f"c{i}" for i in range(len(splits))], "split": splits})


@pytest.mark.parametrize(
    ("splits", "test", "choose"),
    [
        (["train", "val", "test", "train"], "test", ("val",)),
        (["val", "train", "train"], "val", ()),
        (["test", "train"], "test", ()),
    ],
)
def test_the_split_of_the_corpus(splits, test, choose):
    assert by_split(partition(*splits)) == Fold("fold01", test=(test,), choose=choose, by="split")


@pytest.mark.parametrize(
    ("splits", "said"),
    [
        (["train", "", "val", "dev"], r"needs the split train, val, test, and these differ: c1 \(none\), c3 \(dev\)$"),
        (["train"] + ["Test"] * 9, r"c1 \(Test\), .* and 4 more$"),
        (["train", "train"], "clips of train, and of val or test, are needed; the corpus has only train"),
        (["val", "test"], "the corpus has only val, test"),
    ],
)
def test_splits_that_are_none(splits, said):
    with pytest.raises(UserError, match=said) as error:
        by_split(partition(*splits))
    assert "\n" not in str(error.value)


def clips(**changes):
    table = {
        "id": ["a1", "a2", "b1", "b2", "c1"],
        "speaker": ["a", "a", "b", "b", "c"],
        "sha256": ["00", "01", "02", "03", "04"],
        "start": [np.nan] * 5,
        "end": [np.nan] * 5,
    }
    return pd.DataFrame(table | changes)


@pytest.mark.parametrize("protocol", ["loso", "kfold"])
def test_folds_pass_the_guard(protocol):
    table = clips()
    for fold in folds(table["speaker"], protocol=protocol, k=2):
        tested = table["speaker"].isin(fold.test)
        guard(table, train=table["id"][~tested], test=table["id"][tested])


@pytest.mark.parametrize(
    ("changes", "train", "test", "said"),
    [
        ({}, ["a1", "b1"], ["a2"], r"speakers both trained and tested on: a \(a1 and a2\)"),
        ({}, ["a1", "b1"], ["b1"], "clips both trained and tested on: b1"),
        ({"sha256": ["00", "01", "00", "03", "04"]}, ["a1", "a2"], ["b1", "b2"], "a1 = b1"),
        ({"sha256": ["00", "", "02", "03", "04"]}, ["a1", "a2"], ["b1"], "no sha256, so copies cannot be detected: a2"),
        ({"sha256": ["00", "01", None, "03", "04"]}, ["a1"], ["b1"], "no sha256, so copies cannot be detected: b1"),
    ],
)
def test_leaks_are_refused(changes, train, test, said):
    with pytest.raises(UserError, match=said):
        guard(clips(**changes), train=train, test=test)


@pytest.mark.parametrize(
    ("segment_a", "segment_b", "leaks"),
    [
        ((np.nan, np.nan), (np.nan, np.nan), True),
        ((0, 2), (2, 4), False),
        ((0, 2.1), (2, 4), True),
        ((2, 4), (0, 2.1), True),
        ((np.nan, 2), (1, np.nan), True),
        ((np.nan, 2), (2, np.nan), False),
        ((1, 2), (np.nan, np.nan), True),
        ((0, 10), (3, 4), True),
    ],
)
def test_parts_of_one_file_leak_where_they_overlap(segment_a, segment_b, leaks):
    """A file of two speakers may be divided between them, not shared."""
    table = clips(sha256=["00", "01", "00", "03", "04"])
    table.loc[[0, 2], ["start", "end"]] = [segment_a, segment_b]
    if leaks:
        with pytest.raises(UserError, match="a1 = b1"):
            guard(table, train=["a1"], test=["b1", "c1"])
    else:
        guard(table, train=["a1"], test=["b1", "c1"])


def test_columns_of_the_corpus_hide_no_copy():
    own = {"segment_start": [50.0] * 5, "video_start": ["x"] * 5, "segment_end": [1.0] * 5, "weekend_end": ["y"] * 5}
    table = clips(sha256=["00", "01", "00", "03", "04"], **own)
    with pytest.raises(UserError, match="a1 = b1"):
        guard(table, train=["a1"], test=["b1", "c1"])
