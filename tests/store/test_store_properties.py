"""Properties of shards, ragged operations and stores, on arbitrary clips (hypothesis)."""

import string
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("hypothesis", reason="hypothesis is in the extra dev")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from deepfusion.store import FeatureStore, ShardWriter, build_store, check_whole, read_shard
from deepfusion.store.build import _runs
from deepfusion.store.diff import diff
from deepfusion.store.verify import verify

FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
TYPES = st.sampled_from([np.float16, np.float32, np.float64, np.uint8, np.int64, np.bool_])
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
IDS = st.lists(TEXT.filter(bool), unique=True, max_size=6)


@st.composite
def ragged(draw, dtype=TYPES):
    """Ids, and for each rows (L, ...) or why there are none."""
    kind, shape = np.dtype(draw(dtype)), draw(st.sampled_from([(), (1,), (3, 2), (200,)]))
    ids = draw(IDS)
    rows = arrays.arrays(kind, st.integers(0, 40).map(lambda n: (n, *shape)))
    reasons = TEXT.filter(bool).map(str)
    return kind, shape, {id_: draw(st.one_of(rows, rows, reasons)) for id_ in ids}


def write(path, stage, kind, shape, clips, pieces=1):
    with ShardWriter(path, stage=stage) as shard:
        shard.column("x", shape, kind)
        for id_, content in clips.items():
            shard.begin(id_)
            if isinstance(content, str):
                shard.append("x", np.zeros((2, *shape), kind))
                shard.fail(content)
                continue
            for piece in np.array_split(content, pieces):
                shard.append("x", piece)
            shard.end()
    return path


@FEW
@given(ragged(), st.integers(1, 4))
def test_a_shard_gives_back_what_was_written(case, pieces):
    kind, shape, clips = case
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "s.h5", "t", kind, shape, clips, pieces)
        check_whole(path)
        (report,) = verify([path])
        assert not report.problems
        with read_shard(path) as shard:
            assert shard.clips.index.tolist() == list(clips)
            for id_, content in clips.items():
                if isinstance(content, str):
                    assert shard.clips.at[id_, "reason"] == content and len(shard[id_]["x"]) == 0
                else:
                    np.testing.assert_array_equal(shard[id_]["x"], content, strict=True)


@FEW
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=20))
def test_runs_cover_the_rows_that_are_kept_once_and_in_order(clips):
    lengths, keep = (np.array(column) for column in zip(*clips, strict=True))
    last = np.cumsum(lengths)
    kept = lengths * keep
    rows = pd.DataFrame({"first": last - lengths, "last": last, "to": np.cumsum(kept) - kept})[keep.astype(bool)]
    source = np.arange(last[-1])
    found = np.full(kept.sum(), -1)
    for first, end, to in _runs(rows):
        assert (found[to : to + end - first] == -1).all()
        found[to : to + end - first] = source[first:end]
    np.testing.assert_array_equal(found, np.repeat(keep.astype(bool), lengths).nonzero()[0])


@FEW
@given(
    st.lists(st.text(string.ascii_letters, min_size=1, max_size=5), min_size=1, max_size=6, unique=True),
    st.integers(1, 6),
    st.integers(0, 2**32 - 1),
    st.lists(TEXT, min_size=6, max_size=6),
)
def test_a_store_gives_back_what_was_written_however_it_is_divided(ids, block, seed, notes):
    dice = np.random.default_rng(seed)
    lengths = dice.integers(0, 30, len(ids))
    faces = {id_: dice.integers(0, 2, n).astype(np.uint8) for id_, n in zip(ids, lengths, strict=True)}
    sound = {id_: dice.standard_normal((dice.integers(0, 20), 7)).astype(np.float32) for id_ in ids}
    network = {id_: dice.standard_normal((len(rows), 300)).astype(np.float16) for id_, rows in faces.items()}
    failed = {id_ for id_ in ids if dice.random() < 0.2}
    columns = {"faces": ("reason", (), np.uint8, faces), "EF-A": ("EF-A", (300,), np.float16, network)}
    columns["spectrogram"] = ("spectrogram", (7,), np.float32, sound)
    manifest = pd.DataFrame({"id": ids, "path": "/x/a.mp4", "label": "l", "speaker": "s", "note": notes[: len(ids)]})
    with tempfile.TemporaryDirectory() as name:
        stores = []
        for size in (block, len(ids)):
            folder = Path(name) / str(len(stores))
            paths = {stage: [] for stage in columns}
            for stage, (column, shape, kind, clips) in columns.items():
                for at in range(0, len(ids), size):
                    path = folder / stage / f"{at}.h5"
                    paths[stage].append(path)
                    with ShardWriter(path, stage=stage) as shard:
                        shard.column(column, shape, kind)
                        for id_ in ids[at : at + size]:
                            shard.begin(id_)
                            shard.append(column, clips[id_])
                            shard.fail("no") if stage == "EF-A" and id_ in failed else shard.end()
            stores.append(folder / "features.h5")
            audio = paths.pop("spectrogram")
            build_store(stores[-1], manifest, video=paths, audio=audio, labels=["l"], attrs={})
        assert diff(*stores)["equal"]
        assert not any(report.problems for report in verify([name]))
        with FeatureStore(stores[0]) as store:
            assert store.clips["note"].tolist() == notes[: len(ids)]
            for clip in store:
                np.testing.assert_array_equal(clip["spectrogram"], sound[clip.id], strict=True)
                wanted = network[clip.id][:0] if clip.id in failed else network[clip.id]
                np.testing.assert_array_equal(clip["EF-A"], wanted, strict=True)
                np.testing.assert_array_equal(clip["valid"], (faces[clip.id] == 0)[: len(wanted)], strict=True)
