"""What phonetics measures in a spectrogram: pitch, voice quality, spectral shape, level, their course and their rhythm.

A convolutional encoder learns these from thousands of clips; a corpus of a few hundred has to be given them. The choice
follows the sets that speech emotion recognition uses (Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set",
IEEE Transactions on Affective Computing 2016), as far as a spectrogram of 20 Hz bins up to 4 kHz shows them.
"""

from dataclasses import dataclass

import numpy as np
from scipy.fft import dct
from scipy.ndimage import median_filter

from deepfusion.errors import UserError

# Candidates of the fundamental frequency, Hz: 48 on a logarithmic scale, 17 an octave; children and shouts included.
PITCHES = np.geomspace(75, 500, 48)
HARMONICS = 6
# dB of harmonicity that a jump of the pitch by an octave from one frame to the next has to gain.
JUMP = 20.0
BANDS = 26
CEPSTRA = 13
# dB below the loudest frame of the clip that still count as speech.
SPEECH_RANGE = 35.0
# Fewest speech frames that are told from pauses; a shorter clip is taken whole.
FEWEST = 10
# Share of the speech that counts as voiced: its most harmonic frames.
VOICED = 0.6
PERCENTILES = (10, 50, 90)
# What is only heard in a voice, and so measured in voiced frames alone.
OF_VOICE = ("pitch", "h1_h2")
NAMES = (
    *("pitch", "harmonicity", "level", "alpha", "hammarberg", "slope_500", "slope_1500", "slope_4000"),
    *("centroid", "spread", "flux", "h1_h2"),
    *(f"mfcc{i + 1}" for i in range(CEPSTRA)),
)
FUNCTIONALS = 10
# Numbers of a window, and what a whole clip has beside them.
WINDOW_SIZE = FUNCTIONALS * len(NAMES) + 2 * CEPSTRA + 2 * BANDS
RHYTHM = 8


