"""A clip's audio: mono, resampled, with the time of its first sample."""

import math
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import soxr

from deepfusion.errors import ClipError
from deepfusion.media.container import SEEK_MARGIN, between, clip_errors, decoded
from deepfusion.media.limits import DEFAULT_LIMITS, Limits, named

JITTER = 0.04  # s by which times may differ from the sample count (rounding) before it counts as a gap
RATES = (1000, 1_000_000)  # Hz; no recorder is slower or faster, and a damaged header may say anything
# FFmpeg's names of the surround layouts whose channels all have a place in the standard stereo mix.
SURROUND = frozenset(
    (  # noqa: SIM905  one name per line would fill a page
        "2.1 3.0 3.0(back) 3.1 3.1.2 4.0 4.1 quad quad(side) 5.0 5.0(side) 5.1 5.1(side) 5.1.2 5.1.2(back) 6.0 "
        "6.0(front) 6.1 6.1(back) 6.1(front) 7.0 7.0(front) 7.1 7.1(wide) 7.1(wide-side) hexagonal octagonal"
    ).split()
)
# Power of the mix relative to the channels' mean power (-20 dB); below it the channels cancel each other out.
CANCELLED = 0.01


class Audio(NamedTuple):
    """Mono audio: `samples` (n,) float32 in [-1, 1], `rate` in Hz, `start` the time of the first sample in s.

    `note` describes anything unusual about it, else "".
    """

    samples: np.ndarray
    rate: int
    start: float
    note: str = ""


