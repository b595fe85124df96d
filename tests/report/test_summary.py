"""The summary of a store: what is done, what failed, what lacks a face, and why."""

from dataclasses import replace

import numpy as np
import pytest
from small_store import make_clips, without, write_store

from deepfusion.report.summary import coverage, store_summary
from deepfusion.store import FeatureStore


def covered(clip, faces, frames=8):
    """The clip with so many frames, the first of which have a face."""
    return replace(clip, faces=np.zeros((frames, 7), np.float32), valid=np.arange(frames) < faces)


def made(folder, change=lambda clips: clips):
    folder.mkdir(exist_ok=True)
    clips = [covered(clip, 8) for clip in make_clips()]
    return FeatureStore(write_store(folder, change(clips)))


def spoilt(clips):
    clips[1] = covered(clips[1], 0)
    clips[2] = covered(clips[2], 3)
    clips[3] = covered(clips[3], 4)  # half: not fewer
    clips[4] = without(covered(clips[4], 0), "audio")
    clips[5] = replace(clips[5], failed="damaged video at 1.180 s")
    clips[6] = replace(clips[6], note="channels cancel: channel 1 taken")
    return clips


def test_everything_that_lacks_something_is_listed_with_its_reason(tmp_path):
    with made(tmp_path / "corpus", spoilt) as store:
        lines = store_summary(store).splitlines()
    assert lines[:6] == [
        "24 clips, 4 speakers, 2 classes; face features EF-A, EF-B",
        "clips per class: even 12, odd 12",
        "video: 23 done, 1 failed, 0 absent",
        "audio: 23 done, 0 failed, 1 absent",
        "frames: 184, with the followed person's face: 159 (86.4%); mean of the clips 86.4%",
        "clips without a face: 2; with a face in fewer than half of their frames: 1",
    ]
    assert [line.split(maxsplit=2) for line in lines[6:11]] == [
        ["clip", "coverage", "what it lacks"],
        ["s0-1", "0.0%", "no face in any of 8 frames"],
        ["s0-2", "37.5%", "a face in 3 of 8 frames"],
        ["s0-4", "0.0%", "no face in any of 8 frames; audio absent: the file has no audio"],
        ["s0-5", "video", "failed: damaged video at 1.180 s"],
    ]
    assert lines[11].split() == ["clip", "note", "on", "the", "audio"]
    assert lines[12].split(maxsplit=1) == ["s1-0", "channels cancel: channel 1 taken"]
    path = tmp_path / "corpus" / "features.h5"
    assert lines[13:] == [f"store: {path} (`deepfusion info {path}` lists all)"]


def test_a_whole_corpus_has_no_list_and_names_its_logs(tmp_path):
    (tmp_path / "corpus" / "logs").mkdir(parents=True)
    with made(tmp_path / "corpus") as store:
        lines = store_summary(store).splitlines()
        assert coverage(store.clips).eq(1).all()
    assert len(lines) == 7 and lines[-1].endswith(f"; logs: {tmp_path / 'corpus' / 'logs'}")


@pytest.mark.parametrize(("listed", "shown"), [(0, 0), (5, 5), (20, 20), (None, 24)])
def test_the_list_is_as_long_as_wanted_and_counts_the_rest(tmp_path, listed, shown):
    with made(tmp_path / "corpus", lambda clips: [covered(clip, 0) for clip in clips]) as store:
        text = store_summary(store, listed=listed)
    assert text.count("no face in any of 8 frames") == shown
    assert ("... and" in text) == (0 < shown < 24) and (
        shown < 1 or shown == 24 or f"... and {24 - shown} more" in text
    )
    assert "clips without a face: 24" in text


def test_features_alone_need_neither_labels_nor_speakers(tmp_path):
    def anonymous(clips):
        return [replace(clip, label="", speaker="") for clip in clips]

    with made(tmp_path / "corpus", anonymous) as store:
        assert store_summary(store).startswith("24 clips, no speakers given, no classes given; face features")


def test_without_any_frame_there_is_no_share(tmp_path):
    with made(tmp_path / "corpus", lambda clips: [replace(clip, failed="no packets") for clip in clips]) as store:
        text = store_summary(store)
    assert "frames: 0, with the followed person's face: 0\n" in text and "video: 0 done, 24 failed, 0 absent" in text
