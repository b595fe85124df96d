"""Each format as its own readers read it, and nothing lost on the way."""

import gzip
import json
import pickle
import subprocess
import sys
from urllib.parse import unquote

import h5py
import numpy as np
import pandas as pd
import pytest
from known_store import LENGTHS, Corpus

from deepfusion.errors import UserError
from deepfusion.exchange import export, known_formats
from deepfusion.exchange.tables import features, intervals, parts, time_of
from deepfusion.store import FeatureStore
from deepfusion.store.derived import Derived

FORMATS = ["csd", "csv", "hf", "lhotse", "mmsa", "npz", "openface", "parquet", "pyfeat"]
SEEN = [clip for clip, length in LENGTHS.items() if length]


def equal(found, wanted):
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)


def frames_of(folder):
    """clips.csv, and the tables of frames by id."""
    clips = pd.read_csv(folder / "clips.csv", keep_default_na=False)
    return {clip.id: pd.read_csv(folder / clip.file) for clip in clips.itertuples() if clip.file}


def test_formats():
    assert known_formats() == FORMATS


def test_what_has_the_same_times(store):
    assert {group: set(keys) & {"EF-A", "spectrogram", "AF"} for group, keys in store.groups.items()} == {
        "video": {"EF-A"},
        "audio": {"spectrogram"},
        "audio/AF": {"AF"},
    }
    assert [time_of(store, key) for key in ("EF-A", "spectrogram", "AF")] == ["time", "audio_time", "AF_time"]
    assert set(features(store, None)) == {*("box", "landmarks", "score", "EF-A", "EF-B", "EF-VGG", "spectrogram", "AF")}


def test_csv_has_a_row_per_frame(known, tmp_path):
    export(known.path, "csv", tmp_path, keys=["EF-B", "landmarks"])
    tables = frames_of(tmp_path)
    assert list(tables) == SEEN
    for clip, table in tables.items():
        rows = known.expected[clip]
        assert table.columns[:5].tolist() == ["frame", "face_id", "timestamp", "confidence", "success"]
        assert table["frame"].tolist() == list(range(len(rows["time"])))
        np.testing.assert_allclose(table["timestamp"], rows["time"], atol=1e-6)
        assert table["success"].astype(bool).tolist() == rows["valid"].tolist()
        np.testing.assert_allclose(table[["EF-B_0", "EF-B_1", "EF-B_2"]], rows["EF-B"], atol=1e-6)
        np.testing.assert_allclose(table["y_67"], rows["landmarks"][:, 67, 1], atol=1e-6)
        nobody = table[table["success"].eq(0)]
        assert nobody[["FaceRectX", "anger", "EF-B_0", "x_0"]].isna().all().all()
    text = (tmp_path / "clips.csv").read_text()
    assert "anna/ä-2" in text and "kein Bild" in text


def test_csv_takes_what_has_a_row_per_frame(known, tmp_path):
    with pytest.raises(UserError, match="--keys spectrogram: a table of frames holds keys with one row per frame"):
        export(known.path, "csv", tmp_path, keys=["spectrogram"])


def test_openface_scripts_read_it(known, tmp_path):
    export(known.path, "openface", tmp_path)
    table = frames_of(tmp_path)["bert/1"]
    assert table.columns[:6].tolist() == ["frame", "face_id", "timestamp", "confidence", "success", "x_0"]
    assert table["frame"].iloc[0] == 1 and len(table.columns) == 5 + 2 * 68
    good = table[table["success"].eq(1) & table["confidence"].gt(0)]
    wanted = known.expected["bert/1"]
    np.testing.assert_allclose(good["x_30"], wanted["landmarks"][wanted["valid"], 30, 0], atol=1e-6)


def test_pyfeat_has_its_names(known, tmp_path):
    export(known.path, "pyfeat", tmp_path)
    table = frames_of(tmp_path)["bert/1"]
    assert table.columns[:5].tolist() == ["FaceRectX", "FaceRectY", "FaceRectWidth", "FaceRectHeight", "FaceScore"]
    assert {"x_0", "y_67", "Pitch", "Roll", "Yaw", "happiness", "neutral"} <= set(table)
    assert table["input"].eq("2.mp4").all() and table["frame"].iloc[0] == 0 and table["Identity"].iloc[0] == "Person_0"
    np.testing.assert_allclose(table["approx_time"], known.expected["bert/1"]["time"], atol=1e-6)


