"""Clips of a block -> a shard of spectrograms."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepfusion import media
from deepfusion import spectrogram as spectrograms
from deepfusion.config import SpectrogramSettings
from deepfusion.extract.common import each_clip, hash_of, kept, report, segment, shard_key
from deepfusion.ledger import measured
from deepfusion.store.shard import ShardWriter


def spectrogram_shard(clips: pd.DataFrame, out: Path, *, settings: SpectrogramSettings, dtype: str) -> None:
    """Compute the spectrogram of each clip's sound.

    Args:
        clips: Rows of a manifest.
        out: The shard.
        settings: Window, shift, DFT, bins, floor.
        dtype: float32 or float16, of the stored values.
    """
    hashes = [hash_of(path) for path in clips["path"]]
    key = shard_key("spectrogram", clips, hashes, settings, dtype)
    if kept(out, key):
        return

    def work(clip: Any, facts: dict[str, Any]) -> str:
        probe = media.probe(clip.path)
        if not probe.has_audio:
            return "the file has no sound"
        for name in ("audio_start", "audio_duration", "audio_rate"):
            facts[name] = getattr(probe, name)
        sound = media.sound(clip.path, rate=settings.rate, **segment(clip))
        values = spectrograms.spectrogram(sound.samples, **settings.model_dump())
        shard.append("spectrogram", values.astype(dtype))
        shard.append("time", spectrograms.times(len(values), start=sound.start, **_framing(settings)))
        return ""

    with ShardWriter(out, stage="spectrogram", key=key) as shard, measured(shard):
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
        each_clip(shard, clips, hashes, what=f"spectrogram {out.stem}", work=work)
    report(out)


def _framing(settings: SpectrogramSettings) -> dict[str, float]:
    return settings.model_dump(include={"rate", "window_ms", "shift_ms"})
