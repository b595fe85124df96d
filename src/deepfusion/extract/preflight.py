"""Estimates the cost of an extraction before it starts, from the clips' durations and this machine's rates."""

import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from deepfusion import media
from deepfusion.cache_key import media_files
from deepfusion.config import DEFAULT_LIMITS, Extraction, LimitSettings
from deepfusion.costs import totals
from deepfusion.errors import ClipError, UserError
from deepfusion.extract.audio_encoder import encoder_shard
from deepfusion.extract.faces import faces_shard
from deepfusion.extract.networks import network_shards
from deepfusion.extract.prefetch import ahead
from deepfusion.extract.spectrogram import spectrogram_shard
from deepfusion.extract.workers import Work, Workers
from deepfusion.networks.engines import Engine
from deepfusion.plan import stage_names
from deepfusion.progress import track
from deepfusion.sharding import blocks
from deepfusion.store.shard import read_shard
from deepfusion.versions import ENCODER

# Maximum clips that are read, evenly spread over the manifest; they represent a larger corpus.
SCANNED = 1000
# Number of clips to measure rates on, and seconds of each; SHORT_S: seconds of one clip, to measure start-up.
TRIED, TRIED_S = 8, 4.0
SHORT_S = 0.2
AUDIO = ("spectrogram", ENCODER)  # stages that read audio
# What the processes of a shard do before their ledger begins.
STARTS = (
    "from deepfusion.extract.faces import FaceSettings, Follower; Follower(FaceSettings())",
    "import deepfusion.extract.networks",
    "import deepfusion.extract.spectrogram",
    "import deepfusion.extract.audio_encoder",
)


def preflight(
    clips: pd.DataFrame, *, config: Extraction, device: torch.device, cores: int, engine: Engine = "auto"
) -> dict[str, Any]:
    """Estimate the cost of an extraction.

    Args:
        clips: The manifest.
        config: What to extract.
        device: Where the networks will run.
        cores: Number of parallel workers.
        engine: Inference engine of the networks.

    Returns:
        clips, read. bad: id -> reason, of unreadable clips. video_s, audio_s, frames and store_bytes of the
            corpus. ledger: of the trial. worker_s: stage -> CPU time or device time for the corpus, s. start_s: CPU
            time to start Python and load packages and detectors, in all processes. seconds: wall time on `cores`.

    Raises:
        UserError: None of the clips can be read.
    """
    looked = scan(clips.iloc[_spread(len(clips), SCANNED)], cores=cores, limits=config.limits)
    good = looked[looked["reason"] == ""]
    if good.empty:
        raise UserError(f"none of {len(looked)} clips can be read; the first: {looked['reason'].iloc[0]}")
    # Clips without a declared duration count as the mean of the others.
    whole = good[["video_s", "audio_s", "frames"]].mean() * len(good) / len(looked) * len(clips)
    full = good[good["video_s"].ne(0)] if good["video_s"].ne(0).any() else good
    rows = full.index[_spread(len(full), TRIED)]
    tried, begins = clips.loc[rows], full.loc[rows, "begins"]
    setting = {"device": device, "engine": engine}
    with tempfile.TemporaryDirectory() as name:
        folder, alone = Path(name), config.model_copy(update={"networks": {}})
        short = _beginnings(tried.iloc[:1], begins, SHORT_S)
        _try(short, folder / "first", config=alone, **setting)  # warm-up: compiles code on a new machine
        start, *_ = _try(short, folder / "start", config=alone, **setting)
        ledger, frame_bytes, second_bytes = _try(
            _beginnings(tried, begins, TRIED_S), folder / "rates", config=config, **setting
        )
    shards = len(blocks(len(clips), config.store.clips_per_shard))
    worker = _expected(start, ledger, whole, shards)
    parts = totals(ledger).loc[worker.index]
    on_cpu = parts["device"].eq("cpu")
    started = _start_s() * shards
    bad = looked.index[looked["reason"] != ""]
    return {
        "clips": len(clips),
        "read": len(looked),
        "bad": dict(zip(clips.loc[bad, "id"], looked.loc[bad, "reason"], strict=True)),
        **whole.to_dict(),
        "store_bytes": whole["frames"] * frame_bytes + whole["audio_s"] * second_bytes,
        "ledger": ledger,
        "worker_s": worker.to_dict(),
        "start_s": started,
        "cores": cores,
        # CPU and accelerator work in parallel: the slower of the two decides.
        "seconds": max((worker[on_cpu].sum() + started) / cores, worker[~on_cpu].sum()),
    }


