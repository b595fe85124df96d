"""What the stages of the extraction share: keys, kept shards, segments, the report at the end."""

import logging
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepfusion import stages
from deepfusion.config import Settings
from deepfusion.corpora import sha256
from deepfusion.errors import UserError
from deepfusion.store.shard import read_shard

log = logging.getLogger(__name__)

# Frames that are held in memory at a time: 32 of 1280 x 720 are 88 MB.
FRAMES_AT_A_TIME = 32


def hash_of(path: str) -> str:
    """SHA-256 of a clip's file, "" if it cannot be read (the clip then fails when it is opened)."""
    try:
        return sha256(path)
    except OSError:
        return ""


def shard_key(stage: str, clips: pd.DataFrame, hashes: list[str], settings: Settings, *more: object) -> str:
    """Names everything that a shard made from media depends on.

    Args:
        stage: Whose version counts.
        clips: Rows of the manifest.
        hashes: SHA-256 of their files.
        settings: Of the stage.
        *more: Further plain values.
    """
    rows = [
        [clip.id, hash_, str(clip.start), str(clip.end)] for clip, hash_ in zip(clips.itertuples(), hashes, strict=True)
    ]
    return stages.digest(stages.VERSIONS[stage], rows, settings.model_dump(), *more)


def kept(path: Path, key: str) -> bool:
    """Whether `path` is a whole shard of this key already; its time is renewed, so that Snakemake sees it as made."""
    try:
        with read_shard(path) as shard:
            same = shard.key == key
    except UserError:
        return False
    if same:
        os.utime(path)
        log.info("%s is up to date: kept", path)
    return same


def segment(clip: Any) -> dict[str, float | None]:
    """Give start and end (s) of the part of the file that is the clip; None: the file's own."""
    return {name: None if np.isnan(value := getattr(clip, name)) else value for name in ("start", "end")}


def groups(items: Iterable, size: int = FRAMES_AT_A_TIME) -> Iterator[list]:
    """Successive lists of at most `size` items."""
    group: list = []
    for item in items:
        group.append(item)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group


def report(shard: Path, *, told: Collection[str] = ()) -> None:
    """Log what became of the clips of a shard: how many are done, and each other one with its reason.

    Args:
        shard: A finished shard.
        told: Clips that an earlier stage has reported already.
    """
    with read_shard(shard) as done:
        counts = Counter(done.clips["status"])
        log.info("%s: %s", shard, ", ".join(f"{n} {status}" for status, n in counts.items()))
        for id_, clip in done.clips[done.clips["status"] != "ok"].iterrows():
            if id_ not in told:
                log.warning("%s %s: %s: %s", done.stage, id_, clip["status"], clip["reason"])
