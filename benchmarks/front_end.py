"""The front end (decode, find, follow, landmarks) compared with the usual script.

python benchmarks/front_end.py

Publishes docs/results/front_end.json. Both run on the same generated clips (front_end_clips.py) and on real ones
(Java-SED, ../shared/data/javsed, skipped if absent), each in one process bound to one core. The script on one third of
a clip and the project on the whole clip alternate; a ratio is that of the medians. Times are CPU times, which equal
wall times in a bound process on an idle machine; wall times are published next to them.

The script: cv2.VideoCapture, dlib's frontal detector on the RGB frame, its 68 landmarks of each face. The
face_recognition package's front end is the same with one doubling. It cannot be installed together with dlib's wheel
(it requires dlib's source build), so its face_locations and face_landmarks are copied here (api.py of 1.3.0).
Agreement: every frame by `search: near` and by `search: exact`; `--all-clips` uses all 240 real clips.
Faces in hard clips, and the coverage of real ones: hard_faces.py; `--faces-only` measures only these, and keeps the
other figures.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import dlib
import numpy as np
from front_end_clips import COUNT, RATE, SIZES, write_clip, write_nobody
from hard_faces import SCORES, hard_faces, laboratory
from provenance import ROOT, publish

from deepfusion import media
from deepfusion.config import FaceSettings
from deepfusion.costs import peak_memory_mb
from deepfusion.extract.faces import Follower
from deepfusion.faces.detect import predictor_path
from deepfusion.faces.face_track import FaceTrack, collect
from deepfusion.faces.fast import tracker as following
from deepfusion.faces.fast.local_detector import NearDetector

JAVSED = ROOT.parent / "shared/data/javsed/clips"
OUT = Path("docs/results/front_end.json")
SUBSET = slice(5, None, 29)  # 9 clips, of different speakers and emotions
TURNS = 3


def bound(core: int) -> None:
    """Keep this process on one core, and its libraries on one thread."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[core]})
    cv2.setNumThreads(1)


def alone(function: Callable, *args, core: int = 0):
    """The result of a function in a fresh process on one core."""
    with get_context("spawn").Pool(1, bound, (core,)) as pool:
        return pool.apply(function, args)


def now() -> np.ndarray:
    """CPU time and wall time, s."""
    return np.array([time.process_time(), time.perf_counter()])


def models() -> tuple[dlib.fhog_object_detector, dlib.shape_predictor]:
    """The detector and the predictor of dlib."""
    return dlib.get_frontal_face_detector(), dlib.shape_predictor(str(predictor_path()))


def script(path: Path, find, predict, *, upsample: int) -> Iterator[list]:
    """The usual script: the landmarks of each face, frame by frame."""
    clip = cv2.VideoCapture(str(path))
    while True:
        read, image = clip.read()
        if not read:
            return
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        yield [predict(image, box) for box in find(image, upsample)]


def face_recognition(path: Path, find, predict) -> Iterator[list]:
    """face_locations and face_landmarks as face_recognition 1.3.0 calls dlib, frame by frame."""
    clip = cv2.VideoCapture(str(path))
    while True:
        read, image = clip.read()
        if not read:
            return
        image = np.ascontiguousarray(image[:, :, ::-1])
        height, width = image.shape[:2]
        places = [
            (max(box.top(), 0), min(box.right(), width), min(box.bottom(), height), max(box.left(), 0))
            for box in find(image, 1)
        ]
        boxes = [dlib.rectangle(left, top, right, bottom) for top, right, bottom, left in places]
        yield [[(p.x, p.y) for p in predict(image, box).parts()] for box in boxes]


def ours(path: Path, settings: FaceSettings) -> FaceTrack:
    return collect(Follower(settings)(media.frames(path)))


