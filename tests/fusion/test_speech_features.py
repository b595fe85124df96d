"""Speech descriptors, against tones and pauses whose answer is known, and against loops."""

import numpy as np
import pytest
from librosa.filters import mel

from deepfusion.config import SpectrogramSettings
from deepfusion.errors import UserError
from deepfusion.fusion.speech_features import (
    JUMP,
    NAMES,
    PITCHES,
    RHYTHM,
    WINDOW_SIZE,
    course,
    descriptors,
    functionals,
    mel_bank,
    rhythm,
    smoothest,
    whole,
    windows,
)
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


def test_the_mel_bank_is_librosas():
    theirs = mel(sr=16000, n_fft=800, n_mels=40, fmin=0, fmax=4000, htk=True, norm=None)[:, :200]
    assert mel_bank(200, spacing=20, bands=40) == pytest.approx(theirs, abs=1e-6)


def test_a_band_without_a_bin_is_refused():
    with pytest.raises(UserError, match="40 mel bands are too narrow for bins of 160 Hz"):
        mel_bank(25, spacing=160, bands=40)


@pytest.mark.parametrize("pitch", [100, 150, 220, 300, 410])
def test_the_pitch_of_a_voice_is_found(pitch):
    found = np.median(column(described(voice(pitch)), "pitch"))
    assert abs(found - 12 * np.log2(pitch / 27.5)) < 1  # a semitone


def test_the_pitch_does_not_leap_for_a_single_frame():
    """The best path of all, by trying each; and a frame in which the octave is a little more harmonic."""
    score = np.zeros((5, len(PITCHES)))
    score[:, 3], score[2, 20] = 10, 15
    assert smoothest(score).tolist() == [3] * 5
    score[2, 20] = 10 + 2.5 * JUMP * np.log2(PITCHES[20] / PITCHES[3])
    assert smoothest(score).tolist() == [3, 3, 20, 3, 3]


def test_a_voice_is_more_harmonic_than_noise():
    of_voice, of_noise = (column(described(sound), "harmonicity").mean() for sound in (voice(200), noise()))
    assert of_voice > of_noise + 10


def test_bright_sound_is_told_from_dull_sound():
    """A voice falls off towards high frequencies, white noise does not."""
    dull, bright = described(voice(200)), described(noise())
    for name in ("alpha", "centroid", "spread"):
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


def test_a_course_is_told_by_ten_functionals():
    up = [1.0, 2.0, 4.0, 7.0]
    percentiles = np.percentile(up, [10, 50, 90])
    trend = np.polyfit([-1, -1 / 3, 1 / 3, 1], up, 1)[0]
    rows = np.array([up, up[::-1]]).T
    found = course(rows).reshape(10, 2)
    want = [np.mean(up), np.std(up), *percentiles, percentiles[2] - percentiles[0]]
    np.testing.assert_allclose(found[:6, 0], want)
    np.testing.assert_allclose(found[6:, 0], [trend, 2, 0, np.std([1, 2, 3])])
    np.testing.assert_allclose(found[6:, 1], [-trend, 0, -2, np.std([1, 2, 3])])


def test_the_rhythm_counts_stretches_of_voice():
    pause = np.zeros(SETTINGS.rate // 4)
    said = rhythm(described(np.concatenate([voice(200, 0.5), pause, voice(200, 0.5), pause])))
    assert len(said) == RHYTHM
    assert said[0] == pytest.approx(np.log(150), abs=0.05)
    assert said[1] == pytest.approx(100 / 150, abs=0.08)
    assert 2 <= round(said[2] * 150) <= 30


def test_windows_cover_the_speech_and_know_their_time():
    speech = described(voice(200))
    values, middle = windows(speech, length=40)
    assert len(values) == len(middle) == (len(speech.index) - 40) // 10 + 1
    np.testing.assert_allclose(values[1], functionals(speech.part(slice(10, 50))))
    assert middle[1] == (speech.index[10] + speech.index[49]) / 2
    assert len(whole(speech)) == WINDOW_SIZE + RHYTHM
    np.testing.assert_allclose(whole(speech), [*functionals(speech), *rhythm(speech)])


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_a_clip_shorter_than_a_window_is_one_window(frames):
    speech = descriptors(seen(voice(200))[:frames], spacing=SPACING)
    values, middle = windows(speech, length=40)
    assert values.shape == (1, WINDOW_SIZE) and len(middle) == 1
    assert np.isfinite(values).all() and np.isfinite(whole(speech)).all()


def test_silence_is_finite():
    speech = descriptors(np.full((50, 200), SETTINGS.floor_db, np.float32), spacing=SPACING)
    assert np.isfinite(whole(speech)).all()
