"""The store: everything of every shard, in order and described; shards that do not fit together are refused."""

import os
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pandas as pd
import pytest

from deepfusion.errors import UserError
from deepfusion.store import DamagedError, FeatureStore, ShardWriter, build_store, read_shard
from deepfusion.store.checksum import seal
from deepfusion.store.layout import objects

NO_VIDEO, NO_SOUND = "anna/ä-2", "bert/2"
FREQUENCY = [620.0, 1260.0, 1900.0, 2540.0, 3180.0]  # as conftest.py writes it


def test_layout_with_h5py_alone(finished):
    with h5py.File(finished.path) as file:
        assert file.attrs["layout"] == "deepfusion-feature-store" and file.attrs["layout_version"] == 2
        assert list(file.attrs["labels"]) == ["sad", "happy", "calm"] and file.attrs["corpus"] == "six clips"
        assert file["clips/id"].asstr()[:].tolist() == finished.ids
        assert not [name for name in file["video"] if file["video"][name].is_virtual]
        for i, clip in enumerate(finished.ids):
            first, last = file["video/offsets"][i : i + 2]
            assert (last == first) == (clip == NO_VIDEO)
            start, stop = file["audio/offsets"][i : i + 2]
            wanted = finished.expected[clip]
            np.testing.assert_array_equal(file["audio/spectrogram"][start:stop], wanted["spectrogram"])
            first_row, last_row = file["audio/AF/offsets"][i : i + 2]
            np.testing.assert_array_equal(file["audio/AF/positions"][first_row:last_row], wanted["AF"], strict=True)
            np.testing.assert_array_equal(file["audio/AF/time"][first_row:last_row], wanted["AF_time"], strict=True)
            if clip != NO_VIDEO:
                np.testing.assert_array_equal(file["video/EF-VGG"][first:last], wanted["EF-VGG"])
                np.testing.assert_array_equal(file["video/valid"][first:last], wanted["reason"] == 0)


def test_rows_without_a_face_are_nan_and_nothing_else_is(finished):
    with h5py.File(finished.path) as file:
        valid = file["video/valid"][:]
        assert 0 < valid.sum() < len(valid)
        for name in ("EF-A", "EF-B", "EF-VGG"):
            np.testing.assert_array_equal(
                np.isnan(file["video"][name][:]), np.repeat(~valid[:, None], file["video"][name].shape[1], 1)
            )


def test_every_dataset_describes_itself(finished):
    with h5py.File(finished.path) as file:
        for group in ("clips", "video", "audio", "ledger"):
            for data in objects(file[group]):
                if isinstance(data, h5py.Dataset):
                    assert {"units", "axes", "description"} <= set(data.attrs), data.name
        assert dict(file["video/EF-A"].attrs)["network"] == "net of EF-A"
        assert file["video/EF-A"].attrs["stage"] == "EF-A" and file["audio/spectrogram"].attrs["bins"] == 200


def test_table_of_clips(finished):
    clips = FeatureStore(finished.path).clips
    assert (
        clips.loc[NO_VIDEO, "video_status"] == "failed" and clips.loc[NO_VIDEO, "video_reason"] == "kein Bild — “leer”"
    )
    assert clips.loc[NO_SOUND, "audio_status"] == "absent" and clips.loc[NO_SOUND, "audio_reason"] == "no audio stream"
    assert clips["video_status"].eq("ok").sum() == 5 and clips["audio_status"].eq("ok").sum() == 5
    assert clips["frames"].tolist() == [5, 0, 130, 7, 1, 40]
    faces = [(finished.expected[clip]["reason"] == 0).sum() * (clip != NO_VIDEO) for clip in finished.ids]
    assert clips["faces"].tolist() == faces
    # A fact that one stage could not record (its clip failed) is taken from the other.
    assert clips["sha256"].tolist() == [f"{i:064x}" for i in range(6)]
    np.testing.assert_array_equal(clips["video_start"], [0.0, np.nan, 2 / 25, 3 / 25, 4 / 25, 5 / 25])
    assert clips["path"].tolist() == [f"{i}.mp4" for i in range(6)]


def test_paths_keep_what_the_clips_do_not_share(corpus):
    corpus.manifest["path"] = [f"/media/somebody/corpus/{'train' if i < 3 else 'dev'}/{i}.mp4" for i in range(6)]
    paths = FeatureStore(corpus.build()).clips["path"]
    assert paths.tolist() == ["train/0.mp4", "train/1.mp4", "train/2.mp4", "dev/3.mp4", "dev/4.mp4", "dev/5.mp4"]


def test_further_columns_of_the_manifest_are_kept(corpus):
    corpus.manifest["sentence"] = list("abcdef")
    corpus.manifest["sha256"] = [f"{i:064x}" for i in range(6)]
    clips = FeatureStore(corpus.build()).clips
    assert "".join(clips["sentence"]) == "abcdef" and clips["sha256"].iloc[5] == f"{5:064x}"