def turns(path: Path, count: int, rival: Callable[..., Iterator[list]], upsample: int) -> dict:
    """Seconds per frame of both: the rival on each third of the clip, ours on the whole clip three times."""
    follow = Follower(FaceSettings(upsample=upsample))
    rows = rival(path, *models())
    thirds, wholes = [], []
    for _ in range(TURNS):
        begun = now()
        read = sum(1 for _ in zip(range(count // TURNS), rows, strict=False))
        thirds.append((now() - begun) / read)
        begun = now()
        track = collect(follow(media.frames(path)))
        wholes.append((now() - begun) / len(track.time))
    return {"rival": np.median(thirds, 0), "ours": np.median(wholes, 0)}


def compared(path: Path, count: int, rival: Callable, upsample: int) -> dict:
    both = alone(turns, path, count, rival, upsample)
    (cpu, clock), (our_cpu, our_clock) = both["rival"] * 1000, both["ours"] * 1000
    return {
        "script_cpu_ms_a_frame": round(cpu, 2),
        "ours_cpu_ms_a_frame": round(our_cpu, 2),
        "script_clock_ms_a_frame": round(clock, 2),
        "ours_clock_ms_a_frame": round(our_clock, 2),
        "ratio_one_core": round(cpu / our_cpu, 2),
        "ratio_one_core_by_the_clock": round(clock / our_clock, 2),
    }


class TimedDetector(NearDetector):
    """Counts the seconds of its searches and landmarks."""

    def __init__(self, **settings) -> None:
        super().__init__(**settings)
        self.spent = dict.fromkeys(("detect_local", "detect_full", "detection"), 0.0)
        self.calls = dict.fromkeys(self.spent, 0)

    def _timed(self, name: str, *args, **kwargs):
        begun = time.process_time()
        result = getattr(super(), name)(*args, **kwargs)
        self.spent[name] += time.process_time() - begun
        self.calls[name] += 1
        return result

    def detect_local(self, *args, **kwargs):  # noqa: D102
        return self._timed("detect_local", *args, **kwargs)

    def detect_full(self, *args, **kwargs):  # noqa: D102
        return self._timed("detect_full", *args, **kwargs)

    def detection(self, *args, **kwargs):  # noqa: D102
        return self._timed("detection", *args, **kwargs)


def shares(path: Path, upsample: int) -> dict:
    """Breakdown of a clip's time, CPU ms per frame."""
    detector = TimedDetector(upsample=upsample)
    decoding = 0.0

    def read() -> Iterator[media.Frame]:
        nonlocal decoding
        frames = media.frames(path)
        while True:
            begun = time.process_time()
            frame = next(frames, None)
            decoding += time.process_time() - begun
            if frame is None:
                return
            yield frame

    begun = time.process_time()
    count = sum(1 for _ in following.follow_near(read(), detector))
    whole = time.process_time() - begun
    parts = {
        "decode": decoding,
        "search_near": detector.spent["detect_local"],
        "search_whole_frame": detector.spent["detect_full"],
        "landmarks": detector.spent["detection"],
    }
    parts["rest"] = whole - sum(parts.values())
    return {
        **{name: round(1000 * spent / count, 3) for name, spent in parts.items()},
        "whole_frame_searches": detector.calls["detect_full"],
        "frames": count,
    }


def grown(path: Path) -> dict:
    """Time and peak memory of a worker that follows one clip."""
    follow = Follower(FaceSettings())
    begun = time.process_time()
    count = sum(1 for _ in follow(media.frames(path)))
    return {
        "frames": count,
        "cpu_ms_a_frame": round(1000 * (time.process_time() - begun) / count, 2),
        "peak_memory_mb": round(peak_memory_mb(), 1),
    }


_follow: Callable


def _ready(settings: FaceSettings) -> None:
    global _follow
    cv2.setNumThreads(1)
    _follow = Follower(settings)


def _followed(path: Path) -> int:
    return sum(1 for _ in _follow(media.frames(path)))


def scaling(paths: list[Path], workers: int) -> float:
    """Frames per second of wall time with this many warm processes."""
    with get_context("spawn").Pool(workers, _ready, (FaceSettings(),)) as pool:
        pool.map(_followed, [paths[0]] * workers, chunksize=1)
        begun = time.perf_counter()
        count = sum(pool.imap_unordered(_followed, paths))
        return round(count / (time.perf_counter() - begun), 1)


def agreement(paths: list[Path], upsample: int) -> dict:
    """Compare `search: near` with `search: exact` on some clips."""
    near, exact = (Follower(FaceSettings(upsample=upsample, search=search)) for search in ("near", "exact"))
    frames = lost = found_more = both = same_person = same_box = same_count = 0
    away = []
    for path in paths:
        a, b = (collect(follow(media.frames(path))) for follow in (exact, near))
        valid = a.valid & b.valid
        ours_, theirs = b.landmarks[valid], a.landmarks[valid]
        eyes = np.linalg.norm(theirs[:, 36:42].mean(1) - theirs[:, 42:48].mean(1), axis=1)
        moved = np.linalg.norm(ours_ - theirs, axis=2).mean(1) / eyes
        frames, both = frames + len(valid), both + int(valid.sum())
        lost += int((a.valid & ~b.valid).sum())
        found_more += int((b.valid & ~a.valid).sum())
        # Another person's landmarks lie further away than half the distance of the eyes.
        same_person += int((moved < 0.5).sum())
        same_box += int((a.box[valid] == b.box[valid]).all(1).sum())
        same_count += int((a.faces == b.faces).sum())
        away.append(moved)
    away = 100 * np.concatenate(away)
    return {
        "clips": len(paths),
        "frames": frames,
        "frames_with_face_exact": both + lost,
        "lost_percent": round(100 * lost / (both + lost), 3),
        "found_more_percent": round(100 * found_more / (both + lost), 3),
        "same_person_percent": round(100 * same_person / both, 3),
        "same_box_percent": round(100 * same_box / both, 3),
        "same_count_of_faces_percent": round(100 * same_count / frames, 2),
        "landmarks_percent_of_eye_distance": {
            "median": round(float(np.median(away)), 3),
            "percentile_99": round(float(np.percentile(away, 99)), 3),
            "most": round(float(away.max()), 3),
        },
    }


def found_faces(real: list[Path]) -> dict:
    """The figures of hard_faces.py, and their ratios."""
    hard = alone(hard_faces)
    ours, yunet = hard["ways"]["dlib+yunet"], hard["ways"][f"yunet {SCORES[0]:g}"]
    ratios = {
        "hard_clips_recall": ours["recall"],
        "hard_clips_false_faces_per_frame": ours["false_faces_per_frame"],
        "hard_clips_cost_against_yunet": round(ours["cpu_ms_a_frame"] / yunet["cpu_ms_a_frame"], 2),
    }
    figures = {"hard_clips": hard}
    if real:
        figures["laboratory"] = laboratory_ = alone(laboratory, real)
        ways = laboratory_["ways"]
        ratios["javsed_coverage"] = ways["dlib+yunet"]["coverage"]
        cost = ways["dlib+yunet"]["cpu_ms_a_frame"] / ways["dlib near"]["cpu_ms_a_frame"]
        ratios["javsed_cost_of_yunet"] = round(cost, 3)
    return {"ratios": ratios, **figures}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all-clips", action="store_true", help="agreement and coverage on all real clips, not on 9")
    parser.add_argument("--faces-only", action="store_true", help="only hard clips and coverage")
    options = parser.parse_args()
    real = sorted(JAVSED.glob("*.mp4"))
    some = real[SUBSET]
    faces = found_faces(real if options.all_clips else some)
    if options.faces_only:
        before = json.loads(OUT.read_text())
        made_by = [command for command in before.pop("provenance")["commands"] if "--faces-only" not in command]
        publish(OUT, before | faces | {"ratios": before["ratios"] | faces["ratios"]}, made_by=made_by)
        return
    ratios, speed, growth = faces.pop("ratios"), {}, {}
    with tempfile.TemporaryDirectory() as folder, get_context("spawn").Pool(1, bound, (-1,)) as other_core:
        clips = {name: Path(folder) / f"{name}.mp4" for name in SIZES}
        for name, size in SIZES.items():
            write_clip(clips[name], size)
        long = Path(folder) / "long.mp4"
        write_clip(long, SIZES["720p"], repeats=4)
        one, two = (scaling([clips["576p"]] * 6, workers) for workers in (1, 2))
        shown = {f"{name}_up{up}": alone(shares, clips[name], up) for name in SIZES for up in (0, 1)}
        growth = {"1x": alone(grown, clips["720p"]), "4x": alone(grown, long)}
        # Untimed work runs on the last core in the meantime.
        wanted = {f"{name}_up{up}": ([clips[name]], up) for name in SIZES for up in (0, 1)}
        if real:
            wanted |= {"javsed_up0": (real if options.all_clips else some, 0), "javsed_up1": (some[:3], 1)}
        agreeing = {name: other_core.apply_async(agreement, given) for name, given in wanted.items()}
        for name in SIZES:
            for up in (0, 1):
                key = f"{name}_up{up}"
                speed[key] = compared(clips[name], COUNT, partial(script, upsample=up), up)
                ratios[f"front_end_{key}"] = speed[key]["ratio_one_core"]
        nobody = Path(folder) / "nobody.mp4"
        write_nobody(nobody, SIZES["576p"])
        # Not among the ratios of the goal: there is nobody to follow, and the only saving is fewer searches.
        speed["nobody_576p_up0"] = compared(nobody, COUNT, partial(script, upsample=0), 0)
        if real:
            long_enough = max(some, key=lambda path: path.stat().st_size)
            count = sum(1 for _ in media.frames(long_enough))
            for up in (0, 1):
                speed[f"javsed_up{up}"] = compared(long_enough, count, partial(script, upsample=up), up)
                ratios[f"front_end_javsed_up{up}"] = speed[f"javsed_up{up}"]["ratio_one_core"]
            speed["javsed_face_recognition"] = compared(long_enough, count, face_recognition, 1)
            ratios["front_end_javsed_face_recognition"] = speed["javsed_face_recognition"]["ratio_one_core"]
        agreeing = {name: result.get() for name, result in agreeing.items()}
    cores = {
        "clip": "576p_up0",
        "frames_a_second_1_worker": one,
        "frames_a_second_2_workers": two,
        "scaling": round(two / one, 2),
        "ratio_2_workers_to_script": round(two * speed["576p_up0"]["script_clock_ms_a_frame"] / 1000, 2),
    }
    publish(
        OUT,
        {
            "ratios": ratios,
            "speed": speed,
            "all_cores": cores,
            "cpu_ms_a_frame_by_part": shown,
            "growth_with_length_720p_up0": growth,
            "agreement_with_exact": agreeing,
            **faces,
            "clips": {"frames": COUNT, "rate": RATE, "sizes": SIZES, "real": [path.name for path in some]},
        },
    )


if __name__ == "__main__":
    main()
