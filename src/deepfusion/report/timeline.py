"""Drawings over time for the pages: curves, hatched gaps, attention, spectrogram."""

import base64
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from deepfusion.faces.face_track import Reason

if TYPE_CHECKING:
    from deepfusion.fusion.model import Attention

WIDTH, HEIGHT = 1000, 160  # of the drawings, in units of SVG; the page stretches them
PIXELS = 900  # maximum columns of an image
SPECTROGRAM_PIXELS = 120  # height of its image
ACCENT = (255, 140, 0)  # RGB of attention
REASONS = {
    Reason.NO_FACE: "no face",
    Reason.OTHER_PERSON: "another person's face alone",
    Reason.MISALIGNED: "the landmarks are not on the face",
}


def jpeg(image: np.ndarray, quality: int = 75) -> str:
    """(h, w, 3) RGB or (h, w) grey uint8 -> a data URI."""
    image = image if image.ndim == 2 else image[..., ::-1]
    return _uri(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality], "jpeg")


def transparent(alpha: np.ndarray) -> str:
    """(h, w) opacity 0..1 -> a data URI in the accent colour."""
    image = np.empty((*alpha.shape, 4), np.uint8)
    image[..., :3] = ACCENT[::-1]
    image[..., 3] = np.round(255 * np.clip(alpha, 0, 1))
    return _uri(".png", image, [], "png")


def _uri(suffix: str, image: np.ndarray, options: list[int], kind: str) -> str:
    _, content = cv2.imencode(suffix, image, options)
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def gaps(clip: Mapping[str, np.ndarray], begin: float, end: float) -> list[dict[str, Any]]:
    """Stretches of frames without the followed person's face.

    Args:
        clip: `time` (L,), `reason` (L,); none without video.
        begin: Of the time axis, s.
        end: Of the time axis, s.

    Returns:
        For each: x and width in units of SVG, reason, and from, to in s.
    """
    time, reason = clip.get("time", np.zeros(0)), clip.get("reason", np.zeros(0))
    edges = borders(time)
    found: list[dict[str, Any]] = []
    for i in np.flatnonzero(reason != Reason.FACE):
        text = REASONS[Reason(int(reason[i]))]
        if found and found[-1]["last"] == i - 1 and found[-1]["reason"] == text:
            found[-1] |= {"last": i, "to": edges[i + 1]}
        else:
            found.append({"last": i, "from": edges[i], "to": edges[i + 1], "reason": text})
    for gap in found:
        left, right = place([gap["from"], gap["to"]], begin, end)
        gap |= {"x": round(left, 1), "width": round(max(right - left, 1), 1)}
    return found


def curves(
    times: Sequence[float], values: np.ndarray, names: Sequence[str], begin: float, end: float
) -> list[dict[str, Any]]:
    """Probabilities over time as SVG paths; NaN breaks a curve, and a lone point is a dot.

    Args:
        times: (n,) s, rising.
        values: (n, classes) 0..1, NaN where unknown.
        names: Of the classes.
        begin: Of the time axis, s.
        end: Of the time axis, s.

    Returns:
        For each class: name, path, and its mean.
    """
    x = place(times, begin, end)
    found = []
    for name, column in zip(names, np.asarray(values).T, strict=True):
        path, pen_is_down = [], False
        for i, value in enumerate(column):
            if np.isnan(value):
                pen_is_down = False
                continue
            y = (1 - value) * HEIGHT
            path.append(f"{'L' if pen_is_down else 'M'}{x[i]:.1f} {y:.1f}" + ("" if pen_is_down else "h0"))
            pen_is_down = True
        mean = float(np.nanmean(column)) if path else 0.0
        found.append({"name": name, "path": "".join(path), "mean": mean})
    return found