def _start_s() -> float:
    """CPU seconds until the processes of one shard begin to work."""
    before = os.times()
    for start in STARTS:
        subprocess.run([sys.executable, "-c", start], check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def _expected(start: pd.DataFrame, costs: pd.DataFrame, whole: pd.Series, shards: int) -> pd.Series:
    """Expected seconds of each stage: a start-up per shard, plus the amount of work at the measured rate.

    On a CPU this is CPU time, which other programs prolong less than wall time.

    Args:
        start: Ledger of a minimal trial, mostly start-up.
        costs: Ledger of the trial, which gives the rates.
        whole: video_s, audio_s and frames of the corpus.
        shards: Their number.
    """
    few, many = _spent(start), _spent(costs)
    few = few.reindex(many.index, fill_value=0.0)
    rate = ((many["seconds"] - few["seconds"]) / (many["amount"] - few["amount"]).clip(lower=1e-9)).clip(lower=0)
    at_start = (few["seconds"] - rate * few["amount"]).clip(lower=0)
    amount = pd.Series(whole["frames"], many.index).where(~many.index.isin(AUDIO), whole["audio_s"])
    return rate * amount + at_start * shards


def _spent(ledger: pd.DataFrame) -> pd.DataFrame:
    """seconds, and amount of work: frames, or s of audio; of each part that had any."""
    parts = totals(ledger)
    parts = parts[parts["media_s"] > 0]
    amount = parts["rows"].where(~parts.index.isin(AUDIO), parts["media_s"])
    return pd.DataFrame({"seconds": parts["used_s"], "amount": amount})


def scan(clips: pd.DataFrame, *, cores: int, limits: LimitSettings = DEFAULT_LIMITS) -> pd.DataFrame:
    """Probe clips without decoding them, on `cores` in parallel.

    Returns:
        The index of `clips`; video_s, audio_s, frames: 0 without such a stream, NaN where the file does not declare
        them; begins: the first frame or sample, s from the beginning of the file; reason: why the clip cannot be
        read, else "".
    """
    files = zip(clips["path"], media_files("spectrogram", clips), strict=True)
    with (
        Workers(_looking, count=cores, limits=limits) as processes,
        closing(ahead(map(processes.stream, files), workers=cores, depth=0)) as streams,
    ):
        rows = track(list(clips.itertuples()), "scan", unit="clips")
        found = [_looked(clip, stream) for clip, stream in zip(rows, streams, strict=True)]
    return pd.DataFrame(found, index=clips.index)


def _looking() -> Work:
    return _look


def _look(job: tuple[str, str]) -> Iterator[media.Probe]:
    """Probes of the video file and of the audio file of a clip."""
    video, audio = job
    yield media.probe_video(video)
    yield media.probe_audio(audio)


def _looked(clip: Any, stream: Iterator[media.Probe]) -> dict[str, Any]:
    """A row of `scan`."""
    try:
        video_probe, audio_probe = stream
    except ClipError as error:
        return {"video_s": math.nan, "audio_s": math.nan, "frames": math.nan, "begins": math.nan, "reason": str(error)}
    # Segments count from the beginning of the file.
    video_start, audio_start = video_probe.video_start - video_probe.begin, audio_probe.audio_start - audio_probe.begin
    video = _inside(clip, video_start, video_probe.video_duration) if video_probe.has_video else 0.0
    audio = _inside(clip, audio_start, audio_probe.audio_duration) if audio_probe.has_audio else 0.0
    frames = video * video_probe.frame_rate if video_probe.has_video else 0.0
    begins = np.fmin(video_start, audio_start)
    return {"video_s": video, "audio_s": audio, "frames": frames, "begins": begins, "reason": ""}


def _inside(clip: Any, start: float, duration: float) -> float:
    """Seconds of a stream within the segment of the clip."""
    first, last = np.nanmax([clip.start, start]), np.fmin(clip.end, start + duration)
    return max(0.0, float(last - first))


def _spread(n: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))


def _beginnings(clips: pd.DataFrame, begins: pd.Series, seconds: float) -> pd.DataFrame:
    """The clips, each cut off after `seconds`."""
    first = clips["start"].fillna(begins.loc[clips.index])
    return clips.assign(end=np.fmin(clips["end"], first + seconds))


def _try(
    clips: pd.DataFrame, folder: Path, *, config: Extraction, device: torch.device, engine: Engine
) -> tuple[pd.DataFrame, float, float]:
    """Extract a few clips; returns the ledger, and the store's bytes per frame and per second of audio."""
    dtype, paths = config.store.dtype, {stage: folder / f"{stage}.h5" for stage in stage_names(config)}
    tracks, spectrograms, outs = paths["faces"], paths["spectrogram"], {slot: paths[slot] for slot in config.networks}
    faces_shard(clips, tracks, settings=config.faces, limits=config.limits)
    network_shards(
        clips,
        tracks,
        outs,
        networks=config.networks,
        rate=config.faces.rate,
        dtype=dtype,
        device=device,
        engine=engine,
        limits=config.limits,
    )
    spectrogram_shard(clips, spectrograms, settings=config.spectrogram, dtype=dtype, limits=config.limits)
    if ENCODER in paths:
        encoder_shard(spectrograms, paths[ENCODER], settings=config.audio_encoder)
    costs, frame_bytes, audio_bytes, audio_s, frames = [], 0.0, 0, 0.0, 0
    for stage, path in paths.items():
        with read_shard(path) as shard:
            costs.append(shard.ledger)
            size, rows = sum(data.nbytes for data in shard.columns.values()), shard.offsets[-1]
            if stage == "spectrogram":
                audio_s = shard.seconds()
            elif stage == "faces":
                frames = rows  # the video's: networks may see fewer (faces.rate)
        if stage in AUDIO:
            audio_bytes += size
        else:
            frame_bytes += size / max(1, frames)
    return pd.concat(costs, ignore_index=True), frame_bytes, audio_bytes / audio_s if audio_s else 0.0
