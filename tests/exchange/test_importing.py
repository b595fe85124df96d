"""Features of other tools in a store: exact where they came from it, refused where they do not fit."""

import h5py
import numpy as np
import pytest
from known_store import LENGTHS

from deepfusion.errors import UserError
from deepfusion.exchange import export
from deepfusion.exchange.importing import add_stream
from deepfusion.exchange.read import read
from deepfusion.store import FeatureStore, check_whole
from deepfusion.store.diff import diff
from deepfusion.store.verify import verify


def csd(path, data, root="other"):
    """data: id -> features, intervals."""
    with h5py.File(path, "w") as file:
        for clip, (values, spans) in data.items():
            group = file.create_group(f"{root}/data/{clip.replace('/', '%2F')}")
            group["features"], group["intervals"] = np.asarray(values), np.asarray(spans, float)
    return path


@pytest.fixture(scope="module")
def exported(known, tmp_path_factory):
    folder = tmp_path_factory.mktemp("csd")
    export(known.path, "csd", folder, keys=["EF-A", "AF"])
    return folder


def test_csd_comes_back_as_it_went(known, exported, tmp_path):
    before = known.path.read_bytes()
    out = tmp_path / "more.h5"
    add_stream(known.path, exported / "EF-A.csd", out, name="EF-OTHER", about={"licence": "CC0"})
    assert known.path.read_bytes() == before
    check_whole(out)
    assert not [problem for found in verify([out]) for problem in found.problems]
    with FeatureStore(known.path) as old, FeatureStore(out) as new:
        assert new.networks["EF-OTHER"]["network"] == "EF-A.csd" and new.networks["EF-OTHER"]["licence"] == "CC0"
        assert new.attrs["key"] != old.attrs["key"] and set(new.keys) == {*old.keys, "EF-OTHER"}
        for clip in new:
            np.testing.assert_array_equal(clip["EF-OTHER"], clip["EF-A"])
    found = diff(known.path, out)
    assert found["keys_only_b"] == ["EF-OTHER"] and not found["features"] and not found["table"]


def test_audio_keeps_its_own_times(known, exported, tmp_path):
    # The first clip has no position of the encoder, and an imported stream must have every clip that has audio.
    _, group = "AF", h5py.File(exported / "AF.csd")["AF/data"]
    data = {name.replace("%2F", "/"): (held["features"][:], held["intervals"][:]) for name, held in group.items()}
    data.setdefault(known.ids[0], (np.ones((1, 20), np.float32), [[0, 0.5]]))
    out = tmp_path / "more.h5"
    add_stream(known.path, csd(tmp_path / "af.csd", data), out, name="AX-OTHER")
    with FeatureStore(out) as new:
        assert new.groups["audio/AX-OTHER"] == ["AX-OTHER", "AX-OTHER_time"]
        for id_ in known.ids[1:]:
            clip = new[id_]
            np.testing.assert_array_equal(clip["AX-OTHER"].reshape(-1, 5, 4), clip["AF"])
            np.testing.assert_allclose(clip["AX-OTHER_time"], clip["AF_time"])
        assert len(new["bert/2"]["AX-OTHER"]) == 0  # no audio
    assert not [problem for found in verify([out]) for problem in found.problems]
    add_stream(out, exported / "EF-A.csd", tmp_path / "both.h5", name="EF-MORE")
    with FeatureStore(tmp_path / "both.h5") as both:
        assert {"AX-OTHER", "EF-MORE"} <= set(both.keys)


def test_numpy_files(known, store, tmp_path):
    folder = tmp_path / "npy"
    for clip, length in LENGTHS.items():
        if length:
            (folder / clip).parent.mkdir(parents=True, exist_ok=True)
            np.save(folder / f"{clip}.npy", np.arange(2 * length, dtype=np.float64).reshape(length, 2))
    add_stream(known.path, folder, tmp_path / "a.h5", name="EF-N")
    with FeatureStore(tmp_path / "a.h5") as new:
        clip = new["bert/1"]
        np.testing.assert_array_equal(clip["EF-N"][clip["valid"], 0], 2 * np.flatnonzero(clip["valid"]))
        assert np.isnan(clip["EF-N"][~clip["valid"]]).all()


def test_numpy_files_of_other_lengths(known, store, tmp_path):
    folder = tmp_path / "npz"
    folder.mkdir()
    export(known.path, "npz", tmp_path / "names", keys=["time"])  # files may be called as an export calls them
    for file in (tmp_path / "names/clips").rglob("*.npz"):
        target = folder / file.relative_to(tmp_path / "names/clips")
        target.parent.mkdir(parents=True, exist_ok=True)
        time = np.load(file)["time"]
        if len(time):
            steps = np.arange(time[0], time[-1] + 0.5, 0.5)
            np.savez(target, features=steps[:, None], time=steps)
    add_stream(known.path, folder, tmp_path / "a.h5", name="EF-N")
    with FeatureStore(tmp_path / "a.h5") as new:
        for clip in new:
            there = clip["valid"]
            assert (np.abs(clip["EF-N"][there, 0] - clip["time"][there]) <= 0.2501).all()


