"""The two parts of dlib that the near search reimplements, compared with dlib: python benchmarks/face_parts.py.

On the generated 720p clip, one core, alternately; each frame is decoded just before, so that caches are as cold as in
use.
Writes docs/results/face_parts.json.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import cv2
import dlib
import numpy as np
from front_end_clips import SIZES, write_clip
from provenance import publish

from deepfusion import media
from deepfusion.config import FaceSettings
from deepfusion.extract.faces import Follower
from deepfusion.faces import detect
from deepfusion.faces.fast import dlib_landmarks, dlib_resize

LINEAR = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR


def timed(function: Callable, *args: object) -> tuple[float, np.ndarray]:
    """CPU ms, and the result."""
    begun = time.process_time()
    result = function(*args)
    return 1e3 * (time.process_time() - begun), result


def shrinkers(height: int, width: int) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Ways to compute the second image of dlib's pyramid from the first."""
    small = height * 5 // 6, width * 5 // 6
    x, y = (width - 1) / (small[1] - 1), (height - 1) / (small[0] - 1)
    matrix = np.array([[x, 0, 0], [0, y, 0]])
    down, across = dlib_resize.rows(height, small[0]), dlib_resize.columns(width, small[1])
    return {
        "dlib": lambda grey: dlib.resize_image(grey, *small),
        "ours": lambda grey: cv2.transpose(dlib_resize.transposed(grey, down, across)),
        "OpenCV's warpAffine": lambda grey: cv2.warpAffine(grey, matrix, small[::-1], flags=LINEAR),
    }


def predictors() -> dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]]:
    """Ways to compute the 68 landmarks in a box."""
    path = detect.predictor_path()
    theirs, ours = dlib.shape_predictor(str(path)), dlib_landmarks.read(path)
    return {
        "dlib": lambda grey, box: detect.landmarks(theirs, grey, dlib.rectangle(*map(int, box))),
        "ours": lambda grey, box: dlib_landmarks.landmarks(ours, grey, box),
    }


def compared(clip: Path) -> dict:
    """Median CPU ms of each way, and the share of its values that differ from dlib's."""
    boxes = [row.box for row in Follower(FaceSettings())(media.frames(clip))]
    size = next(iter(media.frames(clip))).image.shape[:2]
    parts = {"landmarks": predictors(), "shrink": shrinkers(*size)}
    spent = {(part, way): [] for part, ways in parts.items() for way in ways}
    other = {key: [] for key in spent}
    for box, (_, image) in zip(boxes, media.frames(clip), strict=True):
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        given = {"landmarks": (grey, box), "shrink": (grey,)}
        for part, ways in parts.items():
            if part == "landmarks" and np.isnan(box).any():
                continue
            found = {}
            for way, function in ways.items():
                cost, found[way] = timed(function, *given[part])
                spent[part, way].append(cost)
            for way in ways:
                other[part, way].append(float((found[way] != found["dlib"]).mean()))
    return {
        part: {
            way: {
                "cpu_ms": round(median(spent[part, way]), 3),
                "other_than_dlibs": float(f"{np.mean(other[part, way]):.2g}"),
                "frames": len(spent[part, way]),
            }
            for way in ways
        }
        for part, ways in parts.items()
    }


def main() -> None:
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.mp4"
        write_clip(clip, SIZES["720p"])
        parts = compared(clip)
    publish(Path("docs/results/face_parts.json"), {"clip": "720p", "parts": parts})


if __name__ == "__main__":
    main()
