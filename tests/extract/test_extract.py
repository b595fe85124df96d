"""Clips through all stages of the extraction: what is good stays exact, what is bad is told and stops nobody."""

import os
import shutil
from multiprocessing import get_context

import h5py
import numpy as np
import pytest
import torch
from small_corpus import CPU, FRAMES, SLOTS, TIMES, extract, write_clips

from deepfusion import FeatureStore
from deepfusion import spectrogram as spectrograms
from deepfusion.config import (
    Extraction,
    FaceSettings,
    NetworkSettings,
)
from deepfusion.corpora import read_manifest
from deepfusion.costs import SHARED, totals
from deepfusion.extract import faces
from deepfusion.extract.faces import faces_shard
from deepfusion.extract.networks import network_shards
from deepfusion.faces.align import warp
from deepfusion.faces.face_track import Source
from deepfusion.media import frames, read_audio
from deepfusion.networks import catalogue
from deepfusion.store.shard import read_shard


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("small")
    manifest = write_clips(folder)
    return manifest, extract(manifest, folder / "results")


@pytest.fixture(scope="module")
def store(made):
    with FeatureStore(made[1]) as opened:
        yield opened


def test_every_clip_has_its_place_and_its_reason(store):
    table = store.clips
    assert table.index.tolist() == ["good", "part", "hidden", "mute", "voice", "nobody", "broken", "cut", "other"]
    assert table["video_status"].to_dict() == {
        "good": "ok",
        "part": "ok",
        "hidden": "ok",
        "mute": "ok",
        "voice": "absent",
        "nobody": "ok",
        "broken": "failed",
        "cut": "failed",
        "other": "ok",
    }
    assert table["audio_status"].to_dict() == {
        "good": "ok",
        "part": "ok",
        "hidden": "ok",
        "mute": "absent",
        "voice": "ok",
        "nobody": "ok",
        "broken": "failed",
        "cut": "failed",
        "other": "ok",
    }
    assert table.loc[table["video_status"] != "ok", "video_reason"].str.len().min() > 10
    assert (table.loc[table["video_status"] == "ok", "video_reason"] == "").all()
    assert table.loc["nobody", ["frames", "faces"]].tolist() == [10, 0]
    assert table.loc["cut", "frames"] == 0  # nothing of a clip that broke half-way


def test_times_are_those_of_the_file(store):
    assert store["good"]["time"] == pytest.approx(TIMES, abs=1e-3)  # not index / fps
    assert store["part"]["time"] == pytest.approx([t for t in TIMES if 0.1 <= t < 0.3], abs=1e-3)


def test_frames_without_a_face_keep_their_place(store):
    hidden = store["hidden"]
    assert np.flatnonzero(~hidden["valid"]).tolist() == [4, 5]
    assert hidden["reason"].tolist() == [0, 0, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0]
    for slot in SLOTS:
        assert np.isnan(hidden[slot][~hidden["valid"]]).all()
        assert np.isfinite(hidden[slot][hidden["valid"]]).all()
    assert len(hidden["EF-A"]) == len(hidden["time"]) == FRAMES


def test_features_are_those_of_each_frames_own_face(store, made):
    """Frame by frame, without batches, shards or groups."""
    clip = store["good"]
    for slot, settings in SLOTS.items():
        module, crop = catalogue.load(settings.network), catalogue.CATALOGUE[settings.network].crop
        for i, frame in enumerate(frames(made[0].parent / "clips/good.mp4")):
            face = warp(frame.image, clip["box"][i], clip["landmarks"][i], crop)
            with torch.inference_mode():
                expected = module(torch.from_numpy(face).permute(2, 0, 1)[None].float())[0].numpy()
            assert clip[slot][i] == pytest.approx(expected, abs=1e-4 * float(np.abs(expected).max()))