def test_emotions_and_pose_are_written_where_the_store_has_them(known, tmp_path):
    def derived(name, size):
        return Derived(name, ("box",), (size,), lambda rows: rows["box"][:, :1] * 0 + np.arange(size) / size)

    path = known.build(tmp_path / "more.h5", derived=[derived("emotion", 7), derived("pose", 3)])
    export(path, "pyfeat", tmp_path / "fex")
    table = frames_of(tmp_path / "fex")["bert/1"]
    seen = known.expected["bert/1"]["valid"]
    np.testing.assert_allclose(table["neutral"][seen], 6 / 7, atol=1e-6)
    assert table["Yaw"][seen].eq(0).all() and table[["neutral", "Yaw"]][~seen].isna().all().all()
    export(path, "csv", tmp_path / "csv")
    assert frames_of(tmp_path / "csv")["bert/1"]["sadness"][seen].notna().all()


def test_npz_loses_nothing(known, store, tmp_path):
    export(known.path, "npz", tmp_path)
    clips = pd.read_csv(tmp_path / "clips.csv", keep_default_na=False)
    assert clips["id"].tolist() == known.ids and clips["file"].is_unique
    for clip in clips.itertuples():
        with np.load(tmp_path / clip.file) as held:
            assert set(held) == set(store.keys)
            for key in held:
                equal(held[key], store[clip.id][key])
    assert json.loads((tmp_path / "store.json").read_text())["keys"]["EF-A"]["licence"] == "MIT"


def test_mmsa_has_three_padded_parts(known, store, tmp_path):
    export(known.path, "mmsa", tmp_path)
    data = pickle.loads((tmp_path / "features.pkl").read_bytes())
    assert {name: len(part["id"]) for name, part in data.items()} == {"train": 2, "valid": 2, "test": 2}
    assert sorted(id_ for part in data.values() for id_ in part["id"]) == sorted(known.ids)
    speakers = [{id_.split("/")[0].split()[0] for id_ in part["id"]} for part in data.values()]
    assert not speakers[0] & speakers[1] and not speakers[0] & speakers[2]
    for part in data.values():
        for i, id_ in enumerate(part["id"]):
            clip = store[id_]
            valid = clip["valid"]
            wanted = np.concatenate([clip[key][valid] for key in ("EF-A", "EF-B", "EF-VGG")], axis=1)
            length = part["vision_lengths"][i]
            equal(part["vision"][i, :length], wanted)
            assert not part["vision"][i, length:].any() and np.isfinite(part["vision"]).all()
            equal(part["vision_time"][i], clip["time"][valid])
            equal(part["audio"][i, : part["audio_lengths"][i]], clip["spectrogram"])
        assert part["annotations"] == [store.labels[int(n)] for n in part["regression_labels"]]
        assert part["text"].shape == (len(part["id"]), 1, 1)


def test_parts_keep_to_the_split_and_the_folds(known, tmp_path):
    for column, values, wanted in (
        (
            "split",
            ["train", "train", "val", "val", "test", "test"],
            ["train", "train", "valid", "valid", "test", "test"],
        ),
        ("fold", list("112233"), ["test", "test", "valid", "valid", "train", "train"]),
    ):
        path = known.build(tmp_path / f"{column}.h5", manifest=known.manifest.assign(**{column: values}))
        with FeatureStore(path) as store:
            assert parts(store).tolist() == wanted
    path = known.build(tmp_path / "nobody.h5", manifest=known.manifest.assign(speaker=""))
    with FeatureStore(path) as store, pytest.raises(UserError, match="need a split, folds or three speakers"):
        parts(store)


def read_csd(path):
    """As CMU-MultimodalSDK's read_CSD does it."""
    with h5py.File(path, "r") as file:
        (root,) = file.keys()
        metadata = {name: json.loads(held[0]) for name, held in file[root]["metadata"].items()}
        data = {name: (held["features"][:], held["intervals"][:]) for name, held in file[root]["data"].items()}
    return root, metadata, {unquote(name): rows for name, rows in data.items()}


