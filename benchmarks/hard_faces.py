"""Faces found in hard clips and in laboratory clips: by dlib, the front end and YuNet alone, on the same files.

Part of front_end.py, which publishes the figures; `python benchmarks/hard_faces.py` prints those of the hard clips.

dlib: the person followed by dlib alone, in whole frames (`search: exact`). dlib near: the same with few full searches
(`detector: dlib`, `weak_threshold: 0`). dlib+yunet: the front end. yunet, yunet reduced: all faces that YuNet finds in
each frame, at the frame's own size and at that of the front end's full searches, at several scores.

A face is found if a detected box and its own, with or without the forehead, have an intersection over union of 0.3:
dlib's boxes begin at the brows, YuNet's at the hair. Every other detection is a false face. A frame counts as visible
if half of the face is inside the image and uncovered.
"""

import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import hard_clips
import numpy as np
from front_end_clips import write_video

from deepfusion import media
from deepfusion.config import FaceSettings
from deepfusion.extract.faces import Follower
from deepfusion.extract.pictures import shrunk
from deepfusion.faces.face_track import Reason
from deepfusion.faces.fast.finder import CHOOSING
from deepfusion.faces.yunet import FRAME_SIDE, model_path

# Least scores of YuNet alone: the front end's next to the last face and for choosing a person, and OpenCV's default.
SCORES = (FaceSettings().yunet_threshold, CHOOSING, 0.9)
BLACK = 24  # of 255: no pixel of a black frame is brighter
SIDES = {"yunet": 1 << 20, "yunet reduced": FRAME_SIDE}
OVERLAP, VISIBLE = 0.3, 0.5
TURNS = 3  # measurements of each time
FOREHEAD = 0.31  # of the landmarks' height: where YuNet's boxes of the rendered heads begin
WAYS = {
    "dlib": FaceSettings(search="exact"),
    "dlib near": FaceSettings(detector="dlib", weak_threshold=0.0),
    "dlib+yunet": FaceSettings(),
}


class Face(NamedTuple):
    """A detected face: box (4,) in px, score, and whether its landmarks are on the face (if it has any)."""

    box: np.ndarray
    score: float
    aligned: bool = True


Found = list[list[Face]]  # per frame


class Judged(NamedTuple):
    """A clip's frames, (L,) each: the face is found, even if misaligned; number of other detections; it is visible."""

    found: np.ndarray
    seen: np.ndarray
    false: np.ndarray
    visible: np.ndarray


def yunet_alone(side: int) -> Callable[[Path], Found]:
    """All faces of each frame of a clip, by YuNet; the frame's longer side is reduced to `side` px."""
    detector = cv2.FaceDetectorYN.create(str(model_path()), "", (320, 320), min(SCORES))

    def find(clip: Path) -> Found:
        found = []
        for frame in media.frames(clip):
            picture = shrunk(frame.image[..., ::-1], side)
            detector.setInputSize(picture.shape[1::-1])
            faces = detector.detect(np.ascontiguousarray(picture))[1]
            scale = frame.image.shape[1] / picture.shape[1]
            faces = np.zeros((0, 15)) if faces is None else faces
            corners = np.concatenate([faces[:, :2], faces[:, :2] + faces[:, 2:4]], axis=1) * scale
            found.append([Face(box, float(score)) for box, score in zip(corners, faces[:, 14], strict=True)])
        return found

    return find


def followed(settings: FaceSettings) -> Callable[[Path], Found]:
    """The followed person's face in each frame of a clip."""
    follow = Follower(settings)

    def find(clip: Path) -> Found:
        return [
            [Face(row.box, float(row.score), row.reason == Reason.FACE)] if np.isfinite(row.box).all() else []
            for row in follow(media.frames(clip))
        ]

    return find


def _finders() -> dict[str, Callable[[Path], Found]]:
    found = {name: followed(settings) for name, settings in WAYS.items()}
    return found | {name: yunet_alone(side) for name, side in SIDES.items()}


def common(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    return float(sides.prod() / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - sides.prod()))


def is_face(box: np.ndarray, true: np.ndarray) -> bool:
    """Whether a detected box matches the true box, which bounds the landmarks (NaN: nobody is there)."""
    raised = true - [0, FOREHEAD * (true[3] - true[1]), 0, 0]
    return any(common(box, of) >= OVERLAP for of in (true, raised))


def judged(clip: hard_clips.HardClip, found: Found) -> Judged:
    """Compare the detections in a clip with the ground truth."""
    right = [[is_face(of.box, true) for of in faces] for faces, true in zip(found, clip.box, strict=True)]
    usable = [
        any(is_right and of.aligned for is_right, of in zip(*both, strict=True))
        for both in zip(right, found, strict=True)
    ]
    false = [len(of) - sum(of) for of in right]
    return Judged(np.array(usable), np.array([any(of) for of in right]), np.array(false), clip.visible >= VISIBLE)


