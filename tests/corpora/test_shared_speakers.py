"""Partitions with shared or unknown speakers: refused, or declared and then stated in every output."""

import pandas as pd
import pytest

from deepfusion.config import check
from deepfusion.corpora.folds import Fold, guard
from deepfusion.corpora.needs import cautions, divide, labelled
from deepfusion.errors import UserError

SAID = {"purpose": "training", "origin": "the corpus", "k": 4}


def clips(**columns):
    table = pd.DataFrame(
        {
            "id": [f"c{i}" for i in range(8)],
            "label": ["a", "b"] * 4,
            "speaker": list("xxyyxxzz"),
            "split": ["train"] * 4 + ["test"] * 4,
            "fold": list("11112222"),
            "start": float("nan"),
            "end": float("nan"),
        }
    )
    return table.assign(**columns).assign(sha256=table["id"])


@pytest.mark.parametrize("protocol", ["split", "published"])
def test_a_speaker_on_both_sides_is_declared_or_refused(protocol):
    table = clips()
    (fold, *_) = divide(table, protocol=protocol, shared_speakers=True, **SAID)
    assert fold.shared_speakers
    sides = {"train": table["id"][:4], "test": table["id"][4:]}
    guard(table, shared_speakers=True, **sides)
    with pytest.raises(UserError, match="leakage: speakers both trained and tested on: x"):
        guard(table, **sides)
    if protocol == "published":
        with pytest.raises(UserError, match=r"share speakers: x \(1 and 2\); .*protocol\.shared_speakers: declared"):
            divide(table, protocol=protocol, **SAID)


def test_what_is_declared_still_refuses_copies():
    table = clips()
    table.loc[7, "sha256"] = "c0"
    with pytest.raises(UserError, match="the same file is trained and tested on"):
        guard(table, train=table["id"][:4], test=table["id"][4:], shared_speakers=True)


def test_tables_say_how_many_clips_are_shared():
    made = divide(clips(), protocol="split", shared_speakers=True, **SAID)
    (caution,) = cautions(clips(), made)
    assert "training has the speakers of 50.0 % of the test clips (2 of 4), as declared" in caution
    assert cautions(clips(), [Fold("fold01", ("z",))]) == []


def test_a_split_without_speakers_is_kept_to():
    table = clips(speaker="")
    made = divide(table, protocol="split", **SAID)
    assert made == [Fold("fold01", ("test",), by="split")]
    assert cautions(table, made) == [
        "no speaker is known: only the corpus' own split keeps people of training and test apart"
    ]
    with pytest.raises(UserError, match="needs a speaker for every clip"):
        divide(table, protocol="kfold", **SAID)
    with pytest.raises(UserError, match="has 2 clips without one"):
        divide(clips(speaker=[*list("xxyyxx"), "", ""]), protocol="split", **SAID)


def test_folds_without_speakers_are_declared_or_refused():
    table = clips(speaker="")
    with pytest.raises(UserError, match="no speaker is known, so the published folds may share some"):
        divide(table, protocol="published", **SAID)
    made = divide(table, protocol="published", shared_speakers=True, **SAID)
    assert cautions(table, made) == ["no speaker is known, and training and test may show the same people (declared)"]


def test_tables_say_where_speakers_come_from():
    table = clips(speaker_source="clusters of faces")
    assert cautions(table, [Fold("fold01", ("z",))]) == ["speakers are not given by the corpus but clusters of faces"]


def test_clips_without_a_label_are_for_features_alone():
    table = clips(split=["train"] * 4 + ["test"] * 2 + ["unlabelled"] * 2)
    table.loc[6:, "label"] = ""
    assert len(labelled(table)) == 6
    (fold,) = divide(table, protocol="split", shared_speakers=True, **SAID)
    assert fold.test == ("test",)
    table.loc[0, "label"] = ""  # forgotten, not declared
    with pytest.raises(UserError, match=r"has 1 clips without one, first c0 \(column 'label'\)"):
        divide(table, protocol="split", **SAID)


def test_only_a_published_partition_can_be_declared():
    with pytest.raises(UserError, match="shared_speakers: declared is for folds: split or published; loso shares none"):
        check({"protocol": {"folds": "loso", "shared_speakers": "declared"}})
    assert check({"protocol": {"folds": "split", "shared_speakers": "declared"}})
