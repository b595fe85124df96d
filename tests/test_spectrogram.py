import csv
import tracemalloc

import librosa
import numpy as np
import pytest

from deepfusion.errors import ClipError, UserError
from deepfusion.media import read_audio
from deepfusion.spectrogram import spectrogram, times

RATE = 16000


def sine(frequency: float, seconds: float = 0.5, amplitude: float = 1.0) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def reference(samples, W=640, S=160, N=800, bins=200, floor=-100.0):
    """The definition, sum by sum: X[k] = sum_n w[n] x[n] exp(-2 pi i k n / N)."""
    n = np.arange(W)
    w = 0.54 - 0.46 * np.cos(2 * np.pi * n / W)
    dft = np.exp(-2j * np.pi * np.arange(bins)[:, None] * n / N)
    rows = []
    for t in range(1 + (len(samples) - W) // S):
        X = dft @ (w * samples[t * S : t * S + W].astype(float))
        with np.errstate(divide="ignore"):
            rows.append(np.maximum(20 * np.log10(2 * np.abs(X) / w.sum()), floor))
    return np.array(rows)


def test_agrees_with_the_definition():
    samples = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
    samples[6000:9000] = 0  # some windows see silence: the floor
    levels = spectrogram(samples)
    want = reference(samples)
    assert levels.shape == want.shape == (97, 200) and levels.dtype == np.float32
    assert np.abs(levels - want).max() < 1e-3
    assert (levels == -100).any() and (levels > -100).any()


def test_agrees_with_the_definition_for_other_parameters():
    samples = np.random.default_rng(1).normal(0, 0.1, 4000).astype(np.float32)
    levels = spectrogram(samples, rate=8000, window_ms=25, shift_ms=5, dft=256, bins=129, floor_db=-60)
    assert np.abs(levels - reference(samples, W=200, S=40, N=256, bins=129, floor=-60)).max() < 1e-3


@pytest.mark.parametrize("k", [5, 50, 105, 195])
def test_a_full_scale_sine_at_a_bin_is_0_db(k):
    levels = spectrogram(sine(20.0 * k))
    assert np.abs(levels[:, k]).max() < 1e-3
    assert (levels.argmax(axis=1) == k).all()
    assert spectrogram(sine(20.0 * k, amplitude=0.1))[:, k] == pytest.approx(-20, abs=1e-3)


@pytest.mark.parametrize(("n", "rows"), [(1, 1), (639, 1), (640, 1), (799, 1), (800, 2), (16000, 97)])
def test_number_of_windows(n, rows):
    samples = np.random.default_rng(2).normal(0, 0.1, n).astype(np.float32)
    levels = spectrogram(samples)
    assert levels.shape == (rows, 200) and np.isfinite(levels).all()
    if n < 640:
        assert np.array_equal(levels, spectrogram(np.pad(samples, (0, 640 - n))))


def test_times_are_the_centres_of_the_windows():
    samples = np.zeros(16000, np.float32)
    samples[8000] = 1  # at 2.5 s on a clock where the sound starts at 2 s
    levels = spectrogram(samples, floor_db=-200)
    at = times(len(levels), start=2.0)
    assert at.dtype == np.float64 and at[0] == pytest.approx(2.02) and np.allclose(np.diff(at), 0.01)
    assert at[levels.mean(axis=1).argmax()] == pytest.approx(2.5)


def test_blocks_bound_the_memory():
    samples = np.random.default_rng(3).normal(0, 0.1, 2_000_000).astype(np.float32)  # 125 s
    tracemalloc.start()
    levels = spectrogram(samples)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak - levels.nbytes < 40e6  # all windows at once would take 80 MB complex for the kept bins alone
    last = reference(samples[160 * (len(levels) - 1) :])
    assert np.abs(levels[-1] - last[0]).max() < 1e-3


def test_bad_sound():
    with pytest.raises(ClipError, match="not one sample"):
        spectrogram(np.zeros(0, np.float32))
    with pytest.raises(ClipError, match="not numbers"):
        spectrogram(np.full(1000, np.nan, np.float32))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"bins": 402}, "bins must be from 1 to .* 401, not 402"),
        ({"bins": 0}, "bins must be"),
        ({"dft": 512}, "window of 640 samples does not fit"),
        ({"window_ms": 0}, "window_ms = 0"),
        ({"window_ms": float("nan")}, "window_ms = nan"),
        ({"shift_ms": -10}, "shift_ms = -10"),
        ({"shift_ms": np.inf}, "shift_ms = inf"),
        ({"shift_ms": 0.03}, "not a whole number of samples"),
        ({"floor_db": -np.inf}, "floor_db"),
    ],
)
def test_parameters_that_make_no_sense(parameters, message):
    with pytest.raises(UserError, match=message):
        spectrogram(sine(1000), **parameters)


@pytest.mark.realdata
def test_real_voice(javsed):
    with (javsed / "manifest.csv").open() as file:
        known = next(csv.DictReader(file))
    heard = read_audio(javsed / known["path"])
    levels = spectrogram(heard.samples)
    assert levels.shape == (1 + (len(heard.samples) - 640) // 160, 200)
    assert np.abs(levels[100:110] - reference(heard.samples[16000 : 16000 + 640 + 9 * 160])).max() < 1e-2
    assert times(len(levels), start=heard.start)[-1] < heard.start + float(known["dur_audio"])


def test_levels_are_those_of_librosa():
    """librosa centres a window of 640 in its 800 points, which moves every window by 80 samples and no magnitude."""
    samples = np.random.default_rng(5).normal(0, 0.1, 16000).astype(np.float32)
    around = np.pad(samples, 80)
    transform = librosa.stft(around, n_fft=800, hop_length=160, win_length=640, window="hamming", center=False)
    full_scale = librosa.filters.get_window("hamming", 640).sum() / 2
    expected = librosa.amplitude_to_db(np.abs(transform[:200]), ref=full_scale, amin=1e-5 * full_scale, top_db=None)
    assert spectrogram(samples).shape == expected.T.shape
    assert spectrogram(samples) == pytest.approx(expected.T, abs=1e-3)
