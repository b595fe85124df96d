"""What the stages of the extraction share: keys, kept shards, the loop over clips, segments, the report at the end."""

import logging
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepfusion import stages
from deepfusion.config import Settings
from deepfusion.corpora import sha256
from deepfusion.errors import ClipError, UserError
from deepfusion.progress import track
from deepfusion.store.shard import ShardWriter, read_shard

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


def each_clip(
    shard: ShardWriter, clips: pd.DataFrame, hashes: list[str], *, what: str, work: Callable[[Any, dict], str]
) -> None:
    """Do the work of a stage clip by clip; one that cannot be processed is recorded with its reason.

    Args:
        shard: Takes the clips; its columns are declared.
        clips: Rows of a manifest.
        hashes: SHA-256 of their files.
        what: The work, for the display of progress.
        work: Called with a row of the manifest and a dictionary for facts about the clip; appends to the shard and
            returns "", or says why there is nothing to append; raises ClipError.
    """
    for clip, hash_ in zip(track(list(clips.itertuples()), what, unit="clips"), hashes, strict=True):
        facts: dict[str, Any] = {"sha256": hash_}
        shard.begin(clip.id)
        try:
            absent = work(clip, facts)
        except ClipError as error:
            shard.fail(str(error), **facts)
        else:
            shard.end(status="absent" if absent else "ok", reason=absent, **facts)


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
