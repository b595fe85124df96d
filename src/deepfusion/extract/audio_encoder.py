"""Spectrograms of a block -> a shard of the audio encoder's positions."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from deepfusion.cache_key import encoder_key, file_sha256, outcome_key
from deepfusion.config import AudioEncoderSettings
from deepfusion.costs import measured
from deepfusion.extract.common import finish, is_up_to_date, report
from deepfusion.networks.audio_encoder import SpeechEncoder, load_encoder
from deepfusion.networks.encoder_file import encoder_path
from deepfusion.progress import track
from deepfusion.store import ShardWriter, check_whole, read_shard
from deepfusion.store.layout import attributes
from deepfusion.versions import ENCODER

# Copied from the encoder's card to the store: key of the card -> attribute.
CARD = {"name": "network", "data": "data", "licence": "licence", "citation": "citation"}


def encoder_shard(spectrograms: Path, out: Path, *, settings: AudioEncoderSettings) -> None:
    """Compute the positions of the audio encoder for each clip with a spectrogram; others keep status and reason.

    Args:
        spectrograms: The shard of spectrograms of the same clips.
        out: The shard.
        settings: Weights of the encoder.

    Raises:
        UserError: The weights are missing, or were trained on spectrograms of other settings.
        DamagedError: The shard of spectrograms is damaged.
    """
    check_whole(spectrograms)
    path = encoder_path(settings.weights)
    with read_shard(spectrograms) as spectra:
        key = encoder_key(outcome_key(spectra.key, spectra.clips), file_sha256(path))
        if is_up_to_date(out, key):
            return
        encoder = load_encoder(path)
        source = spectra.columns["spectrogram"]
        made = attributes(source)
        encoder.require(made)
        with (
            ShardWriter(out, stage=ENCODER, key=key) as shard,
            measured(shard, media_s=spectra.seconds(), threads=torch.get_num_threads()),
        ):
            _declare(shard, encoder, source.dtype)
            for clip_id, clip in track(list(spectra.clips.iterrows()), f"audio encoder {out.stem}", unit="clips"):
                shard.begin(clip_id)
                for name, rows in positions_of(encoder, spectra[clip_id], shift_s=made["shift_ms"] / 1000).items():
                    shard.append(name, rows)
                shard.end(status=clip["status"], reason=clip["reason"])
        known = spectra.clips.index[spectra.clips["status"] != "ok"]
    finish(out)
    report(out, known=known)


def positions_of(encoder: SpeechEncoder, rows: dict[str, np.ndarray], *, shift_s: float) -> dict[str, np.ndarray]:
    """Positions of one clip and their times; no rows where the clip has no spectrogram."""
    positions = encoder.positions(rows["spectrogram"])
    start = rows["time"][0] if len(rows["time"]) else 0.0
    return {"time": start + encoder.frames(len(positions)) * shift_s, "positions": positions}


def _declare(shard: ShardWriter, encoder: SpeechEncoder, dtype: np.dtype) -> None:
    shard.column(
        "time",
        (),
        np.float64,
        units="s",
        axes="position in time",
        description="centre of what the position sees, clip's clock",
    )
    shard.column(
        "positions",
        (encoder.bands, encoder.channels),
        dtype,
        units="1",
        axes="position in time, band, channel",
        description="vectors a_i of the pre-trained audio encoder, after its last ReLU",
        frequency=encoder.bins(),
        sha256=encoder.sha256,
        **{name: _text(encoder.card[key]) for key, name in CARD.items() if key in encoder.card},
    )


def _text(value: Any) -> str:
    """A value of a card as text; lists and mappings as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
