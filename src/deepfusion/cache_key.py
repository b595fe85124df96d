"""Cache keys: a short hash of everything that a shard depends on; the store recomputes it before joining.

A stage that reads media depends on its code version, its settings, and some manifest columns and one file per clip.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepfusion.versions import VERSIONS

# Stage -> columns of the manifest that it depends on, in addition to its file.
COLUMNS = {"faces": ["id", "start", "end", "person"], "spectrogram": ["id", "start", "end"]}


def digest(*parts: object) -> str:
    """Hash of plain values, 16 hexadecimal digits; equal values have equal hashes."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_sha256(path: str | os.PathLike) -> str:
    """SHA-256 of a file's content, 64 hexadecimal digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def media_files(stage: str, clips: pd.DataFrame) -> list[str]:
    """The file of each clip that a stage reads; audio may be in a separate file."""
    if stage == "spectrogram":
        return np.where(clips["audio"].eq(""), clips["path"], clips["audio"]).tolist()
    return clips["path"].tolist()


def media_key(
    stage: str, clips: pd.DataFrame, hashes: Sequence[str], settings: Mapping[str, Any], *more: object
) -> str:
    """Key of a shard of face tracks or spectrograms.

    Args:
        stage: "faces" or "spectrogram".
        clips: The shard's rows of the manifest.
        hashes: SHA-256 of the file that the stage reads, one per clip.
        settings: Settings of the stage.
        *more: Further plain values, such as the type of the stored numbers.
    """
    rows = clips[COLUMNS[stage]].astype(str).to_numpy().tolist()
    return digest(VERSIONS[stage], rows, list(hashes), dict(settings), *more)


def outcome_key(key: str, clips: pd.DataFrame) -> str:
    """What stages that read a shard depend on: its key, and what became of its clips.

    Limits and faults of the machine are not part of its key, but decide which clips failed.

    Args:
        key: Of the shard.
        clips: Its clips: status and reason.
    """
    return digest(key, clips[["status", "reason"]].to_numpy().tolist())


def network_key(tracks: str, fingerprint: str, dtype: str, rate: float | None = None) -> str:
    """Key of a shard of face features.

    Args:
        tracks: `outcome_key` of the shard of face tracks.
        fingerprint: Fingerprint of the network's weights and definition.
        dtype: Type of the stored numbers.
        rate: Frames per second; None: all.
    """
    return digest(VERSIONS["networks"], tracks, fingerprint, dtype, *([] if rate is None else [rate]))


def encoder_key(spectrograms: str, sha256: str) -> str:
    """Key of a shard of the audio encoder's positions.

    Args:
        spectrograms: `outcome_key` of the shard of spectrograms.
        sha256: SHA-256 of the encoder's weights file.
    """
    return digest(VERSIONS["audio_encoder"], spectrograms, sha256)