@pytest.mark.parametrize(("dtype", "block"), [(np.float16, 1), (np.float32, 4), (np.float64, 6)])
def test_every_type_and_division_into_shards(tmp_path, kit, dtype, block):
    corpus = kit.Corpus(tmp_path, dtype=dtype, block=block)
    with FeatureStore(corpus.build()) as store:
        for clip in store.iter():
            wanted = corpus.expected[clip.id]
            assert set(clip.keys()) == set(wanted)
            for name, values in wanted.items():
                if clip.id != NO_VIDEO or name in ("spectrogram", "audio_time", "AF", "AF_time"):
                    np.testing.assert_array_equal(clip[name], values, strict=True)


def everything(path):
    """All values and attributes of a file, but what it cost."""
    found = {}
    with h5py.File(path) as file:
        for thing in (file, *(thing for name in file.keys() - {"ledger"} for thing in objects(file[name]))):
            found[thing.name] = {name: np.asarray(value).tolist() for name, value in thing.attrs.items()}
            if isinstance(thing, h5py.Dataset):
                found[f"{thing.name} data"] = (
                    thing.dtype,
                    thing.shape,
                    thing[()].tobytes() if thing.dtype != object else list(thing),
                )
    return found


def test_division_into_shards_changes_nothing(tmp_path, kit, finished):
    assert everything(kit.Corpus(tmp_path, block=4).build()) == everything(finished.path)


def test_needs_no_shard_once_built(tmp_path, corpus):
    moved = shutil.move(corpus.path, tmp_path / "moved.h5")
    shutil.rmtree(corpus.folder)
    with FeatureStore(moved) as store:
        np.testing.assert_array_equal(store["bert/1"]["EF-A"], corpus.expected["bert/1"]["EF-A"])


def test_long_clip_is_copied_in_blocks(tmp_path, kit):
    rng = np.random.default_rng(0)
    track = kit.track(rng, 2500)  # 2500 x 4096 x 4 bytes are ten blocks
    values = rng.random((2500, 4096), dtype=np.float32)
    faces = kit.write(tmp_path / "f.h5", "faces", {"a": track})
    network = kit.write(tmp_path / "n.h5", "EF-VGG", {"a": {"EF-VGG": values}})
    sound = kit.write(tmp_path / "s.h5", "spectrogram", {"a": {"time": np.zeros(2), "spectrogram": np.zeros((2, 200))}})
    manifest = pd.DataFrame({"id": ["a"], "path": ["/x/a.mp4"], "label": ["l"], "speaker": ["s"]})
    build_store(
        tmp_path / "o.h5",
        manifest,
        video={"faces": [faces], "EF-VGG": [network]},
        audio=[sound],
        labels=["l"],
        attrs={},
    )
    with FeatureStore(tmp_path / "o.h5") as store:
        np.testing.assert_array_equal(store["a"]["EF-VGG"], values)
        assert store.clips.loc["a", "path"] == "a.mp4"


def test_all_clips_without_video(tmp_path, kit):
    corpus = kit.Corpus(tmp_path)
    for stage in ("faces", "EF-A"):
        columns = corpus.tracks["bert/1"] if stage == "faces" else corpus.features[stage]["bert/1"]
        clips = dict.fromkeys(corpus.ids, ("absent", "no video stream"))
        corpus.video[stage] = [kit.write(tmp_path / f"{stage}.h5", stage, clips, columns=columns)]
    with FeatureStore(corpus.build()) as store:
        assert store.clips["frames"].eq(0).all() and store.clips["video_status"].eq("absent").all()
        assert store["bert/1"]["EF-A"].shape == (0, 6) and len(store["bert/1"]["spectrogram"]) == 7


def test_failure_of_one_network_takes_the_clip_out_of_the_others(corpus, kit):
    corpus.features["EF-A"]["bert/1"] = ("failed", "out of memory")
    corpus.video["EF-A"] = corpus.shards("EF-A", corpus.features["EF-A"], {"network": "net"})
    with FeatureStore(corpus.build()) as store:
        assert store.clips.loc["bert/1", "video_status"] == "failed"
        assert store.clips.loc["bert/1", "video_reason"] == "EF-A: out of memory"
        assert store.clips.loc["bert/1", "frames"] == 0 == len(store["bert/1"]["EF-B"])
        np.testing.assert_array_equal(store["cleo/2"]["EF-B"], corpus.expected["cleo/2"]["EF-B"])


def key(path):
    with h5py.File(path) as file:
        return file.attrs["key"]