@dataclass(frozen=True)
class Speech:
    """Descriptors of the frames that hold speech, S out of the T of a clip.

    Attributes:
        values: (S, len(NAMES)) pitch (semitones above 27.5 Hz), its harmonicity (dB), level (dB); alpha ratio and
            Hammarberg index (dB); slopes up to 500, 1500 and 4000 Hz (dB a kHz); centroid and spread (kHz); flux of the
            amplitudes' shares; first against second harmonic (dB); cepstra of the mel bands.
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
        """Some successive frames of it."""
        return Speech(self.values[rows], self.bands[rows], self.voiced[rows], self.index[rows], self.frames)


def mel_bank(bins: int, *, spacing: float, bands: int) -> np.ndarray:
    """Triangles of height 1 whose corners are equally far apart in mel (2595 log10(1 + f / 700), O'Shaughnessy 1987).

    Args:
        bins: Number of linear bins; bin i is i * spacing Hz.
        spacing: Hz.
        bands: Number of triangles between 0 Hz and bins * spacing Hz.

    Returns:
        (bands, bins) weights of power.

    Raises:
        UserError: A triangle lies between two bins.
    """
    highest = 2595 * np.log10(1 + bins * spacing / 700)
    corners = 700 * (10 ** (np.linspace(0, highest, bands + 2) / 2595) - 1)
    low, centre, high = (corners[i : i + bands, None] for i in range(3))
    frequency = np.arange(bins) * spacing
    bank = np.minimum((frequency - low) / (centre - low), (high - frequency) / (high - centre)).clip(min=0)
    if not bank.any(axis=1).all():
        raise UserError(f"{bands} mel bands are too narrow for bins of {spacing:g} Hz: a band has no bin")
    return bank


def level_at(spectrogram: np.ndarray, frequency: np.ndarray, *, spacing: float) -> np.ndarray:
    """(T, F) dB and (K,) Hz -> (T, K) dB, interpolated between the bins; the last bin's beyond them."""
    place = np.minimum(frequency / spacing, spectrogram.shape[1] - 1.001)
    low = place.astype(int)
    share = place - low
    return (1 - share) * spectrogram[:, low] + share * spectrogram[:, low + 1]


def harmonicity(spectrogram: np.ndarray, *, spacing: float) -> np.ndarray:
    """How far the harmonics of each pitch candidate rise above the valleys between them.

    After the summation of subharmonics (Hermes 1988), with the valleys taken off, so that noise gives nothing.

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


def smoothest(score: np.ndarray) -> np.ndarray:
    """The path through (T, K) scores, a candidate a frame, with the greatest sum, less `JUMP` an octave: (T,) int64.

    Viterbi's algorithm: the harmonicity of half and double the pitch is nearly as high, the voice does not leap.
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


def _slope(spectrogram: np.ndarray, frequency: np.ndarray, low: float, high: float) -> np.ndarray:
    """(T,) dB a kHz: least squares over the bins between two frequencies (Hz)."""
    inside = (frequency >= low) & (frequency <= high)
    x = (frequency[inside] - frequency[inside].mean()) / 1000
    return spectrogram[:, inside] @ x / (x @ x)


def descriptors(spectrogram: np.ndarray, *, spacing: float) -> Speech:
    """Describe the frames that hold speech.

    Args:
        spectrogram: (T, F) dB, T at least 1.
        spacing: Hz between two bins.
    """
    spectrogram = spectrogram.astype(np.float64)
    power = 10 ** (spectrogram / 10)
    frequency = np.arange(spectrogram.shape[1]) * spacing
    bands = np.log(power @ mel_bank(spectrogram.shape[1], spacing=spacing, bands=BANDS).T + 1e-10)
    rise = harmonicity(spectrogram, spacing=spacing)
    chosen = (np.arange(len(rise)), smoothest(rise))
    first, second = (level_at(spectrogram, PITCHES * n, spacing=spacing)[chosen] for n in (1, 2))
    level = 10 * np.log10(power.sum(1) + 1e-12)
    low = frequency < 1000
    alpha = 10 * np.log10((power[:, ~low].sum(1) + 1e-12) / (power[:, low & (frequency >= 50)].sum(1) + 1e-12))
    hammarberg = spectrogram[:, frequency < 2000].max(1) - spectrogram[:, frequency >= 2000].max(1)
    slopes = [_slope(spectrogram, frequency, *ends) for ends in ((0, 500), (500, 1500), (1500, 4000))]
    share = power / (power.sum(1, keepdims=True) + 1e-12)
    centroid = share @ frequency / 1000
    spread = np.sqrt((share * (frequency / 1000 - centroid[:, None]) ** 2).sum(1))
    amplitude = np.sqrt(power)
    amplitude /= amplitude.sum(1, keepdims=True) + 1e-9
    flux = np.append(0, np.sqrt((np.diff(amplitude, axis=0) ** 2).sum(1)))
    columns = [12 * np.log2(PITCHES[chosen[1]] / 27.5), rise[chosen], level, alpha, hammarberg, *slopes]
    columns += [centroid, spread, flux, first - second]
    values = np.column_stack([*columns, dct(bands, norm="ortho", axis=1)[:, 1 : CEPSTRA + 1]])
    speech = level > level.max() - SPEECH_RANGE
    if speech.sum() < FEWEST:
        speech[:] = True
    harmonic = values[speech, NAMES.index("harmonicity")]
    voiced = harmonic >= np.quantile(harmonic, 1 - VOICED)
    return Speech(values[speech], bands[speech], voiced, np.flatnonzero(speech), len(spectrogram))


def course(x: np.ndarray) -> np.ndarray:
    """(S, D), S at least 1 -> (FUNCTIONALS D,): what each column does over time.

    Mean, standard deviation, the 10th, 50th and 90th percentile, the range between the outer ones, the linear trend
    over half the stretch, the mean rise and the mean fall from frame to frame, the standard deviation of the change.
    """
    ramp = np.linspace(-1, 1, len(x))
    trend = ramp @ x / max(ramp @ ramp, 1)
    percentiles = np.percentile(x, PERCENTILES, axis=0)
    change = np.diff(x, axis=0) if len(x) > 1 else np.zeros_like(x)
    rise, fall = (np.where(some, change, 0).sum(0) / np.maximum(some.sum(0), 1) for some in (change > 0, change < 0))
    spread = percentiles[-1] - percentiles[0]
    return np.concatenate([x.mean(0), x.std(0), *percentiles, spread, trend, rise, fall, change.std(0)])


def functionals(speech: Speech) -> np.ndarray:
    """(WINDOW_SIZE,) float64: course of the descriptors; mean and deviation of voiced cepstra and of the mel bands."""
    of_voice = np.isin(NAMES, OF_VOICE)
    voiced = speech.values[speech.voiced] if speech.voiced.any() else speech.values
    cepstra = voiced[:, -CEPSTRA:]
    spectra = [each for x in (cepstra, speech.bands) for each in (x.mean(0), x.std(0))]
    return np.concatenate([course(speech.values[:, ~of_voice]), course(voiced[:, of_voice]), *spectra])


def _lengths(flags: np.ndarray) -> np.ndarray:
    """Lengths of the unbroken runs of True."""
    edges = np.diff(np.concatenate([[0], flags.astype(np.int64), [0]]))
    return np.flatnonzero(edges == -1) - np.flatnonzero(edges == 1)


def rhythm(speech: Speech) -> np.ndarray:
    """(RHYTHM,) of a whole clip.

    The logarithm of its number of frames, the share that holds speech; voiced stretches a frame, mean and deviation of
    their length and of the stretches between them (frames); peaks of the level a frame of speech.
    """
    voiced = np.zeros(speech.frames, bool)
    voiced[speech.index[speech.voiced]] = True
    stretches = [_lengths(voiced), _lengths(~voiced)]
    shape = [value for x in stretches for value in ((x.mean(), x.std()) if len(x) else (0, 0))]
    level = median_filter(speech.values[:, NAMES.index("level")], 5)
    peaks = ((level[1:-1] > level[:-2]) & (level[1:-1] >= level[2:])).sum()
    share = len(speech.index) / speech.frames
    return np.array([np.log(speech.frames), share, len(stretches[0]) / speech.frames, *shape, peaks / len(level)])


def whole(speech: Speech) -> np.ndarray:
    """(WINDOW_SIZE + RHYTHM,) float64: functionals and rhythm of a whole clip."""
    return np.concatenate([functionals(speech), rhythm(speech)])


def windows(speech: Speech, *, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Functionals over windows of speech, each a quarter of a window after the last.

    Args:
        speech: Of one clip.
        length: Frames of speech in a window; a clip with fewer makes one window of all it has.

    Returns:
        (L, WINDOW_SIZE) float64, and (L,) the middle of each window in frames of the clip.
    """
    count = len(speech.index)
    length = min(length, count)
    parts = [speech.part(slice(start, start + length)) for start in range(0, count - length + 1, max(1, length // 4))]
    return np.stack([functionals(part) for part in parts]), np.array([(p.index[0] + p.index[-1]) / 2 for p in parts])
