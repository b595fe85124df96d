"""What the extraction of a corpus will take, before it starts: the clips' durations, and this machine's rates."""

import math
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from deepfusion import ledger, media
from deepfusion.config import Extraction
from deepfusion.errors import ClipError, UserError
from deepfusion.extract.faces import faces_shard
from deepfusion.extract.networks import network_shards
from deepfusion.extract.spectrogram import spectrogram_shard
from deepfusion.networks.engines import Engine
from deepfusion.store.shard import read_shard

# Clips that are looked at, evenly spread over the manifest; those of a larger corpus are taken to be like them.
SCANNED = 1000
# Clips that are extracted to learn the rates, and at most so much of each, s.
TRIED, TRIED_S = 4, 4.0


def preflight(
    clips: pd.DataFrame, *, config: Extraction, device: torch.device, cores: int, engine: Engine = "auto"
) -> dict[str, Any]:
    """Say what the extraction will take.

    Args:
        clips: The manifest.
        config: What is to be extracted.
        device: Where the networks will run.
        cores: For how many workers at a time.
        engine: What will compute the networks.

    Returns:
        clips, looked_at; bad: id -> reason, of the clips that were looked at and cannot be read. video_s, audio_s and
        frames of all clips, store_bytes. ledger: of the clips that were tried. worker_s: part of the work -> s of one
        worker for all clips. seconds: by the clock, on so many `cores`, without a pause.

    Raises:
        UserError: None of the clips can be read.
    """
    looked = scan(clips.iloc[_spread(len(clips), SCANNED)], cores=cores)
    good = looked[looked["reason"] == ""]
    if good.empty:
        raise UserError(f"none of {len(looked)} clips can be read; the first: {looked['reason'].iloc[0]}")
    # Of a clip that declares no duration the mean of the others is expected.
    whole = good[["video_s", "audio_s", "frames"]].mean() * len(good) / len(looked) * len(clips)
    full = good[good["video_s"].ne(0)] if good["video_s"].ne(0).any() else good
    tried = clips.loc[full.index[_spread(len(full), TRIED)]]
    with tempfile.TemporaryDirectory() as folder:
        costs, frame_bytes, second_bytes = _try(
            _beginnings(tried), Path(folder), config=config, device=device, engine=engine
        )
    parts = ledger.totals(costs)
    parts = parts[parts["media_s"] > 0]
    media_s = pd.Series(whole["video_s"], parts.index).where(parts.index != "spectrogram", whole["audio_s"])
    worker = parts["wall_s"] / parts["media_s"] * media_s
    on_cpu = parts["device"].eq("cpu")
    threads = parts["threads"].astype(int)
    bad = looked.index[looked["reason"] != ""]
    return {
        "clips": len(clips),
        "looked_at": len(looked),
        "bad": dict(zip(clips.loc[bad, "id"], looked.loc[bad, "reason"], strict=True)),
        **whole.to_dict(),
        "store_bytes": whole["frames"] * frame_bytes + whole["audio_s"] * second_bytes,
        "ledger": costs,
        "worker_s": worker.to_dict(),
        "cores": cores,
        # The cores and another device work side by side: the slower of the two decides.
        "seconds": max((worker * threads)[on_cpu].sum() / cores, worker[~on_cpu].sum()),
    }


def scan(clips: pd.DataFrame, *, cores: int) -> pd.DataFrame:
    """Look at clips without decoding them, so many `cores` at a time.

    Returns:
        The index of `clips`; video_s, audio_s, frames: 0 without such a stream, NaN where the file does not declare
        them; reason: why the clip cannot be read, else "".
    """

    def look(clip: Any) -> dict[str, Any]:
        try:
            found = media.probe(clip.path)
        except ClipError as error:
            return {"video_s": math.nan, "audio_s": math.nan, "frames": math.nan, "reason": str(error)}
        video = _inside(clip, found.video_start, found.video_duration) if found.has_video else 0.0
        audio = _inside(clip, found.audio_start, found.audio_duration) if found.has_audio else 0.0
        frames = video * found.frame_rate if found.has_video else 0.0
        return {"video_s": video, "audio_s": audio, "frames": frames, "reason": ""}

    with ThreadPoolExecutor(cores) as pool:
        return pd.DataFrame(list(pool.map(look, clips.itertuples())), index=clips.index)


def _inside(clip: Any, start: float, duration: float) -> float:
    """Seconds of a stream that the manifest takes."""
    first, last = np.nanmax([clip.start, start]), np.fmin(clip.end, start + duration)
    return max(0.0, float(last - first))


def _spread(n: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, n - 1, min(n, most)).round().astype(int))


def _beginnings(clips: pd.DataFrame) -> pd.DataFrame:
    """The clips, each cut off after `TRIED_S`."""
    found = [media.probe(path) for path in clips["path"]]
    first = np.where(clips["start"].isna(), [np.nanmin([p.video_start, p.audio_start]) for p in found], clips["start"])
    return clips.assign(end=np.fmin(clips["end"], first + TRIED_S))


def _try(
    clips: pd.DataFrame, folder: Path, *, config: Extraction, device: torch.device, engine: Engine
) -> tuple[pd.DataFrame, float, float]:
    """Extract a few clips: the ledger, and the bytes that a frame and a second of sound take in the store."""
    dtype, outs = config.store.dtype, {slot: folder / f"{slot}.h5" for slot in config.networks}
    tracks, sounds = folder / "faces.h5", folder / "spectrogram.h5"
    faces_shard(clips, tracks, settings=config.faces, limits=config.limits)
    network_shards(
        clips, tracks, outs, networks=config.networks, dtype=dtype, device=device, engine=engine, limits=config.limits
    )
    spectrogram_shard(clips, sounds, settings=config.spectrogram, dtype=dtype, limits=config.limits)
    costs, frame_bytes = [], 0.0
    for path in (tracks, *outs.values(), sounds):
        with read_shard(path) as shard:
            costs.append(shard.ledger)
            size, rows, seconds = (
                sum(data.nbytes for data in shard.columns.values()),
                shard.offsets[-1],
                shard.seconds(),
            )
        if path != sounds:
            frame_bytes += size / max(1, rows)
    return pd.concat(costs, ignore_index=True), frame_bytes, size / seconds if seconds else 0.0
