"""Speech features, against tones and pauses whose answer is known, and against loops from the definitions."""

import numpy as np
import pytest

from deepfusion.config import SpectrogramSettings
from deepfusion.errors import UserError
from deepfusion.fusion.speech_features import (
    BANDS,
    CEPSTRA,
    JUMP,
    NAMES,
    PITCHES,
    RHYTHM,
    WINDOW_SIZE,
    clip_vector,
    descriptors,
    functionals,
    rhythm,
    viterbi,
    window_vector,
    windows,
)
from deepfusion.mel import mel_filters
from deepfusion.spectrogram import spectrogram

SETTINGS = SpectrogramSettings()
OPTIONS = SETTINGS.model_dump()
SPACING = SETTINGS.rate / SETTINGS.dft


def voice(pitch, seconds=1.0, harmonics=20):
    """A harmonic tone whose harmonics fall by 6 dB an octave, at -20 dB."""
    t = np.arange(int(seconds * SETTINGS.rate)) / SETTINGS.rate
    return 0.1 * sum(np.sin(2 * np.pi * pitch * h * t) / h for h in range(1, harmonics) if pitch * h < 4000)


def noise(seconds=1.0):
    return 0.1 * np.random.default_rng(0).normal(size=int(seconds * SETTINGS.rate))


def seen(sound):
    return spectrogram(np.asarray(sound, np.float32), **OPTIONS)


def described(sound):
    return descriptors(seen(sound), spacing=SPACING)


def column(speech, name):
    return speech.values[:, NAMES.index(name)]


def by_definition(levels, frequency):
    """Descriptors of one frame (F,) dB, in loops."""
    power = [10 ** (level / 10) for level in levels]
    total = sum(power)
    centroid = sum(p * f for p, f in zip(power, frequency, strict=True)) / total / 1000
    bandwidth = (sum(p * (f / 1000 - centroid) ** 2 for p, f in zip(power, frequency, strict=True)) / total) ** 0.5
    found = {"centroid": centroid, "bandwidth": bandwidth}
    for name, low, high in (("slope_500", 0, 500), ("slope_1500", 500, 1500), ("slope_4000", 1500, 4000)):
        inside = (frequency >= low) & (frequency <= high)
        found[name] = np.polyfit(frequency[inside] / 1000, levels[inside], 1)[0]
    weights = mel_filters(len(levels), spacing=SPACING, bands=BANDS)
    bands = [np.log(sum(w * p for w, p in zip(row, power, strict=True)) + 1e-10) for row in weights]
    for k in range(1, CEPSTRA + 1):  # the orthonormal discrete cosine transform of type II
        terms = [e * np.cos(np.pi * k * (2 * n + 1) / (2 * BANDS)) for n, e in enumerate(bands)]
        found[f"mfcc{k}"] = (2 / BANDS) ** 0.5 * sum(terms)
    return found


def test_spectral_descriptors_are_those_of_their_definitions():
    levels = np.random.default_rng(1).normal(-40, 8, (12, SETTINGS.bins)).astype(np.float32)
    speech = descriptors(levels, spacing=SPACING)
    assert len(speech.index) == 12
    frequency = np.arange(SETTINGS.bins) * SPACING
    for t, frame in enumerate(levels.astype(float)):
        for name, value in by_definition(frame, frequency).items():
            assert column(speech, name)[t] == pytest.approx(value, rel=1e-6, abs=1e-6), name
    share = 10 ** (levels.astype(float) / 20)
    share /= share.sum(1, keepdims=True)
    for t in range(1, 12):
        flux = sum((a - b) ** 2 for a, b in zip(share[t], share[t - 1], strict=True)) ** 0.5
        assert column(speech, "flux")[t] == pytest.approx(flux, rel=1e-6)


@pytest.mark.parametrize(("bins", "spacing"), [(25, 160), (100, 20)])
def test_bins_that_show_no_voice_are_refused(bins, spacing):
    with pytest.raises(UserError, match=f"up to 2500 Hz or more; here are {bins} of {spacing} Hz"):
        descriptors(np.zeros((3, bins), np.float32), spacing=spacing)


@pytest.mark.parametrize("pitch", [100, 150, 220, 300, 410])
def test_the_pitch_of_a_voice_is_found(pitch):
    found = np.median(column(described(voice(pitch)), "pitch"))
    assert abs(found - 12 * np.log2(pitch / 27.5)) < 1  # a semitone


