"""Clips of a block -> a shard of face tracks."""

from pathlib import Path
from typing import Any

import pandas as pd

from deepfusion import media
from deepfusion.config import FaceSettings
from deepfusion.extract.common import each_clip, groups, hash_of, kept, report, segment, shard_key
from deepfusion.faces.detect import Detector
from deepfusion.faces.follow import follow
from deepfusion.faces.track import COLUMNS, Choice, Reason, collect
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
    "faces": {"units": "1", "axes": "frame", "description": "faces found in the frame; 255 means 255 or more"},
}


def faces_shard(clips: pd.DataFrame, out: Path, *, settings: FaceSettings) -> None:
    """Follow one person through each clip and write the face tracks.

    Args:
        clips: Rows of a manifest.
        out: The shard.
        settings: How faces are found and followed.
    """
    hashes = [hash_of(path) for path in clips["path"]]
    key = shard_key("faces", clips, hashes, settings)
    if kept(out, key):
        return
    detector = Detector(upsample=settings.upsample, threshold=settings.threshold)
    following = settings.model_dump(include={"max_gap", "min_overlap", "cut_difference"})

    def work(clip: Any, facts: dict[str, Any]) -> str:
        probe = media.probe(clip.path)
        if not probe.has_video:
            return "the file has no picture"
        for name in ("width", "height", "rotation", "video_start", "video_duration", "frame_rate"):
            facts[name] = getattr(probe, name)
        frames = media.frames(clip.path, **segment(clip))
        for rows in groups(follow(frames, detector, **following)):
            part = collect(rows)
            for name in COLUMNS:
                shard.append(name, getattr(part, name))
        return ""

    with (
        ShardWriter(out, stage="faces", key=key, attrs={"settings": settings.model_dump_json()}) as shard,
        measured(shard),
    ):
        for name, (shape, dtype) in COLUMNS.items():
            shard.column(name, shape, dtype, **MEANING[name])
        each_clip(shard, clips, hashes, what=f"faces {out.stem}", work=work)
    report(out)
