"""Clips of a block -> a shard of spectrograms."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepfusion import media
from deepfusion import spectrogram as spectrograms
from deepfusion.cache_key import media_files, media_key
from deepfusion.config import DEFAULT_LIMITS, LimitSettings, SpectrogramSettings
from deepfusion.costs import measured
from deepfusion.extract.common import (
    AbsentError,
    check_hash,
    each_clip,
    finish,
    hash_of,
    is_up_to_date,
    report,
    segment,
)
from deepfusion.extract.workers import Work, Workers
from deepfusion.store.shard import ShardWriter


def spectrogram_shard(
    clips: pd.DataFrame,
    out: Path,
    *,
    settings: SpectrogramSettings,
    dtype: str,
    limits: LimitSettings = DEFAULT_LIMITS,
) -> None:
    """Compute the spectrogram of each clip's audio.

    Args:
        clips: Rows of a manifest.
        out: The shard.
        settings: Window, shift, DFT, bins, floor.
        dtype: float32 or float16, of the stored values.
        limits: Limits per clip.
    """
    files = dict(zip(clips["id"], media_files("spectrogram", clips), strict=True))
    hashes = {id_: hash_of(file) for id_, file in files.items()}
    key = media_key("spectrogram", clips, list(hashes.values()), settings.model_dump(), dtype)
    if is_up_to_date(out, key, limits):
        return

    def work(clip: Any, facts: dict[str, Any]) -> Iterator[dict[str, np.ndarray]]:
        facts["audio_sha256" if clip.audio else "sha256"] = hashes[clip.id]
        parts = processes.stream((files[clip.id], segment(clip)))
        found = next(parts)
        if found is None:
            raise AbsentError("the file has no audio")
        check_hash(hashes[clip.id], files[clip.id])
        facts.update(found)
        yield from parts

    processes = Workers(partial(_begin, settings, dtype, limits), limits=limits)
    with (
        ShardWriter(out, stage="spectrogram", key=key) as shard,
        measured(shard),
        processes,
    ):
        shard.column("time", (), np.float64, units="s", axes="window", description="centre of the window, clip's clock")
        shard.column(
            "spectrogram",
            (settings.bins,),
            dtype,
            units="dB re a full-scale sine",
            axes="window, bin",
            description=f"log magnitude; bin i is {settings.rate / settings.dft:g} i Hz; not normalised",
            window="hamming",
            **settings.model_dump(),
        )
        each_clip(shard, clips, what=f"spectrogram {out.stem}", work=work)
    finish(out)
    report(out)


def _begin(settings: SpectrogramSettings, dtype: str, limits: LimitSettings) -> Work:
    return partial(audio_job, settings=settings, dtype=dtype, limits=media.Limits(limits.pixels, limits.silence_s))


def audio_job(
    job: tuple[str, dict[str, float | None]], *, settings: SpectrogramSettings, dtype: str, limits: media.Limits
) -> Iterator[dict[str, Any] | None]:
    """First the facts about a clip's audio, or None if it has none; then its rows, a block at a time.

    Raises:
        ClipError: The audio cannot be read.
    """
    path, part = job
    probe = media.probe_audio(path, limits)
    if not probe.has_audio:
        yield None
        return
    audio = media.read_audio(path, rate=settings.rate, limits=limits, **part)
    facts = ("audio_start", "audio_duration", "audio_rate")
    yield {name: getattr(probe, name) for name in facts} | {"audio_note": audio.note}
    first, framing = 0, settings.model_dump(include={"rate", "window_ms", "shift_ms"})
    for values in spectrograms.blocks(audio.samples, **settings.model_dump()):
        times = spectrograms.times(first + len(values), start=audio.start, **framing)[first:]
        yield {"spectrogram": values.astype(dtype), "time": times}
        first += len(values)
