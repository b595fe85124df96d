"""Shared by the stages of the extraction: up-to-date shards, loop over clips, segments, final report."""

import logging
import os
import stat
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepfusion.cache_key import file_sha256
from deepfusion.config import LimitSettings
from deepfusion.errors import ClipError, MachineError, TransientError, UserError
from deepfusion.media.limits import exceeded_another
from deepfusion.progress import track
from deepfusion.store import DamagedError, ShardWriter, check_whole, read_shard

log = logging.getLogger(__name__)

# Frames in memory at a time: 32 of 1280 x 720 are 88 MB.
FRAMES_AT_A_TIME = 32
# Ends the reason of a clip that failed by a `TransientError`; derived stages copy the reason, so they count likewise.
TRANSIENT = " (a fault of the machine, not of the clip)"


def hash_of(path: str) -> str:
    """SHA-256 of a clip's file, "" if it cannot be read (the clip then fails when it is opened).

    A file is read once per process, as long as its size and time stay: many clips may be segments of it.
    """
    try:
        found = os.stat(path)  # noqa: PTH116  its text is the key of the cache
        # Opening a named pipe would block.
        return _hash(path, found.st_size, found.st_mtime_ns, found.st_ino) if stat.S_ISREG(found.st_mode) else ""
    except OSError:
        return ""


@lru_cache(maxsize=100_000)
def _hash(path: str, *_: int) -> str:
    return file_sha256(path)


def check_hash(sha256: str, path: str) -> None:
    """Check that `hash_of` could read a file that has been opened since.

    Raises:
        TransientError: It could not.
    """
    if not sha256:
        raise TransientError(f"{Path(path).name}: the file could not be read when its job began")


def is_up_to_date(path: Path, key: str, limits: LimitSettings | None = None) -> bool:
    """Whether `path` has an intact shard with this key, or had one before Snakemake deleted it to rerun a job.

    Limits are not part of the key: a changed limit concerns only a shard with a clip that exceeded it.

    Args:
        path: The shard.
        key: What it depends on.
        limits: The present limits, of a stage that reads media.
    """
    for shard in (path, _spare(path)):
        if _is_current(shard, key, limits):
            if shard != path:
                link(shard, path)
            log.info("%s is up to date: kept", path)
            return True
    return False


def _is_current(path: Path, key: str, limits: LimitSettings | None) -> bool:
    try:
        with read_shard(path) as shard:
            reasons = shard.clips["reason"]
            if shard.key != key or any(map(is_transient, reasons)):
                return False
            if limits and any(exceeded_another(reason, limits.model_dump()) for reason in reasons):
                return False
        check_whole(path)
    except DamagedError as error:
        log.warning("%s: it is recomputed", error)
    except (UserError, MachineError):
        pass
    else:
        return True
    return False


def finish(path: Path) -> None:
    """Keep a finished shard under a second name as well: Snakemake deletes the first one before it reruns a job."""
    try:
        link(path, _spare(path))
    except OSError as error:  # no hard links, or a read-only folder: a rerun recomputes the shard
        log.debug("%s has no second name: %s", path, error)


def _spare(path: Path) -> Path:
    return path.with_name(f".{path.name}")


def link(existing: Path, path: Path) -> None:
    """Give a file a second name, atomically replacing any file of that name.

    Raises:
        OSError: The file system has no hard links, or is read-only.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    part.hardlink_to(existing)
    part.replace(path)
    part.unlink(missing_ok=True)  # both names of one file: replace does nothing


def segment(clip: Any) -> dict[str, float | None]:
    """Start and end of the clip in its file, s; None: those of the file."""
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


class AbsentError(Exception):
    """A clip lacks the modality that the stage reads; the message names it."""


# Yields the rows of a clip in parts, column -> rows; facts about the clip go into the dictionary.
Work = Callable[[Any, dict[str, Any]], Iterator[dict[str, np.ndarray]]]


def each_clip(shard: ShardWriter, clips: pd.DataFrame, *, what: str, work: Work) -> None:
    """Run a stage clip by clip; a clip that cannot be processed is recorded with its reason.

    Args:
        shard: Receives the clips; its columns are declared.
        clips: Rows of a manifest.
        what: Title of the progress display.
        work: Called with a row of the manifest and a dictionary for facts about the clip; yields its rows.
            `AbsentError`: the clip lacks the modality. UserError and MachineError stop the run; any other exception
            fails the clip.
    """
    for clip in track(list(clips.itertuples()), what, unit="clips"):
        log.debug("%s: %s, %s", what, clip.id, clip.path)
        facts: dict[str, Any] = {}
        shard.begin(clip.id)
        parts = work(clip, facts)
        while True:
            # Writing is outside of `try`: a full disk is not a failure of the clip.
            try:
                part = next(parts, None)
            except AbsentError as nothing:
                shard.end(status="absent", reason=str(nothing), **facts)
                break
            except (UserError, MachineError):
                raise
            except Exception as error:
                shard.fail(failure(error, clip.id), **facts)
                break
            if part is None:
                shard.end(**facts)
                break
            for name, rows in part.items():
                shard.append(name, rows)


def failure(error: Exception, clip_id: str) -> str:
    """The reason that is recorded with a clip; the log has the traceback of an unforeseen error."""
    end = TRANSIENT if isinstance(error, TransientError | OSError) else ""
    if isinstance(error, ClipError):
        return f"{error}{end}"
    log.debug("%s: unforeseen", clip_id, exc_info=error)
    return f"{type(error).__name__}: {error}{end}"


def is_transient(reason: str) -> bool:
    """Whether a clip with this reason failed by a fault of the machine, so that another run may succeed."""
    return TRANSIENT in reason


def report(shard: Path, *, known: Collection[str] = ()) -> None:
    """Log a count per status, and the reason for every clip that is not ok.

    Args:
        shard: A finished shard.
        known: Clips that are not ok in an earlier stage, which has logged their reasons.
    """
    with read_shard(shard) as done:
        counts = Counter(done.clips["status"])
        log.info("%s: %s", shard, ", ".join(f"{n} {status}" for status, n in counts.items()))
        for id_, clip in done.clips[done.clips["status"] != "ok"].iterrows():
            if id_ not in known:
                log.warning("%s %s: %s: %s", done.stage, id_, clip["status"], clip["reason"])
        if again := [id_ for id_, reason in done.clips["reason"].items() if is_transient(reason) and id_ not in known]:
            log.warning(
                "%s: %d failed by a fault of the machine; to try again: snakemake extract_features --forcerun %s",
                *(shard, len(again), shard),
            )