def test_key_is_that_of_the_contents(tmp_path, kit, finished):
    first = key(finished.path)
    assert key(finished.build(tmp_path / "a.h5", attrs={"config": "other"})) == first
    assert key(kit.Corpus(tmp_path, dtype=np.float16).build()) != first
    assert key(finished.build(tmp_path / "b.h5", labels=finished.labels[::-1])) != first
    other_speaker = finished.manifest.assign(speaker="dora")
    assert key(finished.build(tmp_path / "c.h5", manifest=other_speaker)) != first


def test_key_changes_with_a_single_value(corpus):
    first = key(corpus.path)
    corpus.sounds["cleo/2"]["spectrogram"][3, 7] += 1
    corpus.audio = corpus.shards("spectrogram", corpus.sounds, {"rate": 16000, "bins": 200, "floor_db": -100.0})
    assert key(corpus.build()) != first


def test_a_store_without_the_audio_encoder_lacks_its_group_and_nothing_else(corpus):
    with FeatureStore(corpus.path) as store:
        assert store.keys[-2:] == ["AF", "AF_time"]
        assert store.attributes("AF")["frequency"] == store._file["audio/AF/frequency"][:].tolist() == FREQUENCY
        wanted = everything(corpus.path)
    with FeatureStore(corpus.build(encoder=[])) as store:
        assert "AF" not in store.keys and "AF" not in store._file["audio"]
        with pytest.raises(UserError, match="has no 'AF'"):
            store["bert/1"]["AF"]
    found = everything(corpus.path)
    assert found.keys() == {name for name in wanted if not name.startswith("/audio/AF")}
    for name in found.keys() - {"/"}:
        assert found[name] == wanted[name]


def order(corpus, kit):
    corpus.video["EF-B"] = corpus.video["EF-B"][::-1]
    return "EF-B-2.h5.*'EF-B' has clip 'cleo 日本' where the manifest has 'anna/ä-1'"


def test_the_ledger_is_carried_on_and_is_no_part_of_the_key(corpus):
    with FeatureStore(corpus.path) as store:
        costs, first = store.ledger, store.attrs["key"]
    assert costs["part"].tolist() == [
        name for name in ("faces", "EF-A", "EF-B", "EF-VGG", "spectrogram", "AF") for _ in range(3)
    ]
    assert costs["shard"].tolist() == [0, 1, 2] * 6
    assert costs.loc[costs["part"] == "faces", "rows"].tolist() == [5, 137, 41]
    with read_shard(corpus.video["EF-A"][1]) as shard:
        assert shard.ledger.iloc[0].to_dict() == costs.iloc[4].drop("shard").to_dict()
    corpus.audio = corpus.shards("spectrogram", corpus.sounds, {"rate": 16000, "bins": 200, "floor_db": -100.0})
    with FeatureStore(corpus.build()) as again:  # measured anew
        assert again.ledger["wall_s"].iloc[12] != costs["wall_s"].iloc[12]
        assert again.attrs["key"] == first


def test_shards_without_a_ledger_make_a_store_without_one(corpus):
    before = key(corpus.path)
    for path in (*corpus.audio, *corpus.encoder, *(path for paths in corpus.video.values() for path in paths)):
        with h5py.File(path, "r+") as file:
            del file["ledger"]
        with path.open("r+b") as file:
            seal(file)
    with FeatureStore(corpus.build()) as store:
        assert store.ledger.empty
        assert "ledger" not in store._file
        assert store.attrs["key"] == before


def test_shards_that_are_described_in_other_words_join_and_the_latest_words_are_kept(corpus):
    before, other = key(corpus.path), corpus.video["EF-A"][1]
    words = {"description": "other words", "source": "elsewhere"}
    with h5py.File(other, "r+") as file:
        file["EF-A"].attrs.update(words)
        file.attrs["licence"] = "CC0"
    with other.open("r+b") as file:
        seal(file)
    os.utime(other, (other.stat().st_atime, other.stat().st_mtime + 9))
    with FeatureStore(corpus.build()) as store:
        assert store.attrs["key"] == before
        found = store.attributes("EF-A")
        assert found["licence"] == "CC0" and {name: found[name] for name in words} == words


def one_lost(corpus, kit):
    del corpus.audio[-1]
    return "'spectrogram' has 4 clips in 2 shards and the manifest 6; 'cleo 日本'"


def one_extra(corpus, kit):
    corpus.manifest = corpus.manifest[:5]
    return "'faces' has 6 clips in 3 shards and the manifest 5; 'cleo/2'"


def none(corpus, kit):
    corpus.video["EF-A"] = []
    return "'EF-A' has 0 clips in 0 shards"


def other_stage(corpus, kit):
    corpus.video["EF-A"] = corpus.video["EF-B"]
    return "EF-B-0.h5 is a shard of stage 'EF-B', given as one of 'EF-A'"


