"""Whether a shard is up to date: hashes of files, and clips that failed by a fault of the machine or by a limit."""

import errno
import logging
import os
import threading

import numpy as np
import pandas as pd
import pytest
from mediafiles import Audio, write

from deepfusion.cache_key import file_sha256
from deepfusion.config import AudioEncoderSettings, LimitSettings, SpectrogramSettings
from deepfusion.errors import TransientError
from deepfusion.extract import common, spectrogram
from deepfusion.extract.audio_encoder import encoder_shard
from deepfusion.extract.common import check_hash, hash_of, is_transient
from deepfusion.store.shard import read_shard


def test_hash_of_reads_a_file_once_and_only_a_file(tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr(common, "file_sha256", lambda path: read.append(path) or file_sha256(path))
    path = tmp_path / "a.mp4"
    path.write_text("one")
    assert hash_of(str(path)) == hash_of(str(path)) == file_sha256(path)
    assert len(read) == 1  # though many clips may be segments of it
    path.write_text("another")
    assert hash_of(str(path)) == file_sha256(path) and len(read) == 2
    os.mkfifo(tmp_path / "pipe.mp4")
    assert hash_of(str(tmp_path / "pipe.mp4")) == hash_of(str(tmp_path / "absent.mp4")) == hash_of(str(tmp_path)) == ""
    with pytest.raises(TransientError, match=r"a\.mp4: the file could not be read when its job began"):
        check_hash("", str(path))


def test_a_fault_of_the_machine_does_not_last(tmp_path, monkeypatch, caplog):
    sound = np.random.default_rng(0).normal(0, 0.1, (1, 4000))
    paths = [str(write(tmp_path / name, audio=Audio([(0, sound)], rate=16000))) for name in ("a.wav", "b.wav")]
    clips = pd.DataFrame({"id": ["a", "b"], "path": paths, "audio": "", "start": np.nan, "end": np.nan, "person": ""})
    spectra, positions = tmp_path / "spectrogram.h5", tmp_path / "AF.h5"

    def extract():
        spectrogram.spectrogram_shard(clips, spectra, settings=SpectrogramSettings(), dtype="float32")
        encoder_shard(spectra, positions, settings=AudioEncoderSettings())
        with read_shard(spectra) as one, read_shard(positions) as two:
            assert one.clips["status"].tolist() == two.clips["status"].tolist()
            assert one.clips["reason"].tolist() == two.clips["reason"].tolist()
            return dict(zip(one.clips.index, one.clips["reason"], strict=True))

    def stale(job, **_):
        raise OSError(errno.ESTALE, "Stale file handle")
        yield

    real = spectrogram.audio_job
    # A forked process has the changed job; a spawned one, as in a process with more threads, would not.
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    monkeypatch.setattr(
        spectrogram, "audio_job", lambda job, **how: (stale if job[0] == paths[1] else real)(job, **how)
    )
    with caplog.at_level(logging.INFO):
        reasons = extract()
    assert reasons["a"] == "" and "Stale file handle" in reasons["b"] and is_transient(reasons["b"])
    assert f"1 failed by a fault of the machine; to try again: snakemake extract_features --forcerun {spectra}" in (
        caplog.text
    )
    assert "--forcerun" not in caplog.text.split("spectrogram.h5")[-1]  # once, by the stage that reads the file
    monkeypatch.undo()
    assert extract() == {"a": "", "b": ""}  # although the keys are the same
    caplog.clear()
    with caplog.at_level(logging.INFO):
        extract()
    assert caplog.text.count("is up to date: kept") == 2


def test_a_changed_limit_concerns_only_shards_with_a_clip_that_exceeded_it(tmp_path):
    def clips(name, gap):
        sound = np.random.default_rng(0).normal(0, 0.1, (1, 4000))
        path = str(write(tmp_path / f"{name}.mkv", audio=Audio([(0, sound), (gap, sound)], rate=16000)))
        row = {"id": name, "path": path, "audio": "", "start": np.nan, "end": np.nan, "person": ""}
        return pd.DataFrame([row])

    shards = {"short": clips("short", 0.25), "long": clips("long", 9.0)}

    def extract(**limits):
        """Reason of the clip of each shard of AF, and inodes of the shards of spectrograms and of AF."""
        found = {}
        for name, rows in shards.items():
            spectra, positions = tmp_path / f"{name}.h5", tmp_path / f"{name}-AF.h5"
            bounds = LimitSettings(**limits)
            spectrogram.spectrogram_shard(rows, spectra, settings=SpectrogramSettings(), dtype="float32", limits=bounds)
            encoder_shard(spectra, positions, settings=AudioEncoderSettings())
            with read_shard(positions) as shard:
                found[name] = shard.clips["reason"].item(), spectra.stat().st_ino, positions.stat().st_ino
        return found

    strict = extract(silence_s=2.5)
    assert strict["short"][0] == "" and "(limits.silence_s: 2.5 in config.yaml)" in strict["long"][0]
    assert extract(silence_s=2.5, cpu_s=7200) == strict  # no clip exceeded it
    wider = extract(silence_s=5)
    assert wider["short"] == strict["short"] and "(limits.silence_s: 5.0 in config.yaml)" in wider["long"][0]
    enough = extract(silence_s=60)
    assert enough["short"] == strict["short"] and enough["long"][0] == ""
    assert extract(silence_s=2.5) == enough