def binned(times: np.ndarray, values: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Means over at most `most` groups of successive rows of equal size; NaN where all rows of a group are.

    Returns:
        Times (n,) and values (n, ...).
    """
    if len(times) <= most:
        return times, values
    parts = np.array_split(np.arange(len(times)), most)
    means = []
    for part in parts:
        good = np.isfinite(values[part])
        total, count = np.where(good, values[part], 0).sum(0), good.sum(0)
        means.append(np.where(count > 0, total / np.maximum(count, 1), np.nan))
    return np.array([times[part].mean() for part in parts]), np.array(means)


def frame_band(time: np.ndarray, attention: "Attention", begin: float, end: float) -> str:
    """Attention of the frames as a one-row image over the time axis; the strongest frame is opaque."""
    columns = np.zeros(PIXELS)
    edges = borders(time)
    where = np.searchsorted(time, np.asarray(attention.time) - 1e-6)
    weights = np.asarray(attention.weight) / max(float(np.max(attention.weight)), 1e-12)
    left = np.floor(place(edges[where], begin, end) / WIDTH * len(columns)).astype(int)
    right = np.ceil(place(edges[where + 1], begin, end) / WIDTH * len(columns)).astype(int)
    for first, last, weight in zip(left, right, weights, strict=True):
        columns[first:last] = np.maximum(columns[first:last], weight)
    return transparent(columns[None])


def audio_band(attention: "Attention", highest: float, begin: float, end: float) -> str:
    """Attention of the audio as an image over the time axis, 0 Hz at the bottom, `highest` Hz at the top.

    Transparent up to the uniform weight; opacity is scaled to the highest weight, at least twice the uniform one.
    """
    weight = np.asarray(attention.weight, np.float64)
    weight = weight[:, None] if weight.ndim == 1 else weight  # (R, F')
    rows = np.zeros(SPECTROGRAM_PIXELS, int)
    if attention.frequency is not None:
        hertz = highest * (np.arange(SPECTROGRAM_PIXELS) + 0.5) / SPECTROGRAM_PIXELS
        rows = np.abs(hertz[:, None] - np.asarray(attention.frequency)).argmin(1)
    seconds = begin + (end - begin) * (np.arange(PIXELS // 2) + 0.5) / (PIXELS // 2)
    edges = borders(np.asarray(attention.time))
    columns = np.searchsorted(edges, seconds, side="right") - 1
    inside = (columns >= 0) & (columns < len(weight))
    image = np.zeros((SPECTROGRAM_PIXELS, len(seconds)))
    image[:, inside] = weight[columns[inside]].T[rows]
    uniform = 1 / max(1, weight.size)
    above = np.maximum(image[::-1] - uniform, 0)
    return transparent(0.7 * above / max(float(weight.max()) - uniform, uniform))


def spectrogram_image(clip: Mapping[str, np.ndarray], begin: float, end: float) -> str:
    """The spectrogram as a grey image over the time axis; the loudest 60 dB."""
    spectrogram, time = clip["spectrogram"], clip["audio_time"]
    columns = min(PIXELS, max(1, len(time)))
    parts = np.array_split(np.arange(len(time)), columns)
    # Maxima, because means over a long clip are uniformly grey.
    levels = np.stack([np.asarray(spectrogram[part[0] : part[-1] + 1], np.float32).max(0) for part in parts], 1)
    levels = cv2.resize(levels, (columns, SPECTROGRAM_PIXELS), interpolation=cv2.INTER_AREA)[::-1]
    grey = np.clip((levels - levels.max()) / 60 + 1, 0, 1) * 255
    left, right = place([time[0], time[-1]], begin, end) / WIDTH
    whole = np.zeros((SPECTROGRAM_PIXELS, PIXELS), np.uint8)
    first, last = round(left * PIXELS), max(round(right * PIXELS), round(left * PIXELS) + 1)
    whole[:, first:last] = cv2.resize(grey, (last - first, SPECTROGRAM_PIXELS), interpolation=cv2.INTER_LINEAR)
    return jpeg(whole)


def place(times: Sequence[float] | np.ndarray, begin: float, end: float) -> np.ndarray:
    """Times (s) as x in units of SVG, kept inside the drawing."""
    return np.clip((np.asarray(times, np.float64) - begin) / max(end - begin, 1e-9), 0, 1) * WIDTH


def ticks(begin: float, end: float) -> list[dict[str, Any]]:
    """Marks of the time axis: a round number of seconds apart, ten at most; x in per cent, text."""
    step = next(
        step for step in (0.2, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 1e9) if end - begin <= 10 * step
    )
    seconds = np.arange(np.ceil(begin / step) * step, end + 1e-9, step)
    marks = place(seconds, begin, end) / WIDTH * 100
    return [{"x": round(float(x), 2), "text": _clock(float(s), step)} for x, s in zip(marks, seconds, strict=True)]


def frame_ticks(time: np.ndarray, begin: float, end: float, most: int) -> list[dict[str, Any]]:
    """Marks at round frame indices, about `most`; x in per cent, text."""
    step = next(
        factor * 10**power for power in range(9) for factor in (1, 2, 5) if len(time) <= most * factor * 10**power
    )
    marks = place(time[::step], begin, end) / WIDTH * 100
    return [{"x": round(float(x), 2), "text": str(i * step)} for i, x in enumerate(marks)]


def _clock(seconds: float, step: float) -> str:
    if step < 60:
        return f"{seconds:.1f} s" if step < 1 else f"{seconds:.0f} s"
    return f"{int(seconds // 60)} min"


def borders(times: np.ndarray) -> np.ndarray:
    """(n + 1,) borders half way between successive times; () for none."""
    if len(times) < 2:
        return np.array([*(times - 0.02), *(times + 0.02)])
    middles = (times[1:] + times[:-1]) / 2
    return np.concatenate([[times[0] - (middles[0] - times[0])], middles, [times[-1] + (times[-1] - middles[-1])]])
