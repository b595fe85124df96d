"""Shards: what is written is read, misuse is refused, and nothing half-made takes the name of a shard."""

import h5py
import numpy as np
import pytest

from deepfusion.errors import UserError
from deepfusion.store import DamagedError, ShardWriter, read_shard


def rows(n, width=3, dtype=np.float32):
    return np.arange(n * width).reshape(n, width).astype(dtype)


def simple(path, *lengths):
    """A shard with a column "x" and clips "0", "1", ... of these lengths."""
    with ShardWriter(path, stage="test", attrs={"rate": 16000}) as shard:
        shard.column("x", (3,), units="px")
        for i, length in enumerate(lengths):
            shard.begin(str(i))
            shard.append("x", rows(length) + i)
            shard.end()
    return path


def parts(folder):
    return list(folder.glob("*.part"))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8])
@pytest.mark.parametrize("lengths", [(), (0,), (1,), (0, 0, 0), (5, 0, 1), (2000, 3, 0, 700)])
@pytest.mark.parametrize("shape", [(), (4,), (68, 2)])
def test_ragged_round_trip(tmp_path, dtype, lengths, shape):
    rng = np.random.default_rng(len(lengths))
    wanted = {f"clip {i} — é": (rng.random((n, *shape)) * 9).astype(dtype) for i, n in enumerate(lengths)}
    with ShardWriter(tmp_path / "s.h5", stage="é", key="k1", attrs={"a": 1.5, "b": [1, 2], "c": "ü"}) as shard:
        shard.column("x", shape, dtype, units="px")
        shard.column("n", (), np.int64)
        for clip, values in wanted.items():
            shard.begin(clip)
            for piece in np.array_split(values, 4):
                shard.append("x", piece)
            shard.append("n", np.arange(len(values)))
            shard.end()
    with read_shard(tmp_path / "s.h5") as shard:
        assert shard.stage == "é" and shard.key == "k1" and shard.attrs == {"a": 1.5, "b": [1, 2], "c": "ü"}
        assert list(shard.clips.index) == list(wanted) and shard.columns["x"].attrs["units"] == "px"
        assert shard.columns["x"].dtype == dtype
        for clip, values in wanted.items():
            np.testing.assert_array_equal(shard[clip]["x"], values)
            np.testing.assert_array_equal(shard[clip]["n"], np.arange(len(values)))


def test_failed_clip_leaves_no_rows(tmp_path):
    with ShardWriter(tmp_path / "s.h5", stage="t") as shard:
        shard.column("x", (3,))
        shard.column("y")
        shard.begin("a")
        shard.append("x", rows(2))
        shard.append("y", np.ones(2))
        shard.end()
        shard.begin("b")
        shard.append("x", rows(3000))
        shard.append("y", np.ones(7))
        shard.fail("Bild kaputt: 'ä\0\udcff.mp4'")
        shard.begin("c")
        shard.append("x", rows(1) + 50)
        shard.append("y", np.zeros(1))
        shard.end()
    with read_shard(tmp_path / "s.h5") as shard:
        assert shard.clips["status"].tolist() == ["ok", "failed", "ok"]
        assert shard.clips["reason"].tolist() == ["", r"Bild kaputt: 'ä\udcff.mp4'", ""]
        assert shard.offsets.tolist() == [0, 2, 2, 3]
        np.testing.assert_array_equal(shard.columns["x"][:], np.concatenate([rows(2), rows(1) + 50]))
        np.testing.assert_array_equal(shard.columns["y"][:], [1, 1, 0])


def test_all_clips_failed_or_absent(tmp_path):
    with ShardWriter(tmp_path / "s.h5", stage="t") as shard:
        shard.column("x", (3,))
        shard.begin("a")
        shard.fail("no")
        shard.begin("b")
        shard.end(status="absent", reason="no video stream")
    with read_shard(tmp_path / "s.h5") as shard:
        assert shard.clips["status"].tolist() == ["failed", "absent"]
        assert shard["b"]["x"].shape == (0, 3)


def test_fields(tmp_path):
    with ShardWriter(tmp_path / "s.h5", stage="t") as shard:
        shard.begin("a")
        shard.end(start=1.5, n=3, note="ü")
        shard.begin("b")
        shard.end(n=4)
    with read_shard(tmp_path / "s.h5") as shard:
        np.testing.assert_array_equal(shard.clips["start"], [1.5, np.nan])
        assert shard.clips["n"].tolist() == [3, 4] and shard.clips["n"].dtype == np.int64
        assert shard.clips["note"].tolist() == ["ü", ""]


def duplicate(shard):
    shard.begin("0")


def unequal(shard):
    shard.begin("new")
    shard.append("x", rows(2))
    shard.append("y", np.ones(3))
    shard.end()


def late_column(shard):
    shard.column("z")


def wrong_shape(shard):
    shard.begin("new")
    shard.append("x", rows(2, width=4))


def rows_though_absent(shard):
    shard.begin("new")
    shard.append("x", rows(2))
    shard.end(status="absent", reason="no video stream")


def no_reason(shard):
    shard.begin("new")
    shard.end(status="failed")


def unknown_status(shard):
    shard.begin("new")
    shard.end(status="fine", reason="x")


def two_at_once(shard):
    shard.begin("new")
    shard.begin("newer")


def append_outside(shard):
    shard.append("x", rows(1))


def end_outside(shard):
    shard.end()


def never_ended(shard):
    shard.begin("new")


def reserved_field(shard):
    shard.begin("new")
    shard.fail("x", status="ok")


