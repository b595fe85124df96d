"""Clips of a block -> a shard of face tracks."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import pandas as pd

from deepfusion import media
from deepfusion.config import FaceSettings
from deepfusion.errors import ClipError
from deepfusion.extract.common import each_clip, groups, hash_of, kept, report, segment, shard_key
from deepfusion.faces.detect import Detector
from deepfusion.faces.follow import follow
from deepfusion.faces.follow_near import follow_near
from deepfusion.faces.near import NearDetector
from deepfusion.faces.track import COLUMNS, Choice, FaceTrack, Reason, Row, collect
from deepfusion.ledger import measured
from deepfusion.store.shard import ShardWriter

# What the columns of a face track mean, for those who read the store with h5py alone.
MEANING = {
    "time": {"units": "s", "axes": "frame", "description": "presentation time on the clip's clock"},
    "box": {
        "units": "px",
        "axes": "frame, (left, top, right, bottom)",
        "description": "dlib's box in the upright frame; NaN: no face",
    },
    "landmarks": {"units": "px", "axes": "frame, point, (x, y)", "description": "iBUG 300-W points; NaN: no face"},
    "score": {"units": "1", "axes": "frame", "description": "dlib's detector score of the chosen face; NaN: no face"},
    "reason": {
        "units": "code",
        "axes": "frame",
        "description": "why the frame has no face of the followed person",
        "codes": ", ".join(f"{r.value} {r.name}" for r in Reason),
    },
    "choice": {
        "units": "code",
        "axes": "frame",
        "description": "how the face was chosen among those found",
        "codes": ", ".join(f"{c.value} {c.name}" for c in Choice),
    },
    "faces": {
        "units": "1",
        "axes": "frame",
        "description": "faces found in the frame: the person's and, by the latest search of a whole frame, the others"
        " (setting `search: exact`: of this very frame); 255 means 255 or more",
    },
}


Follower = Callable[[Iterable[media.Frame]], Iterator[Row]]


def follower(settings: FaceSettings) -> Follower:
    """What follows a person through the frames of a clip, by the setting `search`; one serves any number of clips.

    Raises:
        UserError: The predictor of the landmarks is not installed.
    """
    following = settings.model_dump(include={"max_gap", "min_overlap", "cut_difference"})
    finding = settings.model_dump(include={"upsample", "threshold"})
    match settings.search:
        case "exact":
            return partial(follow, detector=Detector(**finding), **following)
        case "near":
            detector = NearDetector(**finding)
            return partial(follow_near, detector=detector, redetect=settings.redetect, **following)


def faces_shard(clips: pd.DataFrame, out: Path, *, settings: FaceSettings, workers: int = 1) -> None:
    """Follow one person through each clip and write the face tracks.

    Args:
        clips: Rows of a manifest.
        out: The shard.
        settings: How faces are found and followed.
        workers: Processes, each with a clip at a time. Threads would not do: dlib keeps Python's lock.
    """
    hashes = [hash_of(path) for path in clips["path"]]
    key = shard_key("faces", clips, hashes, settings)
    if kept(out, key):
        return

    def work(clip: Any, facts: dict[str, Any]) -> str:
        track = next(tracks)
        found = next(track)
        if found is None:
            return "the file has no picture"
        facts.update(found)
        for part in track:
            for name in COLUMNS:
                shard.append(name, getattr(part, name))
        return ""

    with (
        ShardWriter(out, stage="faces", key=key, attrs={"settings": settings.model_dump_json()}) as shard,
        measured(shard, threads=workers),
        each_track(clips, settings, workers) as tracks,
    ):
        for name, (shape, dtype) in COLUMNS.items():
            shard.column(name, shape, dtype, **MEANING[name])
        each_clip(shard, clips, hashes, what=f"faces {out.stem}", work=work)
    report(out)


Track = Iterator[dict[str, Any] | FaceTrack | None]


def track_clip(path: str, part: dict[str, float | None], follower: Follower) -> Track:
    """First the facts about a clip's picture, or None if it has none; then its face track, a group of frames at a time.

    Raises:
        ClipError: The clip cannot be read, as soon as it is noticed.
    """
    probe = media.probe(path)
    if not probe.has_video:
        yield None
        return
    facts = ("width", "height", "rotation", "video_start", "video_duration", "frame_rate")
    yield {name: getattr(probe, name) for name in facts}
    yield from map(collect, groups(follower(media.frames(path, **part))))


@contextmanager
def each_track(clips: pd.DataFrame, settings: FaceSettings, workers: int) -> Iterator[Iterator[Track]]:
    """The tracks of clips, in their order: computed as they are read, or by several processes ahead of that."""
    jobs = [(clip.path, segment(clip)) for clip in clips.itertuples()]
    workers = min(workers, len(jobs))
    if workers == 1:
        same = follower(settings)
        yield (track_clip(*job, same) for job in jobs)
        return
    # Spawned, not forked: a fork would share the open shard.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin, initargs=(settings,))
    with pool:
        yield (_unpacked(*result) for result in pool.map(_whole_track, jobs))


_follower: Follower  # of a worker process


def _begin(settings: FaceSettings) -> None:
    global _follower
    cv2.setNumThreads(1)
    _follower = follower(settings)


def _whole_track(job: tuple[str, dict[str, float | None]]) -> tuple[list, ClipError | None]:
    # Numbers alone, 0.6 KB a frame: what a worker holds of a clip is small however long it is.
    parts = []
    try:
        for part in track_clip(*job, _follower):
            parts.append(part)
    except ClipError as error:
        return parts, error
    return parts, None


def _unpacked(parts: list, error: ClipError | None) -> Track:
    yield from parts
    if error is not None:
        raise error