def test_csd_has_features_and_intervals(known, store, tmp_path):
    export(known.path, "csd", tmp_path)
    root, metadata, data = read_csd(tmp_path / "EF-A.csd")
    assert root == metadata["root name"] == "EF-A" and metadata["featureset bib citation"] == "Someone, 2018"
    assert {"dimension names", "alignment compatible", "dataset version", "contact"} <= set(metadata)
    assert list(data) == SEEN
    for clip, (values, spans) in data.items():
        equal(values, store[clip]["EF-A"])
        equal(spans[:, 0], store[clip]["time"])
        assert (spans[:, 1] > spans[:, 0]).all() and (spans[:-1, 1] == spans[1:, 0]).all()
    _, _, data = read_csd(tmp_path / "AF.csd")
    for clip, (values, spans) in data.items():
        equal(values.reshape(-1, 5, 4), store[clip]["AF"])
        np.testing.assert_allclose(spans.mean(1), store[clip]["AF_time"])
    _, _, labels = read_csd(tmp_path / "labels.csd")
    assert {clip: store.labels[int(values[0, 0])] for clip, (values, _) in labels.items()} == {
        clip: store.clips.at[clip, "label"] for clip in labels
    }


def test_intervals_meet_without_a_gap():
    assert intervals(np.zeros(0), centred=False).shape == (0, 2)
    assert intervals(np.array([1.0, 1.5, 3.0]), centred=False).tolist() == [[1, 1.5], [1.5, 3], [3, 4]]
    assert intervals(np.array([0.5, 1.5]), centred=True).tolist() == [[0, 1], [1, 2]]


