"""YuNet's boxes in dlib's convention, and the landmarks in them: python benchmarks/yunet.py.

On frames of Java-SED (../shared/data/javsed) in which both find the face: the position of dlib's box in YuNet's, for
the mapping in `faces/yunet.py`; the shift of dlib's 68 landmarks if they start from YuNet's box instead of dlib's own;
the distance of YuNet's five points from them. On scikit-image's images without people, cut and mirrored: YuNet's false
faces. Publishes docs/results/yunet.json.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from provenance import ROOT, publish

from deepfusion import media
from deepfusion.config import FaceSettings
from deepfusion.faces import yunet
from deepfusion.faces.align import five_points
from deepfusion.faces.fast.finder import CHOOSING, Finder, Picture, picture_of
from deepfusion.faces.fast.local_detector import NearDetector, Sighting

JAVSED = ROOT.parent / "shared/data/javsed/clips"
CLIPS = slice(2, None, 6)  # 40, of all speakers and emotions
STEP = 20  # frames
NOBODY = ("coffee", "chelsea", "rocket", "brick", "grass", "gravel", "coins", "page", "text", "moon", "clock", "retina")
CUTS = 12  # of each of these images
SIZE = (360, 270)


class Raw(yunet.YuNet):
    """YuNet with its own boxes: corner and size."""

    def _faces(self, picture: np.ndarray, scale: np.ndarray, first: np.ndarray) -> list[tuple]:
        self.raw = [] if (found := self._run(picture)) is None else found[np.argsort(-found[:, 14])]
        self.raw = [(row[:2] / scale + first, row[2:4] / scale) for row in self.raw]
        return super()._faces(picture, scale, first)


def frames() -> Iterator[Picture]:
    for path in sorted(JAVSED.glob("*.mp4"))[CLIPS]:
        for _, image in islice(media.frames(path), STEP, None, STEP):
            yield picture_of(image)


def easy_faces() -> dict:
    dlib, network = NearDetector(), Raw()
    places, sides, eyes, moved, apart = [], [], [], [], []
    count = 0
    for rgb, grey in frames():
        found = dlib.detect_full(grey)
        count += 1
        seen = network.near(rgb, found[0].box) if found else []
        if not seen:
            continue
        own = dlib.detection(grey, found[0])
        (corner, size), side = network.raw[0], own.box[2] - own.box[0] + 1
        distance = np.linalg.norm(np.subtract(*five_points(own.landmarks)[:2]))
        places.append(((own.box[:2] + own.box[2:] + 1) / 2 - corner) / size)
        sides.append(side / np.sqrt(size.prod()))
        eyes.append(distance / side)
        other = dlib.detection(grey, Sighting(seen[0].box, seen[0].score))
        moved.append(np.linalg.norm(other.landmarks - own.landmarks, axis=1).mean() / distance)
        apart.append(yunet.misalignment(own.landmarks, seen[0].points, own.box))
    return {
        "frames": count,
        "seen_by_both": len(sides),
        "centre": np.median(places, 0).round(3).tolist(),
        "side": round(float(np.median(sides)), 3),
        "side_spread": round(float(np.std(sides) / np.mean(sides)), 3),
        "eyes": round(float(np.median(eyes)), 3),
        "landmarks_moved_percent_of_eye_distance": spread(100 * np.array(moved)),
        "misalignment": spread(np.array(apart)),
    }


def nobody() -> dict:
    rng, network = np.random.default_rng(0), yunet.YuNet()
    finder = Finder(NearDetector(), network, weak_threshold=FaceSettings().weak_threshold)
    scores, near, chosen = [], [], 0
    for name in NOBODY:
        picture = getattr(skimage.data, name)()
        picture = picture if picture.ndim == 3 else cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
        for i in range(CUTS):
            height, width = (np.array(picture.shape[:2]) * rng.uniform(0.35, 1)).astype(int)
            top, left = (
                rng.integers(0, side - part + 1) for side, part in zip(picture.shape, (height, width), strict=False)
            )
            part = cv2.resize(picture[top : top + height, left : left + width], SIZE, interpolation=cv2.INTER_AREA)
            part = np.ascontiguousarray(part[:, :: 1 - 2 * (i % 2)])
            chosen += finder.person(picture_of(part), "")[0] is not None
            scores.append(max((face.score for face in network.in_frame(part)), default=0.0))
            side = rng.uniform(60, 160)
            corner = rng.uniform(0, np.array(SIZE) - side)
            found = network.near(part, np.array([*corner, *(corner + side - 1)], np.float32))
            near.append(max((face.score for face in found), default=0.0))
    scores, near = np.array(scores), np.array(near)
    return {
        "pictures": len(scores),
        "highest_score_whole": round(float(scores.max()), 3),
        "highest_score_near": round(float(near.max()), 3),
        "whole_at_choosing_score": int((scores >= CHOOSING).sum()),
        "near_at_following_score": int((near >= FaceSettings().yunet_threshold).sum()),
        "persons_chosen": chosen,
    }


def spread(values: np.ndarray) -> dict:
    quantiles = {"median": 0.5, "percentile_90": 0.9, "percentile_99": 0.99, "most": 1}
    return {name: round(float(np.quantile(values, q)), 3) for name, q in quantiles.items()}


def main() -> None:
    cv2.setNumThreads(1)
    publish(Path("docs/results/yunet.json"), {"easy_faces": easy_faces(), "nobody": nobody()})


if __name__ == "__main__":
    main()
