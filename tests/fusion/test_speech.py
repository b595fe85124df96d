"""Speech descriptors, against tones and pauses whose answer is known."""

import numpy as np
import pytest

from deepfusion.config import SpectrogramSettings
from deepfusion.fusion.speech import BANDS, PITCHES, descriptors, functionals, windows
from deepfusion.spectrogram import spectrogram

SETTINGS = SpectrogramSettings()
OPTIONS = SETTINGS.model_dump()
SPACING = SETTINGS.rate / SETTINGS.dft


def voice(pitch, seconds=1.0, harmonics=20):
    """A harmonic tone whose harmonics fall by 6 dB an octave, at -20 dB."""
    t = np.arange(int(seconds * SETTINGS.rate)) / SETTINGS.rate
    return 0.1 * sum(np.sin(2 * np.pi * pitch * h * t) / h for h in range(1, harmonics) if pitch * h < 4000)


def seen(sound):
    return spectrogram(np.asarray(sound, np.float32), **OPTIONS)


@pytest.mark.parametrize("pitch", [100, 150, 220, 300, 410])
def test_the_pitch_of_a_voice_is_found(pitch):
    frames, _ = descriptors(seen(voice(pitch)), spacing=SPACING)
    found = PITCHES[0] * 2 ** np.median(frames[:, BANDS])
    assert abs(np.log2(found / pitch)) < 1 / 12  # a semitone


def test_a_voice_is_more_harmonic_than_noise():
    noise = 0.1 * np.random.default_rng(0).normal(size=SETTINGS.rate)
    of_voice, of_noise = (
        descriptors(seen(sound), spacing=SPACING)[0][:, BANDS + 1].mean() for sound in (voice(200), noise)
    )
    assert of_voice > of_noise + 10


def test_pauses_are_left_out():
    pause = np.zeros(SETTINGS.rate // 2)
    spectrum = seen(np.concatenate([pause, voice(200, 0.5), pause]))
    _, index = descriptors(spectrum, spacing=SPACING)
    assert 45 <= index.min() <= 51
    assert 95 <= index.max() <= 101
    assert len(index) == index.max() - index.min() + 1


def test_levels_and_changes_are_those_of_the_bands():
    spectrum = seen(voice(200) * np.linspace(0.3, 1, SETTINGS.rate))
    frames, index = descriptors(spectrum, spacing=SPACING)
    still, change = np.split(frames, 2, axis=1)
    level = 10 * np.log10((10 ** (spectrum.astype(float) / 10)).sum(1))
    np.testing.assert_allclose(still[:, -1], level[index], rtol=1e-4)
    np.testing.assert_allclose(change[:, -1], np.gradient(level)[index], atol=1e-3)


def test_functionals_are_mean_deviation_and_percentiles():
    frames = np.arange(11.0)[:, None]
    np.testing.assert_allclose(functionals(frames), [5, np.sqrt(10), 1, 5, 9])


def test_windows_cover_the_speech_and_know_their_time():
    spectrum = seen(voice(200))
    values, middle = windows(spectrum, spacing=SPACING, length=40)
    frames, index = descriptors(spectrum, spacing=SPACING)
    assert len(values) == len(middle) == (len(frames) - 40) // 10 + 1
    np.testing.assert_allclose(values[1, :-2], functionals(frames[10:50]), rtol=1e-5)
    assert middle[1] == (index[10] + index[49]) / 2
    assert values[0, -1] == pytest.approx(len(frames) / len(spectrum))
    assert values[0, -2] == pytest.approx(np.log(len(spectrum)))


@pytest.mark.parametrize("frames", [1, 5])
def test_a_clip_shorter_than_a_window_is_one_window(frames):
    values, middle = windows(seen(voice(200))[:frames], spacing=SPACING, length=40)
    assert len(values) == len(middle) == 1
    assert np.isfinite(values).all()


def test_no_sound_is_no_window():
    values, middle = windows(np.zeros((0, 200), np.float32), spacing=SPACING, length=40)
    assert values.shape == (0, windows(seen(voice(200)), spacing=SPACING, length=40)[0].shape[1])
    assert len(middle) == 0
