"""Tables with offsets of their own in shards, and the table of all faces in the store."""

import h5py
import numpy as np
import pytest

from deepfusion.store import FeatureStore, ShardWriter, read_shard
from deepfusion.store.layout import FOUND
from deepfusion.store.verify import inspect

COUNTS = {"anna/ä-1": 3, "anna/ä-2": 2, "bert/1": 0, "bert/2": 9, "cleo 日本": 1, "cleo/2": 4}


def table(clip, count):
    rng = np.random.default_rng(len(clip))
    return {f"{FOUND}/time": np.sort(rng.random(count)), f"{FOUND}/box": rng.random((count, 4), dtype=np.float32)}


@pytest.fixture
def with_faces(corpus):
    """The corpus with a table of all faces, and that table by clip; a clip that failed has none."""
    for clip, track in corpus.tracks.items():
        if isinstance(track, dict):
            corpus.tracks[clip] = track | table(clip, COUNTS[clip])
    corpus.video["faces"] = corpus.shards("faces", corpus.tracks)
    tables = {clip: table(clip, COUNTS[clip]) for clip in corpus.ids}
    return corpus, tables


def test_a_table_keeps_its_own_lengths(with_faces):
    corpus, tables = with_faces
    for path, clips in zip(corpus.video["faces"], corpus.blocks, strict=True):
        with read_shard(path) as shard, read_shard(path, FOUND) as found:
            assert shard.tables == found.tables == [FOUND] and FOUND not in "".join(shard.columns)
            assert list(found.columns) == ["time", "box"]
            for clip in clips:
                if isinstance(corpus.tracks[clip], dict):
                    np.testing.assert_array_equal(found[clip]["box"], tables[clip][f"{FOUND}/box"], strict=True)
                    assert len(shard[clip]["time"]) == len(corpus.tracks[clip]["time"])
                else:
                    assert len(found[clip]["time"]) == 0
        assert list(inspect(path)) == []


def test_the_store_has_the_table_and_its_reader_does_not_mind(with_faces, finished):
    corpus, tables = with_faces
    path = corpus.build()
    assert list(inspect(path)) == []
    with h5py.File(path) as file:
        group = file[f"video/{FOUND}"]
        for i, clip in enumerate(corpus.ids):
            first, last = group["offsets"][i : i + 2]
            expected = tables[clip][f"{FOUND}/time"] if isinstance(corpus.tracks[clip], dict) else []
            np.testing.assert_array_equal(group["time"][first:last], expected)
        assert group["box"].attrs["stage"] == "faces" and len(group["box"].attrs["content_sha256"]) == 64
        key = file.attrs["key"]
    with FeatureStore(path) as store, FeatureStore(finished.path) as before:
        assert store.keys == before.keys
        np.testing.assert_array_equal(store["bert/1"]["box"], before["bert/1"]["box"])
        assert key != before.attrs["key"]


def test_a_failed_clip_takes_back_its_rows(tmp_path):
    with ShardWriter(tmp_path / "a.h5", stage="faces") as shard:
        shard.column("time")
        shard.column("found/time")
        for clip, rows, found in (("a", 3, 2), ("b", 1, 5), ("c", 4, 0)):
            shard.begin(clip)
            shard.append("time", np.ones(rows))
            shard.append("found/time", np.ones(found))
            if clip == "b":
                shard.fail("broken")
            else:
                shard.end()
    with read_shard(tmp_path / "a.h5") as shard, read_shard(tmp_path / "a.h5", "found") as found:
        assert shard.offsets.tolist() == [0, 3, 3, 7] and found.offsets.tolist() == [0, 2, 2, 2]


def test_columns_of_one_table_must_be_equally_long(tmp_path):
    with pytest.raises(ValueError, match="differ in length"), ShardWriter(tmp_path / "a.h5", stage="faces") as shard:
        for name in ("time", "found/time", "found/score"):
            shard.column(name)
        shard.begin("a")
        shard.append("found/time", np.ones(2))
        shard.append("found/score", np.ones(1))
        shard.end()