def test_a_part_of_a_file_has_the_features_of_those_frames(store):
    inside = [i for i, t in enumerate(TIMES) if 0.1 <= t < 0.3]
    for slot in SLOTS:
        assert np.allclose(store["part"][slot], store["good"][slot][inside], atol=1e-4)


def test_the_spectrogram_is_that_of_the_sound(store, made):
    heard = read_audio(made[0].parent / "clips/good.mp4")
    assert np.array_equal(store["good"]["spectrogram"], spectrograms.spectrogram(heard.samples))
    assert store["good"]["audio_time"][0] == pytest.approx(heard.start + 0.02, abs=1e-9)
    # 150 Hz, a square wave: the strongest bin is the fundamental.
    assert store["good"]["spectrogram"].mean(0).argmax() * 20 in (140, 160)


def test_the_store_says_what_it_holds(store):
    assert store.labels == ["happy", "sad"]
    assert store.networks["EF-A"]["network"] == "dlib-resnet29"
    assert {"licence", "citation", "fingerprint", "units", "axes"} <= store.networks["EF-B"].keys()
    assert store.attributes("spectrogram")["shift_ms"] == 10
    assert Extraction.model_validate_json(store.attrs["config"]).networks == SLOTS
    assert store.clips["sha256"].str.len().eq(64).all()


def test_a_second_run_keeps_every_shard_and_makes_the_same_store(made, store):
    manifest, path = made
    shards = {file: file.stat().st_ino for file in path.parent.glob("shards/*/[0-9]*.h5")}
    key = store.attrs["key"]
    assert len(shards) == 10
    for file in shards:
        file.unlink()  # as Snakemake does before it runs a job again
    extract(manifest, path.parent)
    assert {file: file.stat().st_ino for file in shards} == shards  # not one was written again
    with FeatureStore(path) as again:
        assert again.attrs["key"] == key


def test_what_it_cost_is_that_of_the_first_run(made, store):
    costs = store.ledger
    parts = {"faces": 2, "EF-A": 2, "EF-B": 2, SHARED: 4, "spectrogram": 2, "AF": 2}
    assert costs["part"].value_counts().to_dict() == parts
    frames = int(store.clips["frames"].sum())
    for part in ("faces", "EF-A", SHARED):
        assert costs.loc[costs["part"] == part, "rows"].sum() == frames
    assert (costs[["wall_s", "cpu_s", "peak_memory_mb"]] > 0).all(axis=None)
    found = totals(costs)
    assert found.at["faces", "media_s"] == pytest.approx(found.at["EF-B", "media_s"])
    assert found.at["AF", "media_s"] == pytest.approx(found.at["spectrogram", "media_s"]) and found.index[-1] == "AF"
    assert found.at["faces", "media_s"] == pytest.approx(frames / 25, rel=0.2)
    extract(made[0], made[1].parent)
    with FeatureStore(made[1]) as again:
        assert again.ledger.equals(costs)


def test_another_network_recomputes_that_network_alone(made, tmp_path):
    results = tmp_path / "results"
    clips = read_manifest(made[0], labels=None).iloc[:2]
    tracks = results / "faces.h5"
    faces_shard(clips, tracks, settings=FaceSettings())
    outs = {slot: results / f"{slot}.h5" for slot in SLOTS}

    def run(slots):
        network_shards(clips, tracks, outs, networks=slots, dtype="float32", device=CPU)
        return {slot: path.stat().st_ino for slot, path in outs.items()}

    before = run(SLOTS)
    after = run({"EF-A": SLOTS["EF-A"], "EF-B": NetworkSettings(network="dlib-resnet29")})
    assert before["EF-A"] == after["EF-A"]
    assert before["EF-B"] != after["EF-B"]
    with read_shard(outs["EF-B"]) as shard:
        assert shard.columns["EF-B"].attrs["network"] == "dlib-resnet29"