def searched(clips: Iterator[hard_clips.HardClip]) -> tuple[dict[str, dict[str, Judged]], dict[str, float]]:
    """Detections in the clips by way and clip, and CPU ms per frame by way."""
    finders = _finders()
    results, spent, frames = defaultdict(dict), dict.fromkeys(finders, 0.0), 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        for clip in clips:
            write_video(path, clip.frames, hard_clips.RATE)
            frames += len(clip.frames)
            for way, find in finders.items():
                if not spent[way]:
                    find(path)  # loads compiled functions
                begun = time.process_time()
                found = find(path)
                spent[way] += time.process_time() - begun
                if way not in SIDES:
                    results[way][clip.name] = judged(clip, found)
                    continue
                for score in SCORES:
                    kept = [[of for of in faces if of.score >= score] for faces in found]
                    results[f"{way} {score:g}"][clip.name] = judged(clip, kept)
            print(clip.name, flush=True)
    return results, {way: round(1000 * seconds / frames, 2) for way, seconds in spent.items()}


def summed(results: dict[str, dict[str, Judged]], cpu_ms: dict[str, float]) -> dict:
    """Recall, false faces and cost of each way, over kinds and difficulties."""
    yunet = results[f"yunet {SCORES[0]:g}"]
    ways = {}
    for way, clips in results.items():
        by_kind, by_difficulty = defaultdict(list), defaultdict(list)
        for name, clip in clips.items():
            kind, what, _ = name.split(": ")
            by_kind[kind].append(clip)
            by_difficulty[f"{kind}: {what}"].append(clip)
        ways[way] = {
            "recall": _recall(clips.values()),
            "recall_with_misaligned": _recall(clips.values(), "seen"),
            "recall_by_kind": _recalls(by_kind),
            "recall_with_misaligned_by_kind": _recalls(by_kind, "seen"),
            "recall_by_difficulty": _recalls(by_difficulty),
            "of_frames_that_yunet_sees": _mean([clip.found[yunet[name].seen] for name, clip in clips.items()]),
            "of_frames_that_yunet_sees_with_misaligned": _mean(
                [clip.seen[yunet[name].seen] for name, clip in clips.items()]
            ),
            "clips_without_a_face": [
                name for name, clip in clips.items() if clip.visible.any() and not clip.found.any()
            ],
            "false_faces_per_frame": _mean([clip.false for clip in clips.values()]),
            "false_faces_per_frame_by_kind": {kind: _mean([of.false for of in some]) for kind, some in by_kind.items()},
            "clips_with_false_faces": {name: int(clip.false.sum()) for name, clip in clips.items() if clip.false.any()},
            "cpu_ms_a_frame": cpu_ms[way if way in cpu_ms else way.rpartition(" ")[0]],
        }
    return {
        "clips": len(yunet),
        "frames": int(sum(len(clip.found) for clip in yunet.values())),
        "visible_frames": int(sum(clip.visible.sum() for clip in yunet.values())),
        "ways": ways,
    }


def _recall(clips: Iterable[Judged], which: str = "found") -> float:
    return _mean([getattr(clip, which)[clip.visible] for clip in clips])


def _recalls(groups: dict[str, list[Judged]], which: str = "found") -> dict[str, float]:
    """Recall of each group in which somebody is visible."""
    return {name: _recall(clips, which) for name, clips in groups.items() if any(clip.visible.any() for clip in clips)}


def _mean(parts: list[np.ndarray]) -> float:
    return round(float(np.concatenate(parts).mean()), 4)


def hard_faces() -> dict:
    """The figures of all hard clips."""
    wanted = hard_clips.names(fer2013=hard_clips.FER2013.is_file())
    return summed(*searched(hard_clips.clips(wanted)))


def laboratory(paths: list[Path]) -> dict:
    """Coverage and cost of each way on clips without ground truth, and the share of black frames.

    `black_frames`: the share of black frames; coverage cannot exceed the rest. Of each clip, the least of `TURNS`
    times counts.
    """
    finders = _finders()
    faces, spent = defaultdict(list), dict.fromkeys(finders, 0.0)
    black = []
    for path in paths:
        black.append([frame.image.max() < BLACK for frame in media.frames(path)])
        times = defaultdict(list)
        for way, find in [*finders.items()] * TURNS:
            begun = time.process_time()
            found = find(path)
            times[way].append(time.process_time() - begun)
            if len(times[way]) < TURNS:
                continue
            spent[way] += min(times[way])
            score = SCORES[0] if way in SIDES else -np.inf
            faces[way].append([any(of.score >= score and of.aligned for of in of_frame) for of_frame in found])
    whole = {way: np.concatenate(of) for way, of in faces.items()}
    ways = {
        way: {
            "coverage": round(float(of.mean()), 4),
            "of_frames_that_yunet_sees": round(float(of[whole["yunet"]].mean()), 4),
            "clips_without_a_face": int(sum(not any(clip) for clip in faces[way])),
            "cpu_ms_a_frame": round(1000 * spent[way] / len(of), 2),
        }
        for way, of in whole.items()
    }
    frames = np.concatenate(black)
    return {"clips": len(paths), "frames": len(frames), "black_frames": round(float(frames.mean()), 4), "ways": ways}


if __name__ == "__main__":
    cv2.setNumThreads(1)
    print(json.dumps(hard_faces(), indent=1))