def test_the_pitch_does_not_leap_for_a_single_frame():
    """One frame in which another pitch is more harmonic, by less and by more than two jumps cost."""
    score = np.zeros((5, len(PITCHES)))
    score[:, 3], score[2, 20] = 10, 15
    assert viterbi(score).tolist() == [3] * 5
    score[2, 20] = 10 + 2.5 * JUMP * np.log2(PITCHES[20] / PITCHES[3])
    assert viterbi(score).tolist() == [3, 3, 20, 3, 3]


def test_a_voice_is_more_harmonic_than_noise():
    of_voice, of_noise = (column(described(sound), "harmonicity").mean() for sound in (voice(200), noise()))
    assert of_voice > of_noise + 10


def test_bright_sound_differs_from_dull_sound():
    """A voice falls off towards high frequencies, white noise does not."""
    dull, bright = described(voice(200)), described(noise())
    for name in ("alpha", "centroid", "bandwidth"):
        assert column(bright, name).mean() > column(dull, name).mean()
    assert column(dull, "hammarberg").mean() > column(bright, "hammarberg").mean() + 6
    # 6 dB an octave: the second harmonic is half the first.
    assert np.median(column(dull, "h1_h2")) == pytest.approx(6, abs=1.5)


def test_a_change_of_sound_is_flux():
    speech = described(np.concatenate([voice(150), voice(320)]))
    assert 97 <= speech.index[column(speech, "flux").argmax()] <= 102


def test_pauses_are_left_out():
    pause = np.zeros(SETTINGS.rate // 2)
    index = described(np.concatenate([pause, voice(200, 0.5), pause])).index
    assert 45 <= index.min() <= 51
    assert 95 <= index.max() <= 101
    assert len(index) == index.max() - index.min() + 1


def test_the_level_is_that_of_all_bins():
    spectrum = seen(voice(200) * np.linspace(0.3, 1, SETTINGS.rate))
    speech = descriptors(spectrum, spacing=SPACING)
    level = 10 * np.log10((10 ** (spectrum.astype(float) / 10)).sum(1))
    np.testing.assert_allclose(column(speech, "level"), level[speech.index], rtol=1e-6)


def test_ten_functionals():
    up = [1.0, 2.0, 4.0, 7.0]
    percentiles = np.percentile(up, [10, 50, 90])
    trend = np.polyfit([-1, -1 / 3, 1 / 3, 1], up, 1)[0]
    rows = np.array([up, up[::-1]]).T
    found = functionals(rows).reshape(10, 2)
    want = [np.mean(up), np.std(up), *percentiles, percentiles[2] - percentiles[0]]
    np.testing.assert_allclose(found[:6, 0], want)
    np.testing.assert_allclose(found[6:, 0], [trend, 2, 0, np.std([1, 2, 3])])
    np.testing.assert_allclose(found[6:, 1], [-trend, 0, -2, np.std([1, 2, 3])])


def test_the_rhythm_counts_stretches_of_voice():
    pause = np.zeros(SETTINGS.rate // 4)
    found = rhythm(described(np.concatenate([voice(200, 0.5), pause, voice(200, 0.5), pause])))
    assert len(found) == RHYTHM
    assert found[0] == pytest.approx(np.log(150), abs=0.05)
    assert found[1] == pytest.approx(100 / 150, abs=0.08)
    assert 2 <= round(found[2] * 150) <= 30


def test_windows_cover_the_speech_and_know_their_time():
    speech = described(voice(200))
    values, middle = windows(speech, length=40)
    assert len(values) == len(middle) == (len(speech.index) - 40) // 10 + 1
    np.testing.assert_allclose(values[1], window_vector(speech.part(slice(10, 50))))
    assert middle[1] == (speech.index[10] + speech.index[49]) / 2
    assert len(clip_vector(speech)) == WINDOW_SIZE + RHYTHM
    np.testing.assert_allclose(clip_vector(speech), [*window_vector(speech), *rhythm(speech)])


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_a_clip_shorter_than_a_window_is_one_window(frames):
    speech = descriptors(seen(voice(200))[:frames], spacing=SPACING)
    values, middle = windows(speech, length=40)
    assert values.shape == (1, WINDOW_SIZE) and len(middle) == 1
    assert np.isfinite(values).all() and np.isfinite(clip_vector(speech)).all()


def test_silence_is_finite():
    speech = descriptors(np.full((50, 200), SETTINGS.floor_db, np.float32), spacing=SPACING)
    assert np.isfinite(clip_vector(speech)).all()