def test_changed_bytes_or_settings_make_a_shard_stale(made, tmp_path):
    manifest = write_clips(tmp_path / "copy")
    clips = read_manifest(manifest, labels=None).iloc[:1]
    out = tmp_path / "faces.h5"

    def key(**settings):
        faces_shard(clips, out, settings=FaceSettings(**settings))
        with read_shard(out) as shard:
            return shard.key

    first = key()
    assert key() == first
    assert key(threshold=0.1) != first
    file = tmp_path / "copy/clips/good.mp4"
    file.write_bytes(file.read_bytes() + b"\0\0\0\x08free")  # an empty box: the same pictures, another file
    assert key() != first


def test_float16_is_close_and_half_the_size(made, store, tmp_path):
    with FeatureStore(extract(made[0], tmp_path, dtype="float16")) as half:
        for key in ("EF-A", "EF-B", "spectrogram", "AF"):
            assert half["good"][key].dtype == np.float16
            if key == "AF":  # made from the rounded spectrogram
                scale = float(np.abs(store["good"][key]).max())
                assert half["good"][key] == pytest.approx(store["good"][key], abs=0.01 * scale)
                continue
            assert half["good"][key] == pytest.approx(store["good"][key], rel=1e-3, abs=1e-3)


def test_a_bad_clip_takes_nothing_of_those_it_shares_batches_with(made, store, tmp_path):
    """A clip swapped and one cut off after their faces were found, between good ones; by one thread and by three."""
    manifest = write_clips(tmp_path / "copy")
    folder = tmp_path / "copy/clips"
    clips = read_manifest(manifest, labels=None).iloc[[0, 2, 3, 5, 8]]
    tracks = tmp_path / "faces.h5"
    faces_shard(clips, tracks, settings=FaceSettings())
    shutil.copy(folder / "good.mp4", folder / "mute.mp4")  # the same times, another file
    nobody = folder / "nobody.mp4"
    nobody.write_bytes(nobody.read_bytes()[: nobody.stat().st_size // 2])
    for workers in (0, 3):
        outs = {slot: tmp_path / f"{slot}-{workers}.h5" for slot in SLOTS}
        network_shards(clips, tracks, outs, networks=SLOTS, dtype="float32", device=CPU, workers=workers)
        for slot, out in outs.items():
            with read_shard(out) as shard:
                assert shard.clips["status"].to_dict() == {
                    "good": "ok",
                    "hidden": "ok",
                    "mute": "failed",
                    "nobody": "failed",
                    "other": "ok",
                }
                assert "replaced" in shard.clips.loc["mute", "reason"]
                for name in ("good", "hidden", "other"):
                    scale = np.nanmax(np.abs(store[name][slot]))
                    assert np.allclose(shard[name][slot], store[name][slot], atol=1e-5 * scale, equal_nan=True)


def test_every_engine_gives_the_same_features(made, store, tmp_path):
    clips = read_manifest(made[0], labels=None).iloc[:1]
    tracks, outs = tmp_path / "faces.h5", {slot: tmp_path / f"{slot}.h5" for slot in SLOTS}
    faces_shard(clips, tracks, settings=FaceSettings())
    network_shards(clips, tracks, outs, networks=SLOTS, dtype="float32", device=CPU, engine="eager")
    for slot, out in outs.items():
        with read_shard(out) as shard:
            wanted, key = store["good"][slot], shard.key
            assert np.abs(shard["good"][slot] - wanted).max() < 1e-5 * np.abs(wanted).max()
        # Another engine makes nothing stale.
        before = out.stat().st_ino
        network_shards(clips, tracks, {slot: out}, networks=SLOTS, dtype="float32", device=CPU, engine="onnxruntime")
        with read_shard(out) as shard:
            assert (shard.key, out.stat().st_ino) == (key, before)


def test_a_shard_without_video_opens_no_network(made, tmp_path, caplog):
    caplog.set_level("INFO", logger="deepfusion")
    clips = read_manifest(made[0], labels=None).query("id == 'voice'")
    tracks, outs = tmp_path / "faces.h5", {slot: tmp_path / f"{slot}.h5" for slot in SLOTS}
    faces_shard(clips, tracks, settings=FaceSettings())
    network_shards(clips, tracks, outs, networks=SLOTS, dtype="float32", device=CPU)
    assert "onnxruntime" not in caplog.text
    for out in outs.values():
        with read_shard(out) as shard:
            assert shard.clips.loc["voice", "status"] == "absent"


def test_a_file_that_changed_between_the_stages_is_told(made, tmp_path):
    manifest = write_clips(tmp_path / "copy")
    clips = read_manifest(manifest, labels=None).iloc[[3]]
    tracks = tmp_path / "faces.h5"
    faces_shard(clips, tracks, settings=FaceSettings())
    good = tmp_path / "copy/clips/good.mp4"
    good.rename(tmp_path / "copy/clips/mute.mp4")
    outs = {"EF-A": tmp_path / "EF-A.h5"}
    network_shards(clips, tracks, outs, networks={"EF-A": SLOTS["EF-A"]}, dtype="float32", device=CPU)
    with read_shard(outs["EF-A"]) as shard:
        assert shard.clips.loc["mute", "status"] == "failed"
        assert "replaced" in shard.clips.loc["mute", "reason"]
        assert len(shard.columns["EF-A"]) == 0


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_several_processes_write_the_same_shard(made, tmp_path, monkeypatch, method):
    clips = read_manifest(made[0], labels=None)
    one, two = tmp_path / "one.h5", tmp_path / "two.h5"
    faces_shard(clips, one, settings=FaceSettings())
    monkeypatch.setattr("deepfusion.extract.workers.get_context", lambda _: get_context(method))
    loading, load = tmp_path / "loading", faces._tracker
    loading.touch()

    def counted(settings):
        with loading.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return load(settings)

    monkeypatch.setattr(faces, "_tracker", counted)
    faces_shard(clips, two, settings=FaceSettings(), workers=2)
    # A fork has the models of its parent. A spawned process loads its own, by the function that is not replaced there.
    assert loading.read_text() == f"{os.getpid()}\n"
    with read_shard(one) as a, read_shard(two) as b:
        assert a.key == b.key
        assert a.clips.equals(b.clips)  # the failed ones and their reasons too
        assert {"ok", "absent", "failed"} == set(b.clips["status"])
        assert a.offsets.tolist() == b.offsets.tolist()
        for name, column in a.columns.items():
            assert np.array_equal(column[:], b.columns[name][:], equal_nan=True), name


def test_near_and_exact_search_find_the_same(made, tmp_path):
    clips = read_manifest(made[0], labels=None).iloc[[0, 2, 5]]
    paths = {search: tmp_path / f"{search}.h5" for search in ("near", "exact")}
    for search, path in paths.items():
        faces_shard(clips, path, settings=FaceSettings(search=search, detector="dlib", weak_threshold=0.0))
    with read_shard(paths["near"]) as near, read_shard(paths["exact"]) as exact:
        assert near.key != exact.key
        for name, column in exact.columns.items():
            tolerance = 0.05 if name == "score" else 0
            assert np.allclose(near.columns[name][:], column[:], atol=tolerance, rtol=0, equal_nan=True), name


def test_the_store_lists_all_faces_and_says_which_detector_found_them(made, store):
    clip = store["good"]
    assert (clip["detector"] == Source.DLIB).all() and np.isfinite(clip["alignment"]).any()
    assert np.nanmax(clip["alignment"]) < 0.4
    with h5py.File(made[1]) as file:
        found = file["video/found"]
        i = store.clips.index.get_loc("good")
        first, last = found["offsets"][i : i + 2]
        assert first < last and set(found["time"][first:last]) <= set(clip["time"])
        assert (np.abs(found["box"][first] - clip["box"][0]) < 40).all()
        assert found["detector"][first] == Source.YUNET
        assert {"units", "axes", "description"} <= set(found["detector"].attrs)
