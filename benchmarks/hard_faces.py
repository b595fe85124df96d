"""Faces that are found in hard clips: dlib alone, the front end, and OpenCV's YuNet alone, on the same files.

Part of front_end.py, which publishes the figures; `python benchmarks/hard_faces.py` prints them.

dlib: the person followed by dlib alone, every frame whole (`search: exact`). dlib near: the front end without YuNet.
dlib+yunet: the front end. yunet, yunet reduced: all faces that YuNet finds in each frame, in the frame's own size and
in the one that the front end reduces whole frames to, at several scores.

A face is found where its box, with or without the forehead, and a detected one have 0.3 of their union in common:
dlib's boxes begin at the brows, YuNet's at the hair. Whatever else is found is a false face. Frames count as visible
where half of the face is inside the picture and uncovered.
"""

import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import hard_clips
import numpy as np
from front_end_clips import write_video

from deepfusion import media
from deepfusion.config import FaceSettings
from deepfusion.extract.faces import follower
from deepfusion.extract.pictures import shrunk
from deepfusion.faces.fast.finder import CHOOSING
from deepfusion.faces.yunet import FRAME_SIDE, model_path

# Least scores of YuNet alone: the front end's next to the last face and for choosing a person, and OpenCV's default.
SCORES = (FaceSettings().yunet_threshold, CHOOSING, 0.9)
SIDES = {"yunet": 1 << 20, "yunet reduced": FRAME_SIDE}
OVERLAP, VISIBLE = 0.3, 0.5
FOREHEAD = 0.31  # of the landmarks' height: where YuNet's boxes of the rendered heads begin
WAYS = {"dlib": FaceSettings(search="exact"), "dlib near": FaceSettings(detector="dlib"), "dlib+yunet": FaceSettings()}

Found = list[list[tuple[np.ndarray, float]]]  # per frame: boxes and scores


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
            boxes = [] if faces is None else [(of[:4] * scale, float(of[14])) for of in faces]
            found.append([(np.concatenate([box[:2], box[:2] + box[2:]]), score) for box, score in boxes])
        return found

    return find


def followed(settings: FaceSettings) -> Callable[[Path], Found]:
    """The followed person's box in each frame of a clip, none where the frame is not valid."""
    follow = follower(settings)

    def find(clip: Path) -> Found:
        return [[(row.box, float(row.score))] if row.reason == 0 else [] for row in follow(media.frames(clip))]

    return find


def common(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two boxes."""
    sides = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    return float(sides.prod() / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - sides.prod()))


def is_face(box: np.ndarray, true: np.ndarray) -> bool:
    """Whether a detected box is that of the face whose landmarks the true box holds (NaN: nobody is there)."""
    raised = true - [0, FOREHEAD * (true[3] - true[1]), 0, 0]
    return any(common(box, of) >= OVERLAP for of in (true, raised))


def judged(clip: hard_clips.HardClip, found: Found) -> tuple[np.ndarray, np.ndarray]:
    """(L,) whether the face is found in each frame, and (L,) how many others are."""
    right = [[is_face(box, true) for box, _ in boxes] for boxes, true in zip(found, clip.box, strict=True)]
    return np.array([any(of) for of in right]), np.array([len(of) - sum(of) for of in right])


def searched(clips: Iterator[hard_clips.HardClip]) -> tuple[dict, dict]:
    """What each way finds in the clips, (found, false, visible) per clip's name, and its CPU ms per frame."""
    finders = {name: followed(settings) for name, settings in WAYS.items()}
    finders |= {name: yunet_alone(side) for name, side in SIDES.items()}
    results, spent, frames = defaultdict(dict), dict.fromkeys(finders, 0.0), 0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        for clip in clips:
            write_video(path, clip.frames, hard_clips.RATE)
            frames += len(clip.frames)
            visible = clip.visible >= VISIBLE
            for way, find in finders.items():
                if not spent[way]:
                    find(path)  # compiled functions are loaded
                begun = time.process_time()
                found = find(path)
                spent[way] += time.process_time() - begun
                if way in SIDES:
                    for score in SCORES:
                        kept = [[of for of in boxes if of[1] >= score] for boxes in found]
                        results[f"{way} {score:g}"][clip.name] = (*judged(clip, kept), visible)
                else:
                    results[way][clip.name] = (*judged(clip, found), visible)
    return results, {way: round(1000 * seconds / frames, 2) for way, seconds in spent.items()}


def summed(results: dict, cpu_ms: dict) -> dict:
    """Recall, false faces and cost of each way, over kinds and difficulties."""
    seen = results[f"yunet {SCORES[0]:g}"]
    ways = {}
    for way, clips in results.items():
        by_kind, by_difficulty = defaultdict(list), defaultdict(list)
        for name, clip in clips.items():
            kind, what, _ = name.split(": ")
            by_kind[kind].append(clip)
            by_difficulty[f"{kind}: {what}"].append(clip)
        both = [(found, seen[name][0]) for name, (found, _, _) in clips.items()]
        ways[way] = {
            "recall": _recall([clip for name, clip in clips.items() if not name.startswith("nobody")]),
            "recall_by_kind": {kind: _recall(of) for kind, of in by_kind.items() if kind != "nobody"},
            "recall_by_difficulty": {
                what: _recall(of) for what, of in by_difficulty.items() if not what.startswith("nobody")
            },
            "clips_without_a_face": [name for name, (found, _, _) in clips.items() if not found.any()],
            "false_faces_per_frame": _mean([false for _, false, _ in clips.values()]),
            "false_faces_per_frame_by_kind": {kind: _mean([of[1] for of in some]) for kind, some in by_kind.items()},
            "clips_with_false_faces": {name: int(of[1].sum()) for name, of in clips.items() if of[1].any()},
            "of_frames_that_yunet_sees": _mean([found[sees] for found, sees in both]),
            "cpu_ms_a_frame": cpu_ms[way if way in cpu_ms else way.rpartition(" ")[0]],
        }
        nobody = ways[way]["clips_without_a_face"]
        ways[way]["clips_without_a_face"] = [name for name in nobody if not name.startswith("nobody")]
    first = next(iter(results.values()))
    return {
        "clips": len(first),
        "frames": int(sum(len(found) for found, _, _ in first.values())),
        "visible_frames": int(sum(visible.sum() for _, _, visible in first.values())),
        "ways": ways,
    }


def _recall(clips: list) -> float:
    return _mean([found[visible] for found, _, visible in clips])


def _mean(parts: list) -> float:
    values = np.concatenate(parts)
    return round(float(values.mean()), 4) if len(values) else float("nan")


def hard_faces(each: int = 2) -> dict:
    """The figures of all hard clips, `each` of every difficulty."""
    wanted = hard_clips.names(fer2013=hard_clips.FER2013.is_file(), each=each)
    return summed(*searched(hard_clips.clips(wanted)))


if __name__ == "__main__":
    cv2.setNumThreads(1)
    print(json.dumps(hard_faces(), indent=1))
