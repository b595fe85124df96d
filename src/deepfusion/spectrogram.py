"""Audio to spectrogram, with the parameters of the paper's group.

A Hamming window of 40 ms every 10 ms, a discrete Fourier transform of 800 points at 16 kHz (20 Hz per bin), of
which the lowest 200 bins (0 to 3980 Hz) are kept; any length, nothing cut (arXiv 1806.01506, 1901.04889).
The papers do not say which Hamming window or which logarithm: here it is the periodic window (period =
length, for Fourier analysis), in dB relative to a full-scale sine, with a floor.
"""

from collections.abc import Iterator

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import get_window

from deepfusion.errors import ClipError
from deepfusion.framing import check, lengths

BLOCK = 1024  # windows transformed at a time; bounds the memory, apart from the result, to about 25 MB


def spectrogram(
    samples: np.ndarray,
    *,
    rate: int = 16000,
    window_ms: float = 40,
    shift_ms: float = 10,
    dft: int = 800,
    bins: int = 200,
    floor_db: float = -100.0,
) -> np.ndarray:
    """Level of every window and frequency.

    Args:
        samples: (n,) audio, full scale 1.
        rate: Samples per second.
        window_ms: Length W of the Hamming window, ms.
        shift_ms: Step S from window to window, ms.
        dft: Points of the transform; the window is padded with zeros up to it.
        bins: Lowest bins kept; bin k is k * rate / dft Hz.
        floor_db: Lower levels are raised to this one.

    Returns:
        (T, bins) float32, dB: 20 log10(2 |X| / sum(w)), 0 for a sine of amplitude 1 at a bin's frequency.
        T = 1 + (n - W) // S; audio shorter than a window gives one row, padded with zeros at its end.

    Raises:
        ClipError: No sample, or samples that are not numbers.
        UserError: Inconsistent parameters.
    """
    parts = list(
        blocks(samples, rate=rate, window_ms=window_ms, shift_ms=shift_ms, dft=dft, bins=bins, floor_db=floor_db)
    )
    return np.concatenate(parts)


def blocks(
    samples: np.ndarray, *, rate: int, window_ms: float, shift_ms: float, dft: int, bins: int, floor_db: float
) -> Iterator[np.ndarray]:
    """The rows of `spectrogram`, at most `BLOCK` at a time: (t, bins) float32 dB.

    Raises:
        ClipError: As `spectrogram`.
        UserError: As `spectrogram`.
    """
    check(rate=rate, window_ms=window_ms, shift_ms=shift_ms, dft=dft, bins=bins, floor_db=floor_db)
    window, shift = lengths(rate, window_ms, shift_ms)
    if len(samples) == 0:
        raise ClipError("no audio: not one sample")
    if not np.isfinite(samples).all():
        raise ClipError("the audio holds values that are not numbers")
    if len(samples) < window:
        samples = np.pad(samples, (0, window - len(samples)))
    weights = get_window("hamming", window)  # periodic
    windows = sliding_window_view(samples, window)[::shift]
    lowest = 10 ** (floor_db / 20)
    for first in range(0, len(windows), BLOCK):
        magnitude = np.abs(np.fft.rfft(windows[first : first + BLOCK] * weights, dft)[:, :bins])
        yield (20 * np.log10(np.maximum(2 / weights.sum() * magnitude, lowest))).astype(np.float32)


def times(T: int, *, start: float, rate: int = 16000, window_ms: float = 40, shift_ms: float = 10) -> np.ndarray:
    """Time of the centre of every window, (T,) float64 s, for audio that starts at `start` s."""
    window, shift = lengths(rate, window_ms, shift_ms)
    return start + (np.arange(T) * shift + window / 2) / rate