MISUSES = [duplicate, unequal, late_column, wrong_shape, rows_though_absent, no_reason, unknown_status, two_at_once]
MISUSES += [append_outside, end_outside, never_ended, reserved_field]


@pytest.mark.parametrize("misuse", MISUSES)
def test_misuse_is_refused_and_the_earlier_shard_stays(tmp_path, misuse):
    path = simple(tmp_path / "s.h5", 2, 3)
    before = path.read_bytes()
    with pytest.raises(ValueError), ShardWriter(path, stage="test") as shard:
        shard.column("x", (3,))
        shard.column("y")
        shard.begin("0")
        shard.append("x", rows(1))
        shard.append("y", np.ones(1))
        shard.end()
        misuse(shard)
    assert path.read_bytes() == before and not parts(tmp_path)


def test_what_it_cost_is_kept_and_its_seconds_are_those_of_the_clips(tmp_path):
    with ShardWriter(tmp_path / "s.h5", stage="t") as shard:
        shard.column("time", (), np.float64)
        for clip, times in {"a": [0.0, 0.1, 0.3], "b": [], "c": [7.0], "d": [1.0, 1.5]}.items():
            shard.begin(clip)
            shard.append("time", np.array(times))
            shard.end()
        shard.begin("e")
        shard.append("time", np.arange(9.0))
        shard.fail("broken")
        assert (shard.clips, shard.rows) == (5, 6)
        assert shard.seconds() == pytest.approx(0.45 + 1.0)  # a row more than lies between first and last; one alone: 0
        shard.cost(part="t", wall_s=2.5, device="cpu")
        shard.cost(part="u", wall_s=1, device="cpu")
    with read_shard(tmp_path / "s.h5") as read:
        assert read.ledger.to_dict("list") == {"part": ["t", "u"], "wall_s": [2.5, 1.0], "device": ["cpu", "cpu"]}
        assert read.seconds() == pytest.approx(1.45)
        assert list(read.columns) == ["time"]


def test_a_shard_that_was_not_measured_has_an_empty_ledger(tmp_path):
    with read_shard(simple(tmp_path / "s.h5", 2)) as read:
        assert read.ledger.empty
        assert read.seconds() == 0


@pytest.mark.parametrize("name", ["clips", "offsets", "ledger"])
def test_reserved_column(tmp_path, name):
    with pytest.raises(ValueError, match="reserved"), ShardWriter(tmp_path / "s.h5", stage="t") as shard:
        shard.column(name)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_exception_leaves_nothing_new(tmp_path, error):
    with pytest.raises(error), ShardWriter(tmp_path / "s.h5", stage="t"):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_not_visible_before_it_is_complete(tmp_path):
    path = tmp_path / "new folder" / "s.h5"
    with ShardWriter(path, stage="t"):
        assert not path.exists() and len(parts(path.parent)) == 1
    assert path.exists() and not parts(path.parent)


def test_leftovers_of_a_killed_run_are_cleared_and_those_of_others_kept(tmp_path):
    for name in ["s.h5.0123abcd.part", "s.h5x.part", "t.h5.0123abcd.part"]:
        (tmp_path / name).write_bytes(b"rubbish")
    simple(tmp_path / "s.h5", 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.h5", "s.h5x.part", "t.h5.0123abcd.part"]


def test_file_that_is_not_what_it_should_be_never_gets_the_name(tmp_path):
    path = simple(tmp_path / "s.h5", 2)
    before = path.read_bytes()
    with pytest.raises(UserError, match="rows where offsets say"), ShardWriter(path, stage="t") as shard:
        shard.column("x", (3,))
        shard.begin("a")
        shard.end()
        shard._file["x"].resize(1, axis=0)  # as if a write had gone astray
    assert path.read_bytes() == before and not parts(tmp_path)


def test_chunks_are_of_a_sensible_size(tmp_path):
    with ShardWriter(tmp_path / "s.h5", stage="t") as shard:
        for name, shape in {"x": (4096,), "y": (128,), "z": (), "w": (10**6,)}.items():
            shard.column(name, shape)
    with read_shard(tmp_path / "s.h5") as shard:
        assert {name: data.chunks[0] for name, data in shard.columns.items()} == {"x": 2, "y": 64, "z": 1024, "w": 1}


def truncated(path):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path):
    path.write_bytes(b"")


def no_hdf5(path):
    path.write_text("hello")


def absent(path):
    path.unlink()


def foreign(path):
    path.unlink()
    with h5py.File(path, "w") as file:
        file["x"] = [1]


def newer(path):
    with h5py.File(path, "r+") as file:
        file.attrs["layout_version"] = 3


def shorter(path):
    with h5py.File(path, "r+") as file:
        file["x"].resize(4, axis=0)


def fewer_clips(path):
    with h5py.File(path, "r+") as file:
        del file["offsets"]
        file["offsets"] = [0, 5]


def backwards(path):
    with h5py.File(path, "r+") as file:
        file["offsets"][:] = [0, 6, 5]


def column_lost(path):
    with h5py.File(path, "r+") as file:
        del file["x"]


def table_lost(path):
    with h5py.File(path, "r+") as file:
        del file["clips"]


DAMAGES = [truncated, empty, no_hdf5, absent, foreign, newer, shorter, fewer_clips, backwards, column_lost, table_lost]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_one_clear_line(tmp_path, damage):
    path = simple(tmp_path / "s.h5", 2, 3)
    damage(path)
    with pytest.raises((UserError, DamagedError), match=r"s\.h5") as error:
        read_shard(path)
    assert "\n" not in str(error.value)
