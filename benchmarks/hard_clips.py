"""Clips that are hard for a face detector, generated, with the true box and pose of every frame.

Three kinds, all on scikit-image's images without people, 640 x 480 px at 12.5 frames per second:
    rendered: `rendered_head`, turned, bowed, rolled, behind a hand, in dim light, blurred, grainy, 80 to 250 px wide,
        before a moving camera, entering and leaving.
    fer2013: faces of FER2013 (read from the data set, never copied), moved, rotated, narrowed, covered, dimmed.
    nobody: textures and an animal: any detection is false.

A clip is a pure function of its name. `python benchmarks/hard_clips.py FOLDER` writes those for development.
"""

import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from front_end_clips import write_video
from provenance import ROOT
from rendered_head import FACE_WIDTH, draw, head, rotation

from deepfusion.fer2013.read import read

FER2013 = ROOT.parent / "shared/data/fer2013/fer2013_ferplus_lossless.npz"
SIZE = (640, 480)
RATE = 12.5
COUNT = 40  # frames of a clip
PAN = np.array([160.0, 120.0])  # of the background, in the middle
TRIED, JUDGED = 0, 1  # numbers of clips: for development, for figures
FACES = 4  # of FER2013, per difficulty: many are already tightly cropped, turned or covered
SPEAKERS = (1, 2, 3, 4)
BACKGROUNDS = ("brick", "gravel", "coffee", "rocket", "grass", "stereo_motorcycle")
NOBODY = ("brick", "grass", "gravel", "coffee", "rocket", "chelsea", "stereo_motorcycle", "hubble_deep_field", "page")


@dataclass(frozen=True)
class HardClip:
    """A clip of L frames and its ground truth.

    Attributes:
        name: Kind, difficulty and number.
        frames: (L, H, W, 3) uint8 RGB.
        box: (L, 4) float64, left, top, right, bottom of the landmarks, px, hidden ones included; of a face of FER2013
            its square less a tenth on every side. NaN: nobody.
        pose: (L, 3) yaw, pitch, roll in degrees, see `rendered_head.rotation`; NaN where there is no rendered head.
        visible: (L,) share of the face that is inside the frame and not covered.
    """

    name: str
    frames: np.ndarray
    box: np.ndarray
    pose: np.ndarray
    visible: np.ndarray


# Difficulties: largest yaw, pitch and roll (degrees), face width (px), and degradations of the image. All clips of a
# difficulty share these values; signs, positions, speakers and backgrounds vary with the clip's number.
RENDERED: dict[str, dict] = {
    "yaw 30": {"yaw": 30},
    "yaw 45": {"yaw": 45},
    "yaw 60": {"yaw": 60},
    "turned throughout": {"yaw": 50, "hold": True},
    "bowed": {"pitch": -32},
    "bowed throughout, dim": {"pitch": -28, "hold": True, "gain": 0.4},
    "head thrown back": {"pitch": 32},
    "roll 35": {"roll": 35},
    "hand at the cheek": {"hand": "cheek"},
    "hand before the mouth": {"hand": "mouth"},
    "dim": {"gain": 0.25, "noise": 4},
    "light from the side, dim": {"gain": 0.35, "side": True},
    "motion blur": {"blur": 11},
    "film grain": {"noise": 14},
    "80 px": {"width": 80, "yaw": 25},
    "250 px": {"width": 250, "yaw": 30, "pitch": -15},
    "moving camera": {"camera": 220, "yaw": 30},
    "enters and leaves": {"leave": True},
    "turned and bowed": {"yaw": 50, "pitch": -25},
    "yaw 60 throughout": {"yaw": 60, "hold": True},
    "dark, grainy": {"gain": 0.12, "noise": 6},
    "turned, hand, dim": {"yaw": 40, "hand": "cheek", "gain": 0.4, "noise": 4},
}
PASTED: dict[str, dict] = {
    "moved": {},
    "rotated": {"roll": 30},
    "narrowed": {"narrow": 0.6},
    "covered": {"hand": "mouth"},
    "dim": {"gain": 0.3, "noise": 4},
    "blurred": {"blur": 9},
}


