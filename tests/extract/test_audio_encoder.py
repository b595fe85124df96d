"""The stage audio_encoder: positions for every spectrogram, and what makes them stale."""

import logging
import shutil

import numpy as np
import pytest
import torch
from command_line import deepfusion
from small_corpus import SLOTS, extract, write_clips

from deepfusion import FeatureStore
from deepfusion.config import AudioEncoderSettings, Extraction, SpectrogramSettings
from deepfusion.corpora import read_manifest
from deepfusion.errors import MachineError, UserError
from deepfusion.extract.audio_encoder import encoder_shard
from deepfusion.extract.spectrogram import spectrogram_shard
from deepfusion.extract.store import join
from deepfusion.networks.audio_encoder import load_encoder, save_encoder
from deepfusion.networks.encoder_file import SHIPPED_ENCODER, encoder_path, required_spectrogram, unsuited
from deepfusion.report.summary import store_summary
from deepfusion.store import DamagedError, read_shard

SHIPPED = AudioEncoderSettings()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("small")
    manifest = write_clips(folder)
    return manifest, extract(manifest, folder / "results", slots={"EF-A": SLOTS["EF-A"]})


@pytest.fixture
def results(made, tmp_path):
    """A copy of the results, to be changed."""
    return shutil.copytree(made[1].parent, tmp_path / "results", copy_function=shutil.copy)


@pytest.fixture
def other_weights(tmp_path):
    """Settings with another encoder of the same architecture."""
    encoder = load_encoder()
    with torch.no_grad():
        encoder.convolutions[-1].bias += 1
    save_encoder(encoder, tmp_path / "other.safetensors", {"name": "other", "licence": "MIT", "data": ["a", "b"]})
    return AudioEncoderSettings(weights=tmp_path / "other.safetensors")


def configured(made, settings=SHIPPED, **groups):
    with FeatureStore(made[1]) as store:
        config = Extraction.model_validate_json(store.attrs["config"])
    return config.model_copy(update={"audio_encoder": settings, **groups})


def test_positions_are_those_of_each_clip_s_own_spectrogram(made):
    encoder = load_encoder()
    with FeatureStore(made[1]) as store:
        heard = 0
        for clip in store:
            wanted = encoder.positions(clip["spectrogram"])
            assert clip["AF"].shape == wanted.shape and clip["AF"].dtype == np.float32
            assert clip["AF"].tobytes() == wanted.tobytes()
            heard += len(wanted)
            if len(wanted):
                expected = clip["audio_time"][0] + 0.01 * encoder.frames(len(wanted))
                assert clip["AF_time"] == pytest.approx(expected, abs=1e-9)
        assert heard > 30
        assert len(store["part"]["AF"]) > 0  # 0.2 s


def test_times_follow_the_clock_of_the_clip(made):
    with FeatureStore(made[1]) as store:
        part, good = store["part"]["AF_time"], store["good"]["AF_time"]
        assert part[0] - good[0] == pytest.approx(0.1, abs=0.002)  # the clip begins 0.1 s later in the same file


def test_clips_without_audio_have_no_rows_and_keep_their_reason(made):
    with FeatureStore(made[1]) as store:
        for clip in ("mute", "broken", "cut"):
            assert len(store[clip]["AF"]) == len(store[clip]["AF_time"]) == 0
        reasons = store.clips["audio_reason"]
    for i, clip, status in ((0, "mute", "absent"), (1, "broken", "failed")):
        with read_shard(made[1].parent / f"shards/AF/{i:05d}.h5") as shard:
            assert shard.clips.loc[clip, "status"] == status
            assert shard.clips.loc[clip, "reason"] == reasons[clip]


def test_the_store_says_whose_positions_they_are(made):
    encoder = load_encoder()
    with FeatureStore(made[1]) as store:
        found = store.attributes("AF")
        assert store.attributes("AF_time")["units"] == "s"
        assert "; audio encoder AF" in store_summary(store)
    assert found["sha256"] == encoder.sha256
    assert found["frequency"] == pytest.approx(encoder.bins())
    assert found["licence"] == encoder.card["licence"]
    assert {"units", "axes", "description", "stage", "network", "content_sha256"} <= found.keys()


