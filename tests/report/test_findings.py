"""What the page says of a corpus: unusable and unusual clips, duplicates, balance, coverage."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from small_store import make_clips, without, write_store

from deepfusion.report.findings import (
    MATRIX,
    balance,
    clip_rows,
    coverage_bins,
    findings,
    frame_intervals,
)
from deepfusion.store import FeatureStore


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    clips = make_clips()
    clips[1] = replace(clips[1], valid=np.zeros(len(clips[1].valid), bool))
    clips[2] = replace(clips[2], valid=np.arange(len(clips[2].valid)) < 1)
    clips[4] = without(clips[4], "audio")
    clips[5] = replace(clips[5], failed="damaged video at 1.180 s")
    clips[6] = replace(clips[6], note="channels cancel: channel 1 taken")
    clips[8] = replace(clips[8], sha256=clips[6].sha256)  # of one speaker and label
    clips[13] = replace(clips[13], sha256=clips[6].sha256)  # of another speaker
    return FeatureStore(write_store(tmp_path_factory.mktemp("findings"), clips))


def of(found, name):
    return next(check for check in found if check["name"] == name)["clips"]


def test_each_finding_names_its_clips_and_why(store):
    found = findings(store.clips, frame_intervals(store))
    assert of(found, "Video unreadable") == {"s0-5": "damaged video at 1.180 s"}
    assert of(found, "No audio") == {"s0-4": "the file has no audio"}
    frames = store.clips.at["s0-1", "frames"]
    assert of(found, "No face in any frame") == {"s0-1": f"0 of {frames} frames"}
    assert "s0-2" in of(found, "Face in fewer than 50% of the frames")
    assert of(found, "Unusual audio") == {"s1-0": "channels cancel: channel 1 taken"}
    for name in ("No video stream", "Audio unreadable", "Variable frame rate", "No label", "No speaker"):
        assert of(found, name) == {}, name
    assert all(check["means"] for check in found)


def test_identical_media_are_found_and_those_across_speakers_are_told_apart(store):
    found = findings(store.clips, frame_intervals(store))
    assert store.clips.at["s1-0", "label"] == store.clips.at["s1-2", "label"] or of(found, "Identical media") == {}
    across = of(found, "Identical media with different label or speaker")
    assert set(across) == {"s1-0", "s1-2", "s2-1"} and across["s1-0"] == "same as s1-2, s2-1"
    # Two segments of one file are two clips.
    parts = store.clips.assign(start=np.arange(len(store.clips)), end=np.arange(len(store.clips)) + 1.0)
    assert of(findings(parts, frame_intervals(store)), "Identical media with different label or speaker") == {}


def test_identical_clips_of_one_speaker_and_label():
    clips = pd.DataFrame({"sha256": ["a", "a", "b", ""], "label": "x", "speaker": "s"}, index=list("pqrt"))
    clips = clips.assign(
        start=np.nan, end=np.nan, path="f", frames=1, faces=1, video_status="ok", audio_status="ok", video_reason="",
        audio_reason="",
    )  # fmt: skip
    found = findings(clips, pd.DataFrame({"shortest": [], "median": [], "longest": []}))
    assert of(found, "Identical media") == {"p": "same as q", "q": "same as p"}
    assert of(found, "Identical media with different label or speaker") == {}


def test_a_variable_frame_rate_is_more_than_rounded_timestamps(store):
    intervals = pd.DataFrame(
        [(0.016, 0.0167, 0.017), (0.033, 0.04, 0.12)], ["s0-0", "s0-1"], ["shortest", "median", "longest"]
    )
    found = of(findings(store.clips, intervals), "Variable frame rate")
    assert found == {"s0-1": "33 / 40 / 120 ms (shortest, median, longest interval between frames)"}


def test_balance_counts_labels_speakers_and_their_pairs(store):
    found = balance(store.clips)
    assert sum(label["clips"] for label in found["labels"]) == len(store.clips)
    assert sum(label["share"] for label in found["labels"]) == pytest.approx(1)
    assert all(label["speakers"] == 4 for label in found["labels"])
    assert found["per_speaker"] == [6, 6.0, 6]
    for speaker, numbers, total in found["matrix"]:
        own = store.clips[store.clips["speaker"] == speaker]["label"]
        assert numbers == own.value_counts().sort_index().tolist() and total == len(own)


def test_balance_without_speakers_or_labels_or_with_many_speakers(store):
    assert balance(store.clips.assign(speaker=""))["per_speaker"] is None
    nothing = balance(store.clips.assign(label="", speaker=""))
    assert nothing["labels"] == [] and nothing["ratio"] is None and nothing["matrix"] == []
    many = pd.concat([store.clips.assign(speaker=f"s{i}") for i in range(MATRIX + 1)])
    assert balance(many)["matrix"] == []


def test_coverage_by_clip_and_in_bins(store):
    bins = coverage_bins(store.clips)
    assert sum(bin_["clips"] for bin_ in bins) == len(store.clips) - 1  # one has no frame
    rows = clip_rows(store.clips, 5)
    assert [row["id"] for row in rows[:2]] == ["s0-5", "s0-1"] and len(rows) == 5
    assert rows[0]["coverage"] is None and rows[1]["coverage"] == 0
    assert rows[0]["lacks"] == "video: damaged video at 1.180 s"
