"""A clip's sound: mono, resampled, with the time of its first sample."""

import math
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import soxr

from deepfusion.errors import ClipError
from deepfusion.media.container import SEEK_MARGIN, between, clip_errors, decoded

JITTER = 0.04  # s the sound's times may stray from its sample count (rounding) before it counts as a hole
LONGEST_HOLE = 600.0  # s of silence filled in; a longer hole is a broken clock


class Sound(NamedTuple):
    """Mono sound: `samples` (n,) float32 in [-1, 1], `rate` in Hz, `start` the time of the first sample in s."""

    samples: np.ndarray
    rate: int
    start: float


def sound(path: str | Path, *, rate: int = 16000, start: float | None = None, end: float | None = None) -> Sound:
    """A clip's sound, the plain mean of its channels, resampled, with start <= time < end.

    A hole in the sound's times is filled with silence, so that what follows keeps its time; a time more than
    `JITTER` before its place is damage. The resampler (soxr, HQ) has linear phase and no delay.

    Raises:
        ClipError: No audio stream, damage, times that jump, or no sample in the segment.
    """
    path = Path(path)
    origin = None  # time of the first sample decoded
    count = 0  # samples so far, at the file's rate
    blocks = []
    for time, frame, _ in decoded(path, "audio", start):
        if origin is None:
            if time is None:
                raise ClipError(f"{path.name}: the sound has no presentation time")
            origin, source_rate = time, frame.sample_rate
            resampler = soxr.ResampleStream(source_rate, rate, 1, dtype="float32", quality="HQ")
        if frame.sample_rate != source_rate:
            raise ClipError(f"{path.name}: the sound's rate changes from {source_rate} to {frame.sample_rate} Hz")
        # A packet may hold several frames of which only the first has a time; the others follow without a hole.
        hole = 0 if time is None else round((time - origin) * source_rate) - count
        if not -JITTER <= hole / source_rate <= LONGEST_HOLE:
            raise ClipError(f"{path.name}: the sound's times jump {hole / source_rate:.3f} s to {float(time):.3f} s")
        silence = np.zeros(hole if hole > JITTER * source_rate else 0, np.float32)
        with clip_errors(path):
            heard = np.concatenate([silence, _mono(frame)])
        count += len(heard)
        blocks.append(resampler.resample_chunk(heard))
        if end is not None and origin + Fraction(count, source_rate) > end + SEEK_MARGIN:
            break
    if origin is None:
        raise ClipError(f"{path.name}: no sound {between(start, end)}")
    blocks.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    samples = np.concatenate(blocks)
    first = 0 if start is None else max(0, _index(start, origin, rate))
    last = None if end is None else max(0, _index(end, origin, rate))
    samples = samples[first:last]
    if not len(samples):
        raise ClipError(f"{path.name}: no sound {between(start, end)}")
    if not np.isfinite(samples).all():
        raise ClipError(f"{path.name}: the sound holds values that are not numbers")
    return Sound(np.clip(samples, -1, 1), rate, float(origin + Fraction(first, rate)))


def _index(time: float, origin: Fraction, rate: int) -> int:
    """Index of the first sample at or after a time; a millionth of a sample is rounding."""
    return math.ceil(float((Fraction(time) - origin) * rate) - 1e-6)


def _mono(frame: av.AudioFrame) -> np.ndarray:
    """Mean of the channels of a sound frame, (n,) float32, with full scale 1 whatever the format."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    mean = samples.mean(axis=0, dtype=np.float64)
    if samples.dtype == np.uint8:
        mean = (mean - 128) / 128
    elif samples.dtype.kind == "i":
        mean = mean / 2.0 ** (8 * samples.dtype.itemsize - 1)
    return mean.astype(np.float32)
