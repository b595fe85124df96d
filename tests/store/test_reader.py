"""The reader: what it gives, and one clear line when something is wrong."""

import pickle
import shutil

import h5py
import numpy as np
import pandas as pd
import pytest

from deepfusion.errors import UserError
from deepfusion.store import DamagedError, FeatureStore


@pytest.fixture
def store(finished):
    with FeatureStore(finished.path) as store:
        yield store


def test_what_it_says_of_itself(store, finished):
    assert store.labels == ["sad", "happy", "calm"] and len(store) == 6 and store.path == finished.path
    assert list(store.networks) == ["EF-A", "EF-B", "EF-VGG"] and store.networks["EF-B"]["licence"] == "MIT"
    assert store.attrs["code_version"] == "1" and store.attributes("spectrogram")["floor_db"] == -100.0
    assert store.attributes("audio_time")["stage"] == "spectrogram" and store.attributes("time")["stage"] == "faces"


def test_clips_in_order_and_complete(store, finished):
    assert [clip.id for clip in store] == [clip.id for clip in store.iter()] == finished.ids
    assert "bert/1" in store and "nobody" not in store
    everything = dict(store["bert/1"])
    for name, values in finished.expected["bert/1"].items():
        np.testing.assert_array_equal(everything[name], values, strict=True)
    assert store["bert/1"]["valid"].dtype == bool


def test_table_has_sensible_types(store):
    clips = store.clips
    assert clips.index.name == "id" and isinstance(clips.loc["cleo/2", "speaker"], str)
    assert pd.api.types.is_float_dtype(clips["start"]) and pd.api.types.is_integer_dtype(clips["faces"])
    assert clips["split"].eq("").all() and list(clips.columns[:3]) == ["path", "label", "speaker"]


def test_pickled_reader_opens_the_file_itself(store, finished):
    twin = pickle.loads(pickle.dumps(store))
    store.close()
    np.testing.assert_array_equal(twin["cleo/2"]["EF-A"], finished.expected["cleo/2"]["EF-A"])


def test_does_not_write(store):
    with pytest.raises(OSError, match="no write intent"):
        store._file.attrs["x"] = 1


def test_store_replaced_while_it_is_open_reads_on_unchanged(corpus):
    with FeatureStore(corpus.path) as store:
        old = corpus.expected["bert/1"]["EF-A"].copy()
        corpus.features["EF-A"]["bert/1"]["EF-A"][:] = 5
        corpus.video["EF-A"] = corpus.shards("EF-A", corpus.features["EF-A"])
        corpus.build()
        np.testing.assert_array_equal(store["bert/1"]["EF-A"], old)
        assert (FeatureStore(store.path)["bert/1"]["EF-A"] == 5).all()


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda store: store["bert/11"], r"features.h5 has no clip 'bert/11' \(did you mean 'bert/1'\?\)"),
        (lambda store: store[0], "no clip 0"),
        (lambda store: store["bert/1"]["EF-V"], r"no 'EF-V' \(did you mean 'EF-VGG'\?\); it has time, .*EF-VGG"),
        (lambda store: store.attributes("spectogram"), "did you mean 'spectrogram'"),
    ],
)
def test_wrong_name(store, ask, message):
    with pytest.raises(UserError, match=message):
        ask(store)


def version_1(path):
    with h5py.File(path, "r+") as file:
        file.attrs["layout_version"] = 1


def foreign(path):
    path.unlink()
    with h5py.File(path, "w") as file:
        file["x"] = [1]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "there is no such file"),
        (lambda path: path.write_text("id,label"), "damaged or not an HDF5 file"),
        (lambda path: path.write_bytes(path.read_bytes()[:-50]), "is damaged: it cannot be read .*truncated"),
        (lambda path: path.write_bytes(b""), "is damaged: it cannot be read .*signature not found"),
        (foreign, "is not a deepfusion-feature-store but 'some other HDF5 file'"),
        (
            version_1,
            "has version 1 of the deepfusion-feature-store layout and this program reads version 2",
        ),
    ],
)
def test_file_that_is_no_store(tmp_path, finished, damage, message):
    path = tmp_path / "x.h5"
    shutil.copy(finished.path, path)
    damage(path)
    with pytest.raises(DamagedError if "is damaged: " in message else UserError, match=message) as error:
        FeatureStore(path)
    assert "\n" not in str(error.value)


def test_shard_is_not_a_store(finished):
    with pytest.raises(UserError, match="is not a deepfusion-feature-store but 'deepfusion-shard'"):
        FeatureStore(finished.audio[0])
