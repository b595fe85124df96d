"""Speech features of a spectrogram: pitch, voice quality, spectral shape and level, with their functionals, and rhythm.

A convolutional encoder learns these from thousands of clips; a corpus of a few hundred is too small for that. The
choice follows the sets that speech emotion recognition uses (Eyben et al., "The Geneva Minimalistic Acoustic Parameter
Set", IEEE Transactions on Affective Computing 2016), as far as a spectrogram of 20 Hz bins up to 4 kHz shows them.
librosa computes mel bands, cepstra, centroid, bandwidth and slopes. Its pitch trackers need the waveform, which a
feature store does not hold, and its onset strength is not the flux that these sets contain.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import median_filter

from deepfusion.errors import UserError
from deepfusion.mel import mel_filters

# Candidates of the fundamental frequency, Hz: 48 on a logarithmic scale, 17 per octave; children and shouts included.
PITCHES = np.geomspace(75, 500, 48)
HARMONICS = 6
# Penalty of a pitch jump by one octave between two frames, dB of harmonicity.
JUMP = 20.0
# Requirements for speech, Hz: maximum width of a bin, and minimum frequency of the last bin.
COARSEST, LOWEST_END = 100, 2500
SLOPES = ((0, 500), (500, 1500), (1500, 4000))  # Hz
BANDS = 26
CEPSTRA = 13
# dB below the loudest frame of the clip that still count as speech.
SPEECH_RANGE = 35.0
# With fewer speech frames, all frames of the clip are used.
FEWEST = 10
# Share of the speech frames that counts as voiced: the most harmonic ones.
VOICED = 0.6
PERCENTILES = (10, 50, 90)
# Measured in voiced frames only.
OF_VOICE = ("pitch", "h1_h2")
NAMES = (
    *("pitch", "harmonicity", "level", "alpha", "hammarberg", "slope_500", "slope_1500", "slope_4000"),
    *("centroid", "bandwidth", "flux", "h1_h2"),
    *(f"mfcc{i + 1}" for i in range(CEPSTRA)),
)
FUNCTIONALS = 10
# Length of a window's vector, and additional length of a clip's vector.
WINDOW_SIZE = FUNCTIONALS * len(NAMES) + 2 * CEPSTRA + 2 * BANDS
RHYTHM = 8


@dataclass(frozen=True)
class Speech:
    """Descriptors of the frames that hold speech, S out of the T of a clip.

    Attributes:
        values: (S, len(NAMES)) pitch (semitones above 27.5 Hz), its harmonicity (dB), level (dB); alpha ratio and
            Hammarberg index (dB); slopes up to 500, 1500 and 4000 Hz (dB per kHz); centroid and bandwidth of the power
            (kHz); flux of the normalised amplitudes; first minus second harmonic (dB); cepstra of the mel bands.
        bands: (S, BANDS) log energies of the mel bands (nepers).
        voiced: (S,) bool.
        index: (S,) int64, which frames of the clip these are.
        frames: T.
    """

    values: np.ndarray
    bands: np.ndarray
    voiced: np.ndarray
    index: np.ndarray
    frames: int

    def part(self, rows: slice) -> "Speech":
        """A range of its frames."""
        return Speech(self.values[rows], self.bands[rows], self.voiced[rows], self.index[rows], self.frames)


def level_at(spectrogram: np.ndarray, frequency: np.ndarray, *, spacing: float) -> np.ndarray:
    """(T, F) dB and (K,) Hz -> (T, K) dB, interpolated between the bins; above the last bin, its level."""
    place = np.minimum(frequency / spacing, spectrogram.shape[1] - 1.001)
    low = place.astype(int)
    share = place - low
    return (1 - share) * spectrogram[:, low] + share * spectrogram[:, low + 1]


def harmonicity(spectrogram: np.ndarray, *, spacing: float) -> np.ndarray:
    """How far the harmonics of each pitch candidate rise above the valleys between them.

    Source: Hermes, "Measurement of pitch by subharmonic summation", 1988; here minus the level of the valleys, so that
    noise scores about 0.

    Args:
        spectrogram: (T, F) dB.
        spacing: Hz between two bins.

    Returns:
        (T, len(PITCHES)) dB, harmonics weighted by 1 / number.
    """
    total = np.zeros((len(spectrogram), len(PITCHES)))
    for harmonic in range(1, HARMONICS + 1):
        inside = PITCHES * harmonic / spacing < spectrogram.shape[1] - 2
        peak, valley = (level_at(spectrogram, PITCHES[inside] * n, spacing=spacing) for n in (harmonic, harmonic - 0.5))
        total[:, inside] += (peak - valley) / harmonic
    return total


def viterbi(score: np.ndarray) -> np.ndarray:
    """The path with the greatest sum of scores, less `JUMP` per octave of change.

    This avoids octave errors: half and double the pitch are nearly as harmonic as the pitch itself.

    Args:
        score: (T, len(PITCHES)).

    Returns:
        (T,) int64, the candidate of each frame.
    """
    octave = np.log2(PITCHES)
    cost = JUMP * np.abs(octave[:, None] - octave)
    best, origin = score[0], np.zeros(score.shape, np.int64)
    for t in range(1, len(score)):
        reached = best - cost
        origin[t] = reached.argmax(1)
        best = reached.max(1) + score[t]
    path = np.zeros(len(score), np.int64)
    path[-1] = best.argmax()
    for t in range(len(score) - 1, 0, -1):
        path[t - 1] = origin[t, path[t]]
    return path


def spectral_slopes(spectrogram: np.ndarray, frequency: np.ndarray) -> list[np.ndarray]:
    """Slopes of the spectrum in `SLOPES`: (T, F) dB, (F,) Hz -> (T,) dB per kHz each."""
    import librosa

    ranges = [(frequency >= low) & (frequency <= high) for low, high in SLOPES]
    khz = frequency / 1000
    return [librosa.feature.poly_features(S=spectrogram[:, r].T, freq=khz[r], order=1)[0] for r in ranges]


def descriptors(spectrogram: np.ndarray, *, spacing: float) -> Speech:
    """Describe the frames that hold speech.

    Args:
        spectrogram: (T, F) dB, T at least 1.
        spacing: Hz between two bins.

    Raises:
        UserError: The bins are too coarse for speech, or end too low.
    """
    import librosa

    frequency = np.arange(spectrogram.shape[1]) * spacing
    if spacing > COARSEST or frequency[-1] < LOWEST_END:
        raise UserError(
            f"speech features need bins of at most {COARSEST} Hz up to {LOWEST_END} Hz or more; here are "
            f"{len(frequency)} of {spacing:g} Hz: see spectrogram.dft and spectrogram.bins"
        )
    spectrogram = spectrogram.astype(np.float64)
    power = 10 ** (spectrogram / 10)
    bands = np.log(power @ mel_filters(spectrogram.shape[1], spacing=spacing, bands=BANDS).T + 1e-10)
    cepstra = librosa.feature.mfcc(S=bands.T, n_mfcc=CEPSTRA + 1)[1:].T  # without the level
    rise = harmonicity(spectrogram, spacing=spacing)
    chosen = (np.arange(len(rise)), viterbi(rise))
    first, second = (level_at(spectrogram, PITCHES * n, spacing=spacing)[chosen] for n in (1, 2))
    level = 10 * np.log10(power.sum(1) + 1e-12)
    low = frequency < 1000
    alpha = 10 * np.log10((power[:, ~low].sum(1) + 1e-12) / (power[:, low & (frequency >= 50)].sum(1) + 1e-12))
    hammarberg = spectrogram[:, frequency < 2000].max(1) - spectrogram[:, frequency >= 2000].max(1)
    centroid = librosa.feature.spectral_centroid(S=power.T, freq=frequency)
    bandwidth = librosa.feature.spectral_bandwidth(S=power.T, freq=frequency, centroid=centroid)
    amplitude = librosa.util.normalize(np.sqrt(power), norm=1, axis=1)
    flux = np.append(0, np.sqrt((np.diff(amplitude, axis=0) ** 2).sum(1)))
    columns = [12 * np.log2(PITCHES[chosen[1]] / 27.5), rise[chosen], level, alpha, hammarberg]
    columns += [*spectral_slopes(spectrogram, frequency), centroid[0] / 1000, bandwidth[0] / 1000, flux]
    values = np.column_stack([*columns, first - second, cepstra])
    speech = level > level.max() - SPEECH_RANGE
    if speech.sum() < FEWEST:
        speech[:] = True
    harmonic = values[speech, NAMES.index("harmonicity")]
    voiced = harmonic >= np.quantile(harmonic, 1 - VOICED)
    return Speech(values[speech], bands[speech], voiced, np.flatnonzero(speech), len(spectrogram))


def functionals(x: np.ndarray) -> np.ndarray:
    """Statistics of each column over time.

    Mean, standard deviation, the 10th, 50th and 90th percentile, the range between the outer ones, the linear trend
    over half the duration, mean rise and mean fall between successive frames, standard deviation of the change.

    Args:
        x: (S, D), S at least 1.

    Returns:
        (FUNCTIONALS D,).
    """
    ramp = np.linspace(-1, 1, len(x))
    trend = ramp @ x / max(ramp @ ramp, 1)
    percentiles = np.percentile(x, PERCENTILES, axis=0)
    change = np.diff(x, axis=0) if len(x) > 1 else np.zeros_like(x)
    rise, fall = (np.where(some, change, 0).sum(0) / np.maximum(some.sum(0), 1) for some in (change > 0, change < 0))
    spread = percentiles[-1] - percentiles[0]
    return np.concatenate([x.mean(0), x.std(0), *percentiles, spread, trend, rise, fall, change.std(0)])


def window_vector(speech: Speech) -> np.ndarray:
    """(WINDOW_SIZE,) float64: functionals of the descriptors; mean and deviation of voiced cepstra and mel bands."""
    of_voice = np.isin(NAMES, OF_VOICE)
    voiced = speech.values[speech.voiced] if speech.voiced.any() else speech.values
    cepstra = voiced[:, -CEPSTRA:]
    spectra = [each for x in (cepstra, speech.bands) for each in (x.mean(0), x.std(0))]
    return np.concatenate([functionals(speech.values[:, ~of_voice]), functionals(voiced[:, of_voice]), *spectra])


def _lengths(flags: np.ndarray) -> np.ndarray:
    """Lengths of the runs of True."""
    edges = np.diff(np.concatenate([[0], flags.astype(np.int64), [0]]))
    return np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)


def rhythm(speech: Speech) -> np.ndarray:
    """(RHYTHM,) float64 of a clip.

    The logarithm of its number of frames, the share of speech; voiced stretches per frame, mean and deviation of their
    length and of the stretches between them (frames); peaks of the level per frame of speech.
    """
    voiced = np.zeros(speech.frames, bool)
    voiced[speech.index[speech.voiced]] = True
    stretches = [_lengths(voiced), _lengths(~voiced)]
    shape = [value for x in stretches for value in ((x.mean(), x.std()) if len(x) else (0, 0))]
    level = median_filter(speech.values[:, NAMES.index("level")], 5)
    peaks = ((level[1:-1] > level[:-2]) & (level[1:-1] >= level[2:])).sum()
    share = len(speech.index) / speech.frames
    return np.array([np.log(speech.frames), share, len(stretches[0]) / speech.frames, *shape, peaks / len(level)])


def clip_vector(speech: Speech) -> np.ndarray:
    """(WINDOW_SIZE + RHYTHM,) float64: functionals and rhythm of a clip."""
    return np.concatenate([window_vector(speech), rhythm(speech)])


def windows(speech: Speech, *, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Functionals over windows of speech, each a quarter of a window after the one before.

    Args:
        speech: Of one clip.
        length: Frames of speech in a window; a clip with fewer is one window.

    Returns:
        (L, WINDOW_SIZE) float64, and (L,) the middle of each window in frames of the clip.
    """
    count = len(speech.index)
    length = min(length, count)
    parts = [speech.part(slice(start, start + length)) for start in range(0, count - length + 1, max(1, length // 4))]
    return np.stack([window_vector(part) for part in parts]), np.array([(p.index[0] + p.index[-1]) / 2 for p in parts])