def read_audio(
    path: str | Path,
    *,
    rate: int = 16000,
    start: float | None = None,
    end: float | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Audio:
    """A clip's audio, the plain mean of mono or stereo, resampled, from start to before end.

    `start` and `end` count from the beginning of the file, s; the time of the first sample is on the clock of the file.
    A gap in the audio's times is filled with silence, so that later samples keep their times; a time that is more
    than `JITTER` too early is damage. The resampler (soxr, HQ) has linear phase and no delay. If the channels cancel
    each other out in the mean (opposite phase), the loudest one is used instead, with a note. Surround audio is mixed
    to stereo first; the plain mean of more channels in an unknown layout has a note.

    Raises:
        ClipError: No audio stream, damage, times that jump, too much silence to fill in, or no sample in the segment.
    """
    path = Path(path)
    powers = _Powers()
    found = _mixed(path, None, rate, start, end, limits, powers)
    if not powers.cancel():
        return found
    loudest, count = int(np.argmax(powers.channels)), len(powers.channels)
    found = _mixed(path, loudest, rate, start, end, limits, _Powers())
    return found._replace(note=f"the channels cancel each other out: channel {loudest + 1} of {count} is used")


class _Powers:
    """Sums of squares: of the channels' mean, and of each channel."""

    def __init__(self) -> None:
        self.mean, self.channels = 0.0, np.zeros(0)

    def add(self, samples: np.ndarray) -> None:
        """Add (channels, n) samples; if the number of channels changes, earlier samples are dropped."""
        if len(self.channels) != len(samples):
            self.mean, self.channels = 0.0, np.zeros(len(samples))
        mean = samples.mean(axis=0)
        self.mean += float(mean @ mean)
        self.channels += np.einsum("cn,cn->c", samples, samples)

    def cancel(self) -> bool:
        """Whether the channels cancel each other out in their mean."""
        return len(self.channels) > 1 and self.mean < CANCELLED * self.channels.mean()


def _mixed(
    path: Path,
    channel: int | None,
    rate: int,
    start: float | None,
    end: float | None,
    limits: Limits,
    powers: _Powers,
) -> Audio:
    """The audio as the mean of the channels (channel None) or as one channel; `powers` gets what is in the segment."""
    origin = None  # time of the first sample decoded
    offset = Fraction(0)  # the same, from the beginning of the file
    count = 0  # samples so far, at the file's rate
    filled = 0  # of these, inserted silence
    blocks = []
    channels = _Channels()
    for time, frame, _, begin in decoded(path, "audio", start, limits):
        if origin is None:
            if time is None:
                raise ClipError(f"{path.name}: the audio has no presentation time")
            origin, offset, source_rate = time, time - begin, frame.sample_rate
            if not RATES[0] <= source_rate <= RATES[1]:
                raise ClipError(f"{path.name}: {source_rate} Hz is not a plausible sample rate: damaged header")
            resampler = soxr.ResampleStream(source_rate, rate, 1, dtype="float32", quality="HQ")
        if frame.sample_rate != source_rate:
            raise ClipError(f"{path.name}: the audio's rate changes from {source_rate} to {frame.sample_rate} Hz")
        # A packet may hold several frames of which only the first has a time; the others follow without a gap.
        hole = 0 if time is None else round((time - origin) * source_rate) - count
        if hole < -JITTER * source_rate:
            raise ClipError(
                f"{path.name}: the audio's times jump {hole / source_rate:.3f} s to {float(time or 0):.3f} s"
            )
        hole = hole if hole > JITTER * source_rate else 0
        filled += hole
        if filled > limits.silence_s * source_rate:
            raise ClipError(
                f"{path.name}: the audio's times jump {hole / source_rate:.3f} s to {float(time or 0):.3f} s: the "
                f"silence to fill in is over the limit of {limits.silence_s:g} s {named('silence_s', limits.silence_s)}"
            )
        with clip_errors(path):
            samples = channels(frame)
            mono = samples.mean(axis=0) if channel is None else samples[min(channel, len(samples) - 1)]
            begins = offset + Fraction(count + hole, source_rate)
            ends = begins + Fraction(len(mono), source_rate)
            if (end is None or begins < end) and (start is None or ends > start):
                powers.add(samples)
            heard = np.concatenate([np.zeros(hole, np.float32), mono.astype(np.float32)])
        count += len(heard)
        blocks.append(resampler.resample_chunk(heard))
        if end is not None and offset + Fraction(count, source_rate) > end + SEEK_MARGIN:
            break
    if origin is None:
        raise ClipError(f"{path.name}: no audio {between(start, end)}")
    blocks.append(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
    samples = np.concatenate(blocks)
    first = 0 if start is None else max(0, _index(start, offset, rate))
    last = None if end is None else max(0, _index(end, offset, rate))
    samples = samples[first:last]
    if not len(samples):
        raise ClipError(f"{path.name}: no audio {between(start, end)}")
    if not np.isfinite(samples).all():
        raise ClipError(f"{path.name}: the audio holds values that are not numbers")
    note = f"{channels.unknown} channels of an unknown layout: their plain mean is used" if channels.unknown else ""
    return Audio(np.clip(samples, -1, 1), rate, float(origin + Fraction(first, rate)), note)


def _index(time: float, origin: Fraction, rate: int) -> int:
    """Index of the first sample at or after a time, with a millionth of a sample for rounding."""
    return math.ceil(float((Fraction(time) - origin) * rate) - 1e-6)


class _Channels:
    """Frames of audio as (channels, n) float64, full scale 1, whatever their format.

    Surround audio becomes stereo by FFmpeg's standard downmix (ITU-R BS.775: centre and surrounds at 0.707, without the
    low-frequency channel): speech is mostly in the centre alone, and a plain mean of all channels would bury it.
    FFmpeg converts them to packed first: PyAV crashes on eight or more planar channels.

    Attributes:
        unknown: Number of channels, if there are several and their layout is not one that can be mixed so; else 0.
    """

    def __init__(self) -> None:
        self.unknown = 0
        self._resampler: av.AudioResampler | None = None
        self._form: tuple[str, str, int] | None = None

    def __call__(self, frame: av.AudioFrame) -> np.ndarray:
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        if self._resampler is None or form != self._form:  # changes within a stream are allowed
            surround, count = frame.layout.name in SURROUND, frame.layout.nb_channels
            if count > 2 and not surround:
                self.unknown = count
            self._resampler = av.AudioResampler(format="dbl", layout="stereo" if surround else None)
            self._form = form
        packed = [part.to_ndarray().reshape(-1, part.layout.nb_channels) for part in self._resampler.resample(frame)]
        return np.concatenate(packed).T if len(packed) != 1 else packed[0].T
