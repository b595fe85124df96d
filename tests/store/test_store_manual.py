"""docs/store.md: its examples run, and it names everything there is."""

import re

import h5py
import numpy as np
import pytest
from paths import ROOT

from deepfusion.store.layout import objects

MANUAL = (ROOT / "docs" / "store.md").read_text()
ROWS = ("| `clips", "| `video", "| `audio", "| `ledger")
EXAMPLES = re.findall(r"```python\n(.*?)```", MANUAL, re.DOTALL)


@pytest.mark.parametrize("i", range(len(EXAMPLES)))
def test_examples_run(finished, monkeypatch, i):
    monkeypatch.chdir(finished.path.parent)
    names = {}
    exec(EXAMPLES[i], names)
    clip = finished.expected["bert/1"]
    if i == 0:
        assert names["clip"] == "bert/1" and names["label"] == finished.labels[names["number"]]
        np.testing.assert_array_equal(names["ef_vgg"], clip["EF-VGG"])
        np.testing.assert_array_equal(names["spectrogram"], clip["spectrogram"])
        np.testing.assert_array_equal(names["valid"], clip["valid"])
        np.testing.assert_array_equal(names["positions"], clip["AF"])
    else:
        assert np.isfinite(names["faces"]).all() and len(names["spectrogram"]) == 16
        assert len(names["positions"]) == len(names["seconds"]) == 5 and len(names["hertz"]) == 5


def test_there_are_examples():
    assert len(EXAMPLES) == 2


def test_every_dataset_and_attribute_is_described(finished):
    named = set(re.findall(r"`([^`]+)`", "".join(line for line in MANUAL.splitlines() if line.startswith("|"))))
    with h5py.File(finished.path) as file:
        for group in ("clips", "video", "audio", "ledger"):
            datasets = {thing.name for thing in objects(file[group]) if isinstance(thing, h5py.Dataset)}
            assert {name.lstrip("/") for name in datasets} <= named
        assert set(file.attrs) <= named
        assert set(file["video/valid"].attrs) | set(file["video/offsets"].attrs) <= named


def test_no_dataset_is_described_that_is_not_there(finished):
    rows = [line.split("|")[1] for line in MANUAL.splitlines() if line.startswith(ROWS)]
    described = {name for row in rows for name in re.findall(r"`([^`]+)`", row) if not name.endswith(("*", "..."))}
    described -= {
        "offsets",
        "valid",
        "frequency",
        "video/EF-C",
        "clips/video_duration",
        "clips/audio_duration",
        "video/detector",
        "video/alignment",
        "video/emotion",
        "video/pose",
        "video/eye_opening",
        "video/mouth_opening",
    }  # not in this store
    described = {name for name in described if not name.startswith("video/found/")}  # test_found.py
    with h5py.File(finished.path) as file:
        assert [name for name in described if name not in file] == []
