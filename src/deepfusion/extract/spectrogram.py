"""Clips of a block -> a shard of spectrograms."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepfusion import media
from deepfusion import spectrogram as spectrograms
from deepfusion.config import SpectrogramSettings
from deepfusion.errors import ClipError
from deepfusion.extract.common import hash_of, kept, report, segment, shard_key
from deepfusion.progress import track
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
    with ShardWriter(out, stage="spectrogram", key=key) as shard:
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
        for clip, hash_ in zip(
            track(list(clips.itertuples()), f"spectrogram {out.stem}", unit="clips"), hashes, strict=True
        ):
            facts: dict[str, Any] = {"sha256": hash_}
            shard.begin(clip.id)
            try:
                probe = media.probe(Path(clip.path))
                if not probe.has_audio:
                    shard.end(status="absent", reason="the file has no sound", **facts)
                    continue
                for name in ("audio_start", "audio_duration", "audio_rate"):
                    facts[name] = getattr(probe, name)
                sound = media.sound(Path(clip.path), rate=settings.rate, **segment(clip))
                values = spectrograms.spectrogram(sound.samples, **settings.model_dump())
                shard.append("spectrogram", values.astype(dtype))
                shard.append("time", spectrograms.times(len(values), start=sound.start, **_framing(settings)))
                shard.end(**facts)
            except ClipError as error:
                shard.fail(str(error), **facts)
    report(out)


def _framing(settings: SpectrogramSettings) -> dict[str, float]:
    return settings.model_dump(include={"rate", "window_ms", "shift_ms"})
