"""Frames at a lower rate: one per period, with the followed person's face if a frame of the period has it."""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import TypeVar

import numpy as np

T = TypeVar("T")


def sampled(frames: Iterable[T], rate: float | None, *, seen: Callable[[T], tuple[float, bool]]) -> Iterator[T]:
    """Choose one frame per instant t0 + k / rate, t0 being the time of the first frame.

    Each frame belongs to the nearest instant. Of an instant's frames, the nearest one with a face is chosen, else the
    nearest one. Frames are therefore neither repeated nor shifted in time, and a video slower than the rate keeps all
    its frames.

    Args:
        frames: Frames of one clip, in order. At most one is buffered.
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