def names(*, fer2013: bool, number: int = JUDGED) -> list[str]:
    """Names of one clip of every difficulty and of every background without anybody, and of `FACES` faces of FER2013.

    Args:
        fer2013: Whether FER2013 is available.
        number: `TRIED` for development, `JUDGED` for figures: other speakers, backgrounds, positions and motion.
    """
    found = [f"rendered: {what}: {number}" for what in RENDERED]
    found += [f"fer2013: {what}: {number + 2 * i}" for what in PASTED for i in range(FACES if fer2013 else 0)]
    return found + [f"nobody: {background}: {number}" for background in NOBODY]


def clips(wanted: list[str]) -> Iterator[HardClip]:
    """Clips by their names, one in memory at a time."""
    pasted = any(name.startswith("fer2013") for name in wanted)
    faces = read(FER2013).split("PublicTest") if pasted else None
    good = None if faces is None else faces.images[~faces.ambiguous & (faces.votes[:, :7].sum(1) >= 8)]
    for name in wanted:
        kind, what, number = name.split(": ")
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        if kind == "rendered":
            yield _rendered(name, RENDERED[what], int(number), rng)
        elif kind == "fer2013":
            yield _pasted(name, PASTED[what], good[rng.integers(len(good))], rng)
        else:
            yield _nobody(name, what, rng)


def _background(name: str) -> np.ndarray:
    """(720, 960, 3) float32, larger than the frame, so that a camera can pan."""
    image = getattr(skimage.data, name)()
    image = image[0] if isinstance(image, tuple) else image
    image = np.dstack([image] * 3) if image.ndim == 2 else image[..., :3]
    return cv2.resize(image, (960, 720), interpolation=cv2.INTER_CUBIC).astype(np.float32)


def _course(hold: bool) -> np.ndarray:
    """(L,) from 0 (at rest) to 1 (fully turned) and back, smoothly; or fully turned throughout."""
    if hold:
        return np.ones(COUNT)
    ramp = np.clip(np.minimum(np.arange(COUNT), COUNT - 1 - np.arange(COUNT)) / (0.35 * COUNT), 0, 1)
    return ramp**2 * (3 - 2 * ramp)


def _sway(rng: np.random.Generator, *reach: float) -> np.ndarray:
    """(L, n) slow oscillations with amplitude `reach` each."""
    time = np.arange(COUNT)[:, None] / RATE
    return np.array(reach) * np.sin(time * rng.uniform(1.0, 2.5, len(reach)) + rng.uniform(0, 6.28, len(reach)))


def _places(rng: np.random.Generator, width: float, camera: float, leave: bool) -> tuple[np.ndarray, np.ndarray]:
    """(L, 2) the face's middle in the frame, and the background's offset."""
    pan = _sway(rng, camera / 2, camera / 8) if camera else np.zeros((COUNT, 2))
    middle = np.array([SIZE[0] * rng.uniform(0.42, 0.58), SIZE[1] * rng.uniform(0.42, 0.5)])
    places = middle + _sway(rng, 18, 8) - pan
    if leave:
        out = (1 - _course(False))[:, None] ** 2
        places = places + out * [rng.choice([-1, 1]) * (SIZE[0] / 2 + width), 0]
    return places, pan + PAN