def other_length(corpus, kit):
    corpus.features["EF-B"]["bert/1"]["EF-B"] = np.zeros((129, 3), np.float32)
    corpus.video["EF-B"] = corpus.shards("EF-B", corpus.features["EF-B"])
    return "EF-B-1.h5: stage 'EF-B' has 129 frames of clip 'bert/1' and .*faces-1.h5 has 130"


def other_weights(corpus, kit):
    block = corpus.blocks[1]
    kit.write(corpus.video["EF-A"][1], "EF-A", {c: corpus.features["EF-A"][c] for c in block}, attrs={"sha256": "cd"})
    return "EF-A-1.h5: columns or settings differ from .*EF-A-0.h5"


def other_width(corpus, kit):
    block = corpus.blocks[2]
    with ShardWriter(
        corpus.audio[2], stage="spectrogram", attrs={"rate": 16000, "bins": 200, "floor_db": -100.0}
    ) as shard:
        shard.column("time", (), np.float64)
        shard.column("spectrogram", (201,))
        for clip in block:
            shard.begin(clip)
            shard.end()
    return "spectrogram-2.h5: columns or settings differ"


def clip_changed(corpus, kit):
    corpus.sounds["bert/1"]["fields"]["sha256"] = "ff"
    corpus.audio = corpus.shards("spectrogram", corpus.sounds)
    return "spectrogram-1.h5: sha256 of clip 'bert/1' is ff in stage 'spectrogram' and 0"


def unlisted_label(corpus, kit):
    corpus.labels = ["sad", "happy"]
    return "labels that are not in the list .*'calm'"


def reserved_fact(corpus, kit):
    corpus.sounds["bert/1"]["fields"]["faces"] = 3
    corpus.audio = corpus.shards("spectrogram", corpus.sounds)
    return "records a fact 'faces', which the store itself writes"


def reserved_column(corpus, kit):
    corpus.manifest["frames"] = 1
    return "column 'frames' of the manifest"


def other_hash_in_the_manifest(corpus, kit):
    corpus.manifest["sha256"] = "ee"
    return "column 'sha256' of the manifest is not what the stages found"


def damaged(corpus, kit):
    corpus.audio[1].write_bytes(corpus.audio[1].read_bytes()[:-1])
    return "spectrogram-1.h5 is damaged"


def bit_flipped(corpus, kit):
    content = bytearray(corpus.audio[1].read_bytes())
    content[len(content) // 2] ^= 4
    corpus.audio[1].write_bytes(content)
    return "spectrogram-1.h5 is damaged: its bytes differ from its checksum; `deepfusion repair`"


def other_encoder(corpus, kit):
    block = corpus.blocks[1]
    clips = {clip: corpus.positions[clip] for clip in block}
    kit.write(corpus.encoder[1], "AF", clips, attrs={"sha256": "ef" * 32, "frequency": FREQUENCY})
    return "AF-1.h5: columns or settings differ from .*AF-0.h5"


def heard_by_one_stage_alone(corpus, kit):
    corpus.positions["bert/1"] = ("absent", "no audio stream")
    corpus.encoder = corpus.shards("AF", corpus.positions, {"sha256": "cd" * 32, "frequency": FREQUENCY})
    return "AF-1.h5: clip 'bert/1' is 'absent' in stage 'AF' and 'ok' in .*spectrogram-1.h5"


def lost(corpus, kit):
    corpus.audio[1].unlink()
    return "spectrogram-1.h5: there is no such file"


FAULTS = [order, one_lost, one_extra, none, other_stage, other_length, other_weights, other_width, clip_changed]
FAULTS += [unlisted_label, reserved_fact, reserved_column, other_hash_in_the_manifest, damaged, bit_flipped, lost]
FAULTS += [other_encoder, heard_by_one_stage_alone]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_does_not_fit_is_refused_and_named(corpus, kit, fault):
    path, before = corpus.path, corpus.path.read_bytes()
    message = fault(corpus, kit)
    with pytest.raises(DamagedError if fault in (damaged, bit_flipped) else UserError, match=message) as error:
        corpus.build()
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before and not list(path.parent.glob("*.part"))


def test_reader_needs_numpy_h5py_and_pandas_alone(finished):
    script = """
import sys
from deepfusion.store import FeatureStore
with FeatureStore(sys.argv[1]) as store:
    assert len(store["bert/1"]["EF-A"]) == 130
print(*{name.split(".")[0] for name in sys.modules})
"""
    command = [sys.executable, "-c", script, str(finished.path)]
    modules = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    heavy = {"torch", "cv2", "dlib", "av", "librosa", "sklearn", "scipy", "pydantic", "yaml", "typer", "rich"}
    assert "h5py" in modules and not set(modules) & heavy
