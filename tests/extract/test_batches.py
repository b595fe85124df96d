"""Crops of many clips in full batches: every row comes to its own place, whatever becomes of the clips around it."""

import numpy as np
import pytest

from deepfusion.extract.batches import Batches
from deepfusion.store.shard import ShardWriter, read_shard

BATCH, DIMENSION = 8, 3


def crop(number: int) -> np.ndarray:
    """A crop that carries a number."""
    return np.full((2, 2, 3), [number & 255, number >> 8, 7], np.uint8)


class Network:
    """Gives a crop's number and what follows from it; keeps how many crops came at a time."""

    def __init__(self):
        self.sizes: list[int] = []

    def __call__(self, crops):
        assert crops.dtype == np.uint8
        self.sizes.append(len(crops))
        numbers = crops[:, 0, 0].astype(np.float32) @ np.array([1, 256, 0], np.float32)
        return np.stack([numbers, -numbers, numbers / 4], axis=1)


@pytest.fixture
def made(tmp_path):
    """Runs `work` on a shard; gives back the finished shard and the network."""

    def run(work, *, features=None, dtype="float32"):
        network = features or Network()
        path = tmp_path / "EF-A.h5"
        with ShardWriter(path, stage="EF-A", key="") as shard:
            shard.column("EF-A", (DIMENSION,), dtype)
            batches = Batches(network, batch=BATCH, shard=shard, column="EF-A", dimension=DIMENSION, dtype=dtype)
            work(batches)
            batches.finish()
        return read_shard(path), network

    return run


@pytest.mark.parametrize("seed", range(8))
def test_any_order_of_good_bad_short_and_faceless_clips(made, seed):
    rng = np.random.default_rng(seed)
    number, wanted = 0, {}

    def work(batches):
        nonlocal number
        for i in range(30):
            batches.begin(f"clip-{i}")
            rows = []
            for _ in range(rng.integers(0, 4)):
                valid = rng.random(rng.integers(1, 12)) < rng.choice([0, 0.5, 1])
                numbers = np.where(valid, number + np.cumsum(valid), np.nan)
                batches.rows(valid, [crop(int(n)) for n in numbers[valid]])
                number += valid.sum()
                rows.append(numbers)
            bad = rng.random() < 0.3
            wanted[f"clip-{i}"] = None if bad else np.concatenate([*rows, []])
            if bad:
                batches.fail(f"reason {i}")
            else:
                batches.end()

    shard, network = made(work)
    assert list(shard.clips.index) == list(wanted)
    for name, numbers in wanted.items():
        if numbers is None:
            assert shard.clips.loc[name, ["status", "reason"]].tolist() == ["failed", f"reason {name[5:]}"]
            assert len(shard[name]["EF-A"]) == 0
        else:
            assert shard.clips.loc[name, "status"] == "ok"
            expected = np.stack([numbers, -numbers, numbers / 4], axis=1)
            assert np.array_equal(shard[name]["EF-A"], expected, equal_nan=True)
    assert set(network.sizes[:-1]) <= {BATCH}  # full, but for the last
    assert len(network.sizes) > 5


def test_what_is_not_a_number_fails_its_own_clip(made):
    class Overflowing(Network):
        def __call__(self, crops):
            features = super().__call__(crops)
            features[features[:, 0] == 5] = 1e6  # beyond float16
            return features

    def work(batches):
        for i in range(4):  # three crops each: all in two batches
            batches.begin(f"clip-{i}")
            for k in range(3):
                batches.rows(np.array([True, False]), [crop(3 * i + k)])
            batches.end()

    shard, _ = made(work, features=Overflowing(), dtype="float16")
    assert shard.clips["status"].tolist() == ["ok", "failed", "ok", "ok"]
    assert "EF-A: a feature is not a finite float16" in shard.clips.loc["clip-1", "reason"]
    assert shard["clip-2"]["EF-A"][::2, 0].tolist() == [6, 7, 8]


def test_status_of_an_earlier_stage_is_passed_on(made):
    def work(batches):
        batches.begin("voice")
        batches.end(status="absent", reason="the file has no picture")

    shard, network = made(work)
    assert shard.clips.loc["voice", ["status", "reason"]].tolist() == ["absent", "the file has no picture"]
    assert network.sizes == []


def test_a_long_clip_is_written_while_it_comes(tmp_path):
    path = tmp_path / "EF-A.h5"
    with ShardWriter(path, stage="EF-A", key="") as shard:
        shard.column("EF-A", (DIMENSION,), "float32")
        batches = Batches(Network(), batch=BATCH, shard=shard, column="EF-A", dimension=DIMENSION, dtype="float32")
        batches.begin("long")
        written = []
        for first in range(0, 600, 6):
            batches.rows(np.ones(6, bool), [crop(first + i) for i in range(6)])
            written.append(len(shard._columns["EF-A"]))
        assert all(first + 6 - there < 6 + BATCH for first, there in zip(range(0, 600, 6), written, strict=True))
        batches.end()
        batches.finish()
    with read_shard(path) as done:
        assert done["long"]["EF-A"][:, 0].tolist() == list(range(600))