def test_other_weights_make_the_positions_stale_and_nothing_else(made, results, other_weights):
    spectrograms, out = results / "shards/spectrogram/00000.h5", results / "shards/AF/00000.h5"
    before = out.stat().st_ino
    encoder_shard(spectrograms, out, settings=SHIPPED)
    assert out.stat().st_ino == before
    with pytest.raises(MachineError, match=r"AF/00000\.h5 was made from other .*weights"):
        join(made[0], results / "shards", results / "new.h5", config=configured(made, other_weights))
    for i in range(2):
        name = f"{i:05d}.h5"
        encoder_shard(results / "shards/spectrogram" / name, results / "shards/AF" / name, settings=other_weights)
    join(made[0], results / "shards", results / "new.h5", config=configured(made, other_weights))
    with FeatureStore(results / "new.h5") as store, FeatureStore(made[1]) as first:
        assert store.attributes("AF")["network"] == "other" and store.attributes("AF")["data"] == '["a", "b"]'
        assert not np.array_equal(store["good"]["AF"], first["good"]["AF"])
        assert np.array_equal(store["good"]["spectrogram"], first["good"]["spectrogram"])


def test_another_spectrogram_makes_the_positions_stale(made, tmp_path):
    clips = read_manifest(made[0], labels=None).iloc[:1]
    spectrograms, out = tmp_path / "spectrogram.h5", tmp_path / "AF.h5"

    def key(floor_db):
        spectrogram_shard(clips, spectrograms, settings=SpectrogramSettings(floor_db=floor_db), dtype="float32")
        encoder_shard(spectrograms, out, settings=SHIPPED)
        with read_shard(out) as shard:
            return shard.key

    assert key(-100) == key(-100) != key(-60)


def test_spectrograms_that_the_encoder_does_not_know_leave_it_out(made, results, caplog):
    settings = SpectrogramSettings(shift_ms=20)
    reason = unsuited(None, settings.model_dump())
    assert "no audio/AF in the store" in reason and "trained with spectrogram.shift_ms 10, not 20" in reason
    assert "\n" not in reason
    shutil.rmtree(results / "shards/AF")
    for i, block in enumerate((slice(0, 5), slice(5, 10))):
        clips = read_manifest(made[0], labels=None).iloc[block]
        spectrogram_shard(clips, results / f"shards/spectrogram/{i:05d}.h5", settings=settings, dtype="float32")
    with pytest.raises(UserError, match=r"it needs spectrogram\.shift_ms = 10"):
        encoder_shard(results / "shards/spectrogram/00000.h5", results / "AF.h5", settings=SHIPPED)
    with caplog.at_level(logging.WARNING):
        join(made[0], results / "shards", results / "new.h5", config=configured(made, spectrogram=settings))
    assert reason in caplog.text
    with FeatureStore(results / "new.h5") as store:
        assert "AF" not in store.keys


def test_a_damaged_spectrogram_shard_is_not_read(results):
    path = results / "shards/spectrogram/00000.h5"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedError, match=r"spectrogram/00000\.h5 is damaged"):
        encoder_shard(path, results / "AF.h5", settings=SHIPPED)


def test_a_damaged_shard_of_positions_is_found_by_the_join(made, results):
    path = results / "shards/AF/00001.h5"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(MachineError, match=r"AF/00001\.h5 is damaged .* the next run makes it again"):
        join(made[0], results / "shards", results / "new.h5", config=configured(made))
    assert not path.exists() and not (results / "new.h5").exists()


def test_the_file_is_read_without_torch_as_with_it():
    encoder = load_encoder()
    assert required_spectrogram(SHIPPED_ENCODER) == encoder.requires
    assert unsuited(None, SpectrogramSettings().model_dump()) == ""
    for name in encoder.requires:  # each of the settings is compared
        changed = SpectrogramSettings().model_dump() | {name: 77}
        assert f"spectrogram.{name} " in unsuited(None, changed)


def test_files_that_are_no_encoder(tmp_path):
    with pytest.raises(UserError, match="there is no file"):
        encoder_path(tmp_path / "absent.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights")
    with pytest.raises(UserError, match="not a complete audio encoder file"):
        required_spectrogram(tmp_path / "text.safetensors")
    with pytest.raises(UserError, match="not an audio encoder of `snakemake pretrain_audio`"):
        required_spectrogram(SHIPPED_ENCODER.with_name("sface-fer2013.safetensors"))


def test_the_command_does_what_the_function_does(results, tmp_path):
    out = tmp_path / "AF.h5"
    arguments = ["--spectrograms", str(results / "shards/spectrogram/00000.h5"), "--out", str(out)]
    done = deepfusion("audio-encoder", *arguments, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with read_shard(out) as shard, read_shard(results / "shards/AF/00000.h5") as wanted:
        assert shard.key == wanted.key
        assert np.array_equal(shard.columns["positions"][:], wanted.columns["positions"][:])
