"""Frames at a lower rate: of each period one, with the followed person's face where the period has one."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def sampled(frames: Iterable[T], rate: float | None, *, seen: Callable[[T], tuple[float, bool]]) -> Iterator[T]:
    """Choose one frame per instant t0 + k / rate, t0 being the time of the first frame.

    Each frame belongs to the nearest instant. An instant gets the nearest of its frames that have a face, else the
    nearest of its frames, and none if it has no frames: so frames are neither repeated nor shifted in time, and where
    the video is slower than the rate all are kept.

    Args:
        frames: Of one clip, in their order. At most one is held.
        rate: Frames per second; None: all.
        seen: Gives the presentation time of a frame (s), and whether it has the followed person's face.
    """
    if rate is None:
        yield from frames
        return
    first: float | None = None

    def places() -> Iterator[tuple[int, tuple[bool, float], T]]:
        nonlocal first
        for frame in frames:
            time, has_face = seen(frame)
            first = time if first is None else first
            place = (time - first) * rate
            instant = int(np.floor(place + 0.5))
            yield instant, (not has_face, abs(place - instant)), frame

    for _, period in groupby(places(), key=lambda of: of[0]):
        yield min(period, key=lambda of: of[1])[2]


def sampled_rows(time: np.ndarray, valid: np.ndarray, rate: float | None) -> np.ndarray:
    """(L,) bool: the frames that `sampled` chooses, from their times (L,) s and whether they have a face (L,)."""
    chosen = np.zeros(len(time), bool)
    frames = range(len(time))
    chosen[list(sampled(frames, rate, seen=lambda i: (time[i], valid[i])))] = True
    return chosen
