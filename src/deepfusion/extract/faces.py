"""Clips of a block -> a shard of face tracks."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from deepfusion import media
from deepfusion.cache_key import media_files, media_key
from deepfusion.config import DEFAULT_LIMITS, FaceSettings, LimitSettings
from deepfusion.corpora.columns import person
from deepfusion.costs import measured
from deepfusion.extract.common import (
    AbsentError,
    check_hash,
    each_clip,
    finish,
    groups,
    hash_of,
    is_up_to_date,
    report,
    segment,
)
from deepfusion.extract.prefetch import ahead
from deepfusion.extract.workers import Work, Workers
from deepfusion.faces.detect import Detector
from deepfusion.faces.face_track import COLUMNS, FOUND_COLUMNS, Choice, FaceTrack, Reason, Row, Source, collect
from deepfusion.faces.fast.local_detector import NearDetector
from deepfusion.faces.fast.tracker import follow_near
from deepfusion.faces.tracker import Person, follow
from deepfusion.faces.yunet import YuNet
from deepfusion.store.layout import FOUND
from deepfusion.store.shard import ShardWriter

# Attributes of the columns of a face track, for readers of the store with h5py alone.
MEANING = {
    "time": {"units": "s", "axes": "frame", "description": "presentation time on the clip's clock"},
    "box": {
        "units": "px",
        "axes": "frame, (left, top, right, bottom)",
        "description": "box of the face in the upright frame, as dlib's detector gives it; NaN: no face",
    },
    "landmarks": {"units": "px", "axes": "frame, point, (x, y)", "description": "iBUG 300-W points; NaN: not valid"},
    "score": {
        "units": "1",
        "axes": "frame",
        "description": "score of the detector that gave the box; NaN: no face",
    },
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
    "detector": {
        "units": "code",
        "axes": "frame",
        "description": "which detector gave the box",
        "codes": ", ".join(f"{s.value} {s.name}" for s in Source),
    },
    "alignment": {
        "units": "distance between the eyes",
        "axes": "frame",
        "description": "mean distance of eyes, nose and mouth corners of the landmarks from YuNet's, in distances"
        " between the eyes of a frontal face of this size; NaN: YuNet was not run",
    },
}
# The same for the table of all faces found in the searched frames: the group `found`, with its own offsets.
FOUND_MEANING = {
    "time": {"units": "s", "axes": "face", "description": "presentation time of the frame that was searched"},
    "box": {
        "units": "px",
        "axes": "face, (left, top, right, bottom)",
        "description": "box of the face in the upright frame, as dlib's detector gives it, or near it",
    },
    "score": {"units": "1", "axes": "face", "description": "score of the detector that gave the box"},
    "detector": MEANING["detector"] | {"axes": "face"},
}


class Follower:
    """Follows one person through the frames of a clip; it can be reused for any number of clips.

    Loading its models takes seconds: forked processes share those of their parent. A spawned process receives the
    settings and loads its own.

    Args:
        settings: How faces are found and followed.

    Raises:
        UserError: The predictor of the landmarks, or YuNet, is not installed.
    """

    def __init__(self, settings: FaceSettings):
        self._settings, self._follow = settings, _tracker(settings)

    def __call__(self, frames: Iterable[media.Frame], *, person: Person = "") -> Iterator[Row]:
        """One row per frame; `person`: whom to follow."""
        return self._follow(frames, person=person)

    def __reduce__(self):
        return Follower, (self._settings,)


def _tracker(settings: FaceSettings) -> Callable[..., Iterator[Row]]:
    """The tracker for the setting `search`."""
    following = settings.model_dump(include={"max_gap", "min_overlap", "cut_difference"})
    finding = settings.model_dump(include={"upsample", "threshold"})
    if settings.search == "exact":
        return partial(follow, detector=Detector(**finding), **following)
    near = settings.model_dump(include={"redetect", "weak_threshold", "yunet_threshold", "max_misalignment"})
    yunet = YuNet() if settings.detector == "dlib+yunet" else None
    return partial(follow_near, detector=NearDetector(**finding), yunet=yunet, **near, **following)


def faces_shard(
    clips: pd.DataFrame,
    out: Path,
    *,
    settings: FaceSettings,
    limits: LimitSettings = DEFAULT_LIMITS,
    workers: int = 1,
) -> None:
    """Follow one person through each clip and write the face tracks.

    Args:
        clips: Rows of a manifest.
        out: The shard.
        settings: How faces are found and followed.
        limits: Limits per clip.
        workers: Processes, each with one clip at a time; not threads, because dlib does not release the GIL.
    """
    hashes = dict(zip(clips["id"], map(hash_of, media_files("faces", clips)), strict=True))
    key = media_key("faces", clips, list(hashes.values()), settings.tracking)
    if is_up_to_date(out, key, limits):
        return

    def work(clip: Any, facts: dict[str, Any]) -> Iterator[dict[str, np.ndarray]]:
        facts["sha256"] = hashes[clip.id]
        track = next(tracks)
        found = next(track)
        if found is None:
            raise AbsentError("the file has no video")
        check_hash(hashes[clip.id], clip.path)
        facts.update(found)
        for part in track:
            yield part.columns() | {f"{FOUND}/{name}": values for name, values in part.found.items()}

    begin = partial(_begin, Follower(settings), limits)
    processes = Workers(begin, count=min(workers, len(clips)), limits=limits)
    with (
        ShardWriter(
            out, stage="faces", key=key, attrs={"settings": json.dumps(settings.tracking, separators=(",", ":"))}
        ) as shard,
        measured(shard, threads=workers),
        processes,
        closing(_tracks(clips, processes, workers)) as tracks,
    ):
        for name, (shape, dtype) in COLUMNS.items():
            shard.column(name, shape, dtype, **MEANING[name])
        for name, (shape, dtype) in FOUND_COLUMNS.items():
            shard.column(f"{FOUND}/{name}", shape, dtype, **FOUND_MEANING[name])
        each_clip(shard, clips, what=f"faces {out.stem}", work=work)
    finish(out)
    report(out)


Track = Iterator[dict[str, Any] | FaceTrack | None]


def _tracks(clips: pd.DataFrame, processes: Workers, workers: int) -> Iterator[Track]:
    """The tracks of clips, in their order, several computed at a time."""
    jobs = ((clip.path, segment(clip), clip.person) for clip in clips.itertuples())
    # Unbounded: only numbers, 0.6 KB per frame, wait for earlier clips.
    return ahead(map(processes.stream, jobs), workers=workers if workers > 1 else 0, depth=0)


def _begin(follower: Follower, limits: LimitSettings) -> Work:
    cv2.setNumThreads(1)
    return partial(_track_job, follower=follower, limits=media.Limits(limits.pixels, limits.silence_s))


def _track_job(job: tuple[str, dict[str, float | None], str], *, follower: Follower, limits: media.Limits) -> Track:
    path, part, whom = job
    return track_clip(path, part, partial(follower, person=person(whom)), limits=limits)


def track_clip(
    path: str,
    part: dict[str, float | None],
    follow: Callable[[Iterable[media.Frame]], Iterator[Row]],
    *,
    limits: media.Limits = media.DEFAULT_LIMITS,
) -> Track:
    """First the facts about a clip's video, or None if it has none; then its face track, a group of frames at a time.

    Raises:
        ClipError: The clip cannot be read, as soon as it is noticed.
    """
    yield (facts := video_facts(path, limits))
    if facts is not None:
        yield from map(collect, groups(follow(media.frames(path, limits=limits, **part))))


def video_facts(path: str, limits: media.Limits) -> dict[str, Any] | None:
    """Facts about a clip's video for the store: width, height, ...; None if the file has no video.

    Raises:
        ClipError: The video cannot be read.
    """
    probe = media.probe_video(path, limits)
    if not probe.has_video:
        return None
    names = ("width", "height", "rotation", "video_start", "video_duration", "frame_rate")
    return {name: getattr(probe, name) for name in names}