def test_parquet_loses_nothing(known, store, tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is in the extra export")
    import pyarrow.parquet as pq

    export(known.path, "parquet", tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{n}.parquet" for n in ("clips", "video", "audio", "audio-AF")
    }
    pd.testing.assert_frame_equal(
        pd.read_parquet(tmp_path / "clips.parquet").set_index("id"), store.clips, check_dtype=False
    )
    for name in ("video", "audio", "audio-AF"):
        table = pq.read_table(tmp_path / f"{name}.parquet")
        ids = np.array(table["id"].to_pylist())
        for field in (field for field in table.schema if field.name != "id"):
            shape = json.loads(field.metadata[b"shape"])
            column = table[field.name].combine_chunks()
            values = (column.flatten() if shape else column).to_numpy(zero_copy_only=False).reshape(-1, *shape)
            for clip in known.ids:
                equal(values[ids == clip], store[clip][field.name])
    frames = pd.read_parquet(tmp_path / "video.parquet", columns=["id", "time", "valid"])
    assert frames.groupby("id")["valid"].sum()["bert/1"] == store.clips.at["bert/1", "faces"]


def test_some_keys_in_parquet(known, tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is in the extra export")
    export(known.path, "parquet", tmp_path, keys=["EF-A"])
    assert {path.name for path in tmp_path.iterdir()} == {"clips.parquet", "video.parquet"}
    assert pd.read_parquet(tmp_path / "video.parquet").columns.tolist() == ["id", "time", "EF-A"]


def test_hf_datasets_loads_the_folder(known, store, tmp_path):
    datasets = pytest.importorskip("datasets", reason="datasets is in the extra dev")
    export(known.path, "hf", tmp_path / "mine")
    found = datasets.load_dataset(str(tmp_path / "mine"), cache_dir=str(tmp_path / "cache"))
    assert list(found) == ["train"] and found["train"]["id"] == known.ids
    for row in found["train"]:
        clip = store[row["id"]]
        for key in ("time", "EF-A", "landmarks", "valid", "spectrogram", "AF"):
            values = np.asarray(row[key], clip[key].dtype).reshape(clip[key].shape)
            np.testing.assert_array_equal(values, clip[key])
    text = (tmp_path / "mine/README.md").read_text()
    assert text.startswith("---\npretty_name: six clips\n") and "| `EF-A` | L x 6 | px | a EF-A |" in text


def test_hf_has_a_file_per_split(known, tmp_path):
    pytest.importorskip("pyarrow", reason="pyarrow is in the extra export")
    path = known.build(
        tmp_path / "s.h5", manifest=known.manifest.assign(split=["train"] * 2 + ["val"] * 2 + ["test"] * 2)
    )
    export(path, "hf", tmp_path / "mine", keys=["EF-A"])
    names = {file.name for file in (tmp_path / "mine/data").iterdir()}
    assert names == {f"{name}-00000-of-00001.parquet" for name in ("train", "validation", "test")}
    table = pd.read_parquet(tmp_path / "mine/data/validation-00000-of-00001.parquet")
    assert table["id"].tolist() == known.ids[2:4] and set(table) >= {"time", "EF-A", "valid", "label"}


def test_lhotse_reads_the_cuts(known, store, tmp_path):
    lhotse = pytest.importorskip("lhotse", reason="lhotse is in the extra dev")
    export(known.path, "lhotse", tmp_path)
    cuts = lhotse.CutSet.from_file(tmp_path / "cuts.jsonl.gz")
    assert {cut.id for cut in cuts} == set(known.ids)
    for cut in cuts:
        clip = store[cut.id]
        (supervision,) = cut.supervisions
        assert supervision.speaker == store.clips.at[cut.id, "speaker"]
        assert supervision.custom["emotion"] == store.clips.at[cut.id, "label"]
        for key in ("EF-A", "time", "valid", "AF", "audio_time"):
            if len(clip[key]):
                equal(getattr(cut, f"load_{key.replace('-', '_')}")(), clip[key])
        if len(clip["spectrogram"]):
            equal(cut.load_features(), clip["spectrogram"])


def test_a_cut_is_as_long_as_its_clip_wherever_its_clock_starts(tmp_path):
    corpus = Corpus(tmp_path)
    late = {**corpus.tracks["bert/1"], "time": 100 + np.arange(130) / 25}
    corpus.video["faces"] = corpus.shards("faces", {**corpus.tracks, "bert/1": late})
    corpus.sounds["bert/1"]["time"] += 100
    corpus.audio = corpus.shards("spectrogram", corpus.sounds, {"rate": 16000, "bins": 200, "floor_db": -100.0})
    export(corpus.build(), "lhotse", tmp_path / "out", keys=["EF-A", "spectrogram"])
    lines = gzip.decompress((tmp_path / "out/cuts.jsonl.gz").read_bytes()).decode().splitlines()
    (cut,) = [cut for cut in map(json.loads, lines) if cut["id"] == "bert/1"]
    assert cut["duration"] == pytest.approx(130 / 25 + 0.005) and cut["start"] == 0
    assert cut["custom"]["clock_start"] == pytest.approx(99.995)  # the first window of the spectrogram
    assert cut["custom"]["EF_A"]["frame_shift"] == pytest.approx(cut["duration"] / 130)
    assert cut["supervisions"][0]["duration"] == cut["features"]["duration"] == cut["duration"]


def test_the_cuts_are_json_lines(known, tmp_path):
    export(known.path, "lhotse", tmp_path, keys=["EF-A"])
    lines = gzip.decompress((tmp_path / "cuts.jsonl.gz").read_bytes()).decode().splitlines()
    assert len(lines) == len(SEEN)  # of the others nothing is there
    cut = json.loads(lines[0])
    array = cut["custom"]["EF_A"]["array"]
    assert cut["type"] == "MonoCut" and array["shape"] == [5, 6] and "features" not in cut
    assert (tmp_path / "arrays" / array["storage_key"]).is_file() and cut["custom"]["time"]["frame_shift"] > 0


@pytest.mark.parametrize(
    ("to", "keys", "said"),
    [
        ("arff", None, "--to arff: no such format; there are csd, csv, hf, lhotse"),
        ("npz", ["EF-Z"], "has no 'EF-Z'; it has time, "),
        ("mmsa", ["EF-A"], "takes keys of the video and keys of one kind of audio rows"),
    ],
)
def test_what_cannot_be_exported(known, tmp_path, to, keys, said):
    with pytest.raises(UserError, match=said):
        export(known.path, to, tmp_path, keys=keys)


def test_a_file_is_no_folder(known, tmp_path):
    (tmp_path / "x").write_text("mine")
    with pytest.raises(UserError, match="x is a file: give a folder"):
        export(known.path, "csv", tmp_path / "x")


def test_exporting_needs_no_torch(known, tmp_path):
    script = (
        "import sys; from pathlib import Path; from deepfusion.exchange import export\n"
        f"export(Path({str(known.path)!r}), 'csv', Path({str(tmp_path)!r}))\n"
        "print(*{name.split('.')[0] for name in sys.modules})"
    )
    modules = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()
    assert {"torch", "cv2", "dlib", "av", "sklearn"} & set(modules) == set()


def test_a_package_that_is_missing(known, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "deepfusion.exchange.formats.parquet", raising=False)
    with pytest.raises(UserError, match=r"--to parquet needs the package pyarrow: .*'deepfusion\[export\]'"):
        export(known.path, "parquet", tmp_path)