def _rendered(name: str, hard: dict, number: int, rng: np.random.Generator) -> HardClip:
    of, back = head(SPEAKERS[number % len(SPEAKERS)]), _background(rng.choice(BACKGROUNDS))
    width = hard.get("width", rng.uniform(100, 190))
    signs = [rng.choice([-1, 1]), 1, rng.choice([-1, 1])]
    most = np.array([hard.get(angle, 0) for angle in ("yaw", "pitch", "roll")]) * signs
    # The largest angle is that of the name: where there is one, the head does not sway.
    pose = _course(hard.get("hold", False))[:, None] * most + np.where(most == 0, _sway(rng, 8, 5, 5), 0)
    places, offsets = _places(rng, width, hard.get("camera", 0), hard.get("leave", False))
    light = np.array([rng.choice([-1, 1]) * (0.9 if hard.get("side") else 0.3), -0.3, 0.3 if hard.get("side") else 0.9])
    light /= np.linalg.norm(light)
    frames, boxes, visible = [], [], []
    covering = _covering(hard, rng)
    for i in range(COUNT):
        image = _moved(back, offsets[i])
        points, _ = draw(image, of, rotation(*pose[i]), places[i], width / FACE_WIDTH, light)
        covered = _cover(image, points, hard["hand"], covering, width) if covering[i] else None
        frames.append(_camera(image, hard, rng))
        boxes.append([*points.min(0), *points.max(0)])
        visible.append(_share(points, covered))
    return HardClip(name, np.array(frames), np.array(boxes), pose, np.array(visible))


def _pasted(name: str, hard: dict, face: np.ndarray, rng: np.random.Generator) -> HardClip:
    back = _background(rng.choice(BACKGROUNDS))
    side = rng.uniform(110, 200)
    places, offsets = _places(rng, side, 0, False)
    turn = rng.choice([-1, 1]) * hard.get("roll", 0) * _course(False) + _sway(rng, 5)[:, 0]
    narrow = 1 - (1 - hard.get("narrow", 1)) * _course(False)
    tint = rng.uniform([0.95, 0.8, 0.65], [1.05, 0.9, 0.85])
    picture = (face[..., None] * tint).astype(np.float32)
    soft = cv2.GaussianBlur(np.pad(np.ones((42, 42), np.float32), 3), (0, 0), 1.5)
    frames, boxes, visible = [], [], []
    covering = _covering(hard, rng)
    for i in range(COUNT):
        image = _moved(back, offsets[i])
        angle, scale = np.deg2rad(turn[i]), side / 48
        rotated = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = rotated @ np.diag([scale * narrow[i], scale])
        place = np.column_stack([matrix, places[i] - matrix @ [23.5, 23.5]])
        flags = cv2.INTER_CUBIC
        laid, opaque = (cv2.warpAffine(layer, place, SIZE, flags=flags) for layer in (picture, soft))
        image += (laid - image) * np.clip(opaque, 0, 1)[..., None]
        corners = (np.array([(5, 5), (42, 5), (42, 42), (5, 42)]) @ place[:, :2].T) + place[:, 2]
        covered = _cover(image, corners, hard["hand"], covering, side * 0.8) if covering[i] else None
        frames.append(_camera(image, hard, rng))
        boxes.append([*corners.min(0), *corners.max(0)])
        visible.append(_share(corners, covered))
    return HardClip(name, np.array(frames), np.array(boxes), np.full((COUNT, 3), np.nan), np.array(visible))


def _nobody(name: str, background: str, rng: np.random.Generator) -> HardClip:
    back = _background(background)
    pan = _sway(rng, 150, 100) + PAN
    hard = {"gain": rng.uniform(0.4, 1), "noise": rng.uniform(2, 8)}
    frames = np.array([_camera(_moved(back, offset), hard, rng) for offset in pan])
    return HardClip(name, frames, np.full((COUNT, 4), np.nan), np.full((COUNT, 3), np.nan), np.zeros(COUNT))


def _moved(back: np.ndarray, offset: np.ndarray) -> np.ndarray:
    """The part of the background that the camera sees, from `offset` on."""
    shift = np.array([[1, 0, -offset[0]], [0, 1, -offset[1]]])
    return cv2.warpAffine(back, shift, SIZE, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)