def clips_with(store, rows):
    return {
        clip: (rows(store[clip]["time"]), [[t, t + 9] for t in store[clip]["time"]])
        for clip in LENGTHS
        if LENGTHS[clip]
    }


@pytest.mark.parametrize(
    ("change", "settings", "said"),
    [
        (lambda data: data.pop("bert/1"), {}, "lacks 1 of 5 clips of the store, first 'bert/1'"),
        (
            lambda data: data.update({"bert/1": (np.ones((130, 4)), data["bert/1"][1])}),
            {},
            "rows have different lengths: 3, 4",
        ),
        (
            lambda data: data.update({"bert/1": (np.ones((1, 3)), [[-9, -8]])}),
            {},
            "frame of bert/1 is .* away from the nearest",
        ),
        (lambda data: data["bert/1"][0].fill(np.nan), {}, "a row of bert/1 holds NaN or infinity"),
        (
            lambda data: data.update({"bert/1": (np.ones((5, 3)), [[0, 1]])}),
            {},
            r"intervals \(1, 2\) of bert/1 do not fit",
        ),
        (
            lambda data: data["bert/1"][1].__setitem__(7, [np.nan, 1]),
            {},
            "interval 7 of bert/1 is nan to 1 s: give two times",
        ),
        (lambda data: data["bert/1"][1].__setitem__(7, [2, 1]), {}, "interval 7 of bert/1 is 2 to 1 s"),
        (lambda data: None, {"name": "EF-A"}, "--name EF-A: .* has it already"),
        (lambda data: None, {"name": "openface"}, "--name openface: write EF-NAME for features of the video, AX-NAME"),
    ],
)
def test_what_does_not_fit_is_refused(known, store, tmp_path, change, settings, said):
    data = clips_with(store, lambda time: np.ones((len(time), 3)))
    change(data)
    with pytest.raises(UserError, match=said):
        add_stream(known.path, csd(tmp_path / "x.csd", data), tmp_path / "a.h5", **{"name": "EF-N", **settings})
    assert not (tmp_path / "a.h5").exists()


def test_rows_without_times_need_a_shift(known, store, tmp_path):
    for clip in (clip for clip, length in LENGTHS.items() if length):
        (tmp_path / clip).parent.mkdir(exist_ok=True)
        np.save(tmp_path / f"{clip}.npy", np.zeros((int(store[clip]["time"][-1] / 0.5) + 2, 1)))
    with pytest.raises(UserError, match="without times: give --shift, s from row to row"):
        add_stream(known.path, tmp_path, tmp_path / "a.h5", name="EF-N")
    add_stream(known.path, tmp_path, tmp_path / "a.h5", name="EF-N", shift=0.5)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "there is no such file or folder"),
        (lambda path: path.write_text("x"), "cannot be read"),
        (lambda path: h5py.File(path, "w").close(), "is not a computational sequence"),
        (lambda path: path.mkdir(), r"has no file <id>\.npy or <id>\.npz of any clip"),
    ],
)
def test_what_is_no_source(known, tmp_path, make, said):
    make(tmp_path / "x")
    with pytest.raises(UserError, match=said):
        add_stream(known.path, tmp_path / "x", tmp_path / "a.h5", name="EF-N")


def truncated(path):
    """An .npz of which the end is missing."""
    np.savez(path, features=np.zeros((5, 3)), time=np.arange(5))
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("name", "write", "said"),
    [
        ("cleo/2.npy", lambda path: path.touch(), r"cleo/2\.npy is not a whole numpy file of numbers \(EOFError"),
        ("cleo/2.npz", truncated, r"cleo/2\.npz is not a whole numpy file of numbers \(BadZipFile"),
        ("cleo/2.npy", lambda path: np.save(path, np.array([["a"]])), r"cleo/2\.npy has <U1 of shape \(1, 1\)"),
    ],
)
def test_a_file_that_is_not_whole_is_one_line(tmp_path, name, write, said):
    (tmp_path / name).parent.mkdir()
    write(tmp_path / name)
    with pytest.raises(UserError, match=said):
        read(tmp_path, ["cleo/2"])["cleo/2"]


def test_a_clip_without_its_dataset_is_there_and_named(tmp_path):
    with h5py.File(tmp_path / "x.csd", "w") as file:
        file.create_group("other/data/a")["intervals"] = np.zeros((1, 2))
        file["other/data/b"] = 1
    found = read(tmp_path / "x.csd", ["a", "b"])
    assert "a" in found and "c" not in found
    for clip, held in (("a", "intervals"), ("b", "none")):
        with pytest.raises(UserError, match=f"x.csd: {clip} has no dataset 'features'; it has {held}"):
            found[clip]


def test_the_store_is_not_written_over(known, exported):
    with pytest.raises(UserError, match="is the store itself: name another file"):
        add_stream(known.path, exported / "EF-A.csd", known.path, name="EF-N")
