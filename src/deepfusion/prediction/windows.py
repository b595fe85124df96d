"""Time windows of a clip, cut from its arrays: nothing is extracted again."""

from collections.abc import Mapping

import numpy as np

CLOCKS = {"spectrogram": "audio_time", "audio_time": "audio_time", "AF": "AF_time", "AF_time": "AF_time"}
"""Key -> key of the times of its rows; `time` for all others."""


def usable(clip: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The clip without empty modalities: video without any face, audio without rows.

    Other modalities keep all their keys, even those without rows in a short window.
    """
    has_face, has_audio = np.any(clip.get("valid", ())), len(clip.get("audio_time", ())) > 0
    return {key: rows for key, rows in clip.items() if (has_audio if key in CLOCKS else has_face)}


def span(clip: Mapping[str, np.ndarray]) -> tuple[float, float]:
    """First and last time of any row of a clip, s.

    Raises:
        ValueError: It has no rows.
    """
    clocks = [clip[clock] for clock in ("time", "audio_time") if len(clip.get(clock, ()))]
    if not clocks:
        raise ValueError("a clip without rows has no span")
    return float(min(clock[0] for clock in clocks)), float(max(clock[-1] for clock in clocks))


def spans(clip: Mapping[str, np.ndarray], window: float, hop: float) -> list[tuple[float, float]]:
    """Start and end (s) of windows of a length, every `hop` s from the first row on.

    The last window may end after the clip; it is dropped if the clip fills less than half of it. At least one is
    returned.
    """
    if not any(len(clip.get(clock, ())) for clock in ("time", "audio_time")):
        return []
    first, last = span(clip)
    starts = first + hop * np.arange(max(1, int(np.ceil((last - first) / hop))))
    kept = [start for start in starts if start == first or last - start >= window / 2]
    return [(float(start), float(start + window)) for start in kept]


def between(clip: Mapping[str, np.ndarray], start: float, end: float) -> dict[str, np.ndarray]:
    """The rows of all keys with start <= time < end."""
    rows = {}
    for key, values in clip.items():
        first, last = np.searchsorted(clip[CLOCKS.get(key, "time")], [start, end])
        rows[key] = values[first:last]
    return rows
