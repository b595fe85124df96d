"""Manifests of emotional speech: what is read, and the one line that a wrong one gives."""

import logging

import pandas as pd
import pytest
from toy_speech import SETTINGS, write_corpus

from deepfusion.errors import UserError
from deepfusion.speech.manifest import COLUMNS, read, stamps


def test_unknown_labels_are_left_out_of_training_corpora_alone(tmp_path, caplog):
    path = write_corpus(tmp_path)
    settings = SETTINGS.model_copy(update={"labels": ("sad",)})
    with caplog.at_level(logging.INFO):
        clips = read(path, settings)
    assert list(clips) == list(COLUMNS)
    assert set(clips.label[clips.corpus == "tones"]) == {"sad"}
    assert set(clips.label[clips.corpus == "others"]) == {"sad", "happy", "neutral"}  # calm is merged
    assert "tones: 9 clips are left out, label happy is not in pretrain_audio.labels" in caplog.text


def test_labels_are_merged_and_paths_start_at_the_manifest(tmp_path):
    clips = read(write_corpus(tmp_path), SETTINGS.model_copy(update={"merged": {"happy": "sad"}}))
    assert set(clips.label[clips.corpus == "tones"]) == {"sad"}
    assert clips.path[0] == str(tmp_path / "tones-0-0.wav")


def test_names_have_no_blanks_around_them_and_one_unicode_form(tmp_path):
    path = write_corpus(tmp_path)
    table = pd.read_csv(path)
    table.loc[:1, "speaker"] = ["tones0é", "tones0e\u0301 "]
    table["label"] = " " + table["label"]
    table.to_csv(path, index=False)
    clips = read(path, SETTINGS)
    assert clips.speaker[:3].tolist() == ["tones0é", "tones0é", "tones0"] and clips.label[0] == "sad"


def test_a_replaced_file_has_another_stamp(tmp_path):
    path = write_corpus(tmp_path)
    before = stamps(path)
    assert stamps(path) == before
    (tmp_path / "tones-0-0.wav").write_bytes(b"another")
    replaced = stamps(path)
    (tmp_path / "tones-0-0.wav").unlink()
    assert len({before, replaced, stamps(path)}) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop(columns="licence"), "column 'licence' is missing"),
        (lambda t: t.assign(speaker=["", *t.speaker[1:]]), "manifest.csv:2: column 'speaker' is empty"),
        (lambda t: pd.concat([t, t[:1]]), "tones-0-0.wav is listed twice"),
        (
            lambda t: pd.concat([t, t[:1].assign(path="./" + t.path)]),
            "manifest.csv:38: .*tones-0-0.wav is listed twice",
        ),
        (lambda t: t[t.corpus == "tones"], "no clip of corpus 'others'; it has tones"),
        (lambda t: t.assign(path="x" + t.path), "36 of 36 files do not exist"),
    ],
)
def test_a_wrong_manifest_ends_in_one_line(tmp_path, change, message):
    path = write_corpus(tmp_path)
    change(pd.read_csv(path)).to_csv(path, index=False)
    with pytest.raises(UserError, match=message):
        read(path, SETTINGS)


def test_no_manifest(tmp_path):
    with pytest.raises(UserError, match=r"there is no file .*absent\.csv"):
        read(tmp_path / "absent.csv", SETTINGS)