def _camera(image: np.ndarray, hard: dict, rng: np.random.Generator) -> np.ndarray:
    """Simulate a camera on an image (float32 RGB): motion blur, dim light, noise. (H, W, 3) uint8."""
    if length := hard.get("blur"):
        kernel = np.zeros((length, length), np.float32)
        reach = length // 2 * np.array([np.cos(a := rng.uniform(-0.5, 0.5)), np.sin(a)])
        ends = [tuple(np.round(length // 2 + way * reach).astype(int).tolist()) for way in (-1, 1)]
        cv2.line(kernel, *ends, 1.0)
        image = cv2.filter2D(image, -1, kernel / kernel.sum())
    image = 255 * np.clip(image / 255, 0, 1) ** (1.3 if "gain" in hard else 1) * hard.get("gain", 1)
    grain = rng.standard_normal((SIZE[1], SIZE[0], 1), dtype=np.float32)
    return np.clip(image + hard.get("noise", 2) * cv2.GaussianBlur(grain, (0, 0), 0.7)[..., None] * 1.8, 0, 255).astype(
        np.uint8
    )


def _covering(hard: dict, rng: np.random.Generator) -> np.ndarray:
    """(L,) bool, a hand covers the face: in all frames but the first and last few, or in hardly any."""
    covering = np.zeros(COUNT, bool)
    if "hand" in hard:
        first = int(rng.integers(0, COUNT // 5 + 1))
        covering[first : COUNT - first // 2] = True
    return covering


def _cover(image: np.ndarray, points: np.ndarray, where: str, covering: np.ndarray, width: float) -> np.ndarray:
    """Draw a hand over a face: a palm and four fingers. (H, W) float32, its opacity."""
    low, high = points.min(0), points.max(0)
    middle = (low + high) / 2
    if where == "mouth":
        palm, finger = middle + np.array([0.45, 0.42]) * width, np.array([-0.62, -0.18]) * width
    else:
        palm, finger = middle + np.array([0.42, 0.5]) * width, np.array([-0.12, -0.6]) * width
    across = np.array([-finger[1], finger[0]]) / np.hypot(*finger)
    opacity, shade = np.zeros(image.shape[:2], np.float32), np.ones(image.shape[:2], np.float32)

    def px(point: np.ndarray) -> tuple[int, int]:
        return tuple(np.round(16 * point).astype(int).tolist())

    thick = 0.15 * width
    axes = (int(16 * 0.3 * width), int(16 * 0.34 * width))
    cv2.ellipse(opacity, px(palm), axes, 0, 0, 360, 1.0, -1, cv2.LINE_AA, 4)
    cv2.line(opacity, px(palm), px(palm + np.array([0.1, 1.5]) * width), 1.0, round(0.36 * width), cv2.LINE_AA, 4)
    for i in range(4):
        start = palm + across * (i - 1.5) * thick * 0.98
        end = start + finger * (1 - 0.1 * abs(i - 1.3))
        cv2.line(shade, px(start), px(end), 0.72, round(thick * 1.12), cv2.LINE_AA, 4)
        cv2.line(shade, px(start), px(end), 1.0, round(thick * 0.8), cv2.LINE_AA, 4)
        cv2.line(opacity, px(start), px(end), 1.0, round(thick), cv2.LINE_AA, 4)
    shade = cv2.GaussianBlur(shade, (0, 0), 0.03 * width)
    opacity = cv2.GaussianBlur(opacity, (0, 0), 0.8)
    slope = np.linspace(1.05, 0.8, image.shape[0], dtype=np.float32)[:, None]
    skin = np.array([208, 158, 132], np.float32) * (shade * slope)[..., None]
    image += (skin - image) * opacity[..., None]
    return opacity


def _share(points: np.ndarray, covered: np.ndarray | None) -> float:
    """Share of a face's outline that is inside the frame and not covered."""
    hull = cv2.convexHull(points.astype(np.float32))
    outline = np.zeros((SIZE[1], SIZE[0]), np.float32)
    cv2.fillPoly(outline, [np.round(hull).astype(np.int32)], 1.0)
    shown = outline if covered is None else outline * (1 - np.clip(covered, 0, 1))
    return float(shown.sum() / max(cv2.contourArea(hull), 1))


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for clip in clips(names(fer2013=FER2013.is_file(), number=TRIED)):
        file = clip.name.replace(": ", "-").replace(" ", "_").replace(",", "")
        write_video(folder / f"{file}.mp4", clip.frames, RATE)
        np.savez(folder / f"{file}.npz", box=clip.box, pose=clip.pose, visible=clip.visible)


if __name__ == "__main__":
    main()
