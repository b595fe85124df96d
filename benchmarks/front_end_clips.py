"""Test clips for face tracking: motion, turned and covered heads, cuts, a second person, an exit; or nobody.

The people are speakers of the demo corpus (one public-domain portrait, warped) with its expressions, larger, before
scikit-image's images. One clip lasts 8 s at 25 frames per second; its three shots are 0 to 3 s, to 6.2 s and to the
end. Clips without anybody are written separately: their cost depends only on their length.
The profile is the front view squeezed to a third; dlib does not find it, as it does not find real profiles.
"""

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import skimage.data

from deepfusion.corpora.demo.face import amplitude, film

RATE = 25
COUNT = 8 * RATE
SIZES = {"576p": (720, 576), "720p": (1280, 720)}


def write_clip(path: Path, size: tuple[int, int], *, seed: int = 0, repeats: int = 1) -> None:
    """Write one clip without audio.

    Args:
        path: An mp4 file.
        size: Width and height, px.
        seed: Seed of the people and their motion.
        repeats: Number of repetitions of the 8 s.
    """
    write_video(path, _pictures(size, seed) * repeats)


def write_nobody(path: Path, size: tuple[int, int]) -> None:
    """Write 8 s of a still image without a face, with camera noise."""
    back = cv2.resize(skimage.data.chelsea(), size, interpolation=cv2.INTER_CUBIC)
    rng = np.random.default_rng(0)
    write_video(path, [_noisy(back, rng) for _ in range(COUNT)])


def write_video(path: Path, pictures: Iterable[np.ndarray], rate: float = RATE) -> None:
    """Encode (H, W, 3) uint8 RGB images as H.264, without audio."""
    with av.open(str(path), "w") as container:
        rate = Fraction(rate).limit_denominator(1000)
        stream = container.add_stream("libx264", rate=rate, options={"preset": "veryfast", "crf": "21"})
        stream.pix_fmt = "yuv420p"
        for i, picture in enumerate(pictures):
            if i == 0:
                stream.height, stream.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = i, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def _noisy(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.clip(image + rng.normal(0, 2, (*image.shape[:2], 1)), 0, 255).astype(np.uint8)


def _pictures(size: tuple[int, int], seed: int) -> list[np.ndarray]:
    how_far = amplitude(np.arange(COUNT) / RATE, 1.0, 7.0)
    people = [film(1 + 2 * seed + n, (seed + n) % 4, how_far, seed=seed, clip=(seed, n)).frames for n in (0, 1)]
    backs = [skimage.data.coffee(), skimage.data.rocket()]
    backs = [cv2.resize(back, size, interpolation=cv2.INTER_CUBIC) for back in backs]
    rng = np.random.default_rng(seed)
    unit = size[1] / 256
    pictures = []
    for i in range(COUNT):
        t = i / RATE
        sway = np.array([0.06 * np.sin(2.1 * t + seed), 0.03 * np.sin(3.3 * t)])
        if t < 3:
            image = backs[0].copy()
            turn = 1 - 0.67 * np.clip(1 - abs(t - 1.2) / 0.25, 0, 1)
            place = np.array([0.42, 0.5]) + sway
            _paste(image, people[0][i], place, 0.8 * unit * (1 + 0.1 * np.sin(t)), turn)
            if 2.0 <= t < 2.4:
                x, y = (place * size).astype(int)
                reach = int(60 * unit)
                image[max(y - reach, 0) : y + reach, max(x - reach, 0) : x + reach] = (90, 70, 60)
        elif t < 6.2:
            image = backs[1].copy()
            if 3.6 <= t < 5.2:
                _paste(image, people[0][i], np.array([0.82, 0.42]), 0.5 * unit, 1.0)
            _paste(image, people[1][i], np.array([0.33, 0.5]) + 1.5 * sway, 0.85 * unit, 1.0)
        else:
            image = backs[0][:, ::-1].copy()
            out = 0.75 * np.clip(1 - abs(t - 7.2) / 0.4, 0, 1)
            _paste(image, people[0][i], np.array([0.6 + out, 0.5]) + sway, 0.75 * unit, 1.0)
        pictures.append(_noisy(image, rng))
    return pictures


def _paste(image: np.ndarray, person: np.ndarray, place: np.ndarray, scale: float, width: float) -> None:
    """Paste a frame of a person over the image: centre at `place` (0..1), squeezed to `width`."""
    x, y = place * [image.shape[1], image.shape[0]] - 128 * scale * np.array([width, 1])
    matrix = np.array([[scale * width, 0, x], [0, scale, y]])
    flags, border = cv2.INTER_LINEAR, cv2.BORDER_TRANSPARENT
    cv2.warpAffine(person, matrix, image.shape[1::-1], dst=image, flags=flags, borderMode=border)
