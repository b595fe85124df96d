"""What phonetics measures in a spectrogram: spectral shape, its change, pitch, harmonicity, level.

A convolutional encoder learns these from thousands of clips; a corpus of a few hundred has to be given them.
"""

import numpy as np

from deepfusion.fusion.classical import mel_bank

# Candidates of the fundamental frequency, Hz: 48 on a logarithmic scale, 17 an octave; children and shouts included.
PITCHES = np.geomspace(75, 500, 48)
HARMONICS = 6
BANDS = 26
# dB below the loudest frame of the clip that still count as speech.
SPEECH_RANGE = 35.0
# Fewest speech frames that are told from pauses; a shorter clip is taken whole.
FEWEST = 10
PERCENTILES = (10, 50, 90)


def harmonicity(spectrogram: np.ndarray, *, spacing: float) -> np.ndarray:
    """How far the harmonics of each pitch candidate rise above the valleys between them.

    After the summation of subharmonics (Hermes 1988), with the valleys taken off, so that noise gives nothing.

    Args:
        spectrogram: (T, F) dB.
        spacing: Hz between two bins.

    Returns:
        (T, len(PITCHES)) dB, harmonics weighted by 1 / number.
    """
    last = spectrogram.shape[1] - 2

    def at(frequency: np.ndarray) -> np.ndarray:
        place = frequency / spacing
        low = np.floor(place).astype(int)
        share = place - low
        return (1 - share) * spectrogram[:, low] + share * spectrogram[:, low + 1]

    total = np.zeros((len(spectrogram), len(PITCHES)), np.float32)
    for harmonic in range(1, HARMONICS + 1):
        inside = PITCHES * harmonic / spacing < last
        peak, valley = at(PITCHES[inside] * harmonic), at(PITCHES[inside] * (harmonic - 0.5))
        total[:, inside] += (peak - valley) / harmonic
    return total


def descriptors(spectrogram: np.ndarray, *, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Descriptors of the frames that hold speech, and which frames those are.

    Args:
        spectrogram: (T, F) dB.
        spacing: Hz between two bins.

    Returns:
        (S, 2 BANDS + 6) float32, S frames of speech out of T: log energies of the mel bands (nepers), pitch (octaves
        above 75 Hz), its harmonicity (dB), level (dB); then the change of each from frame to frame. And (S,) int64, the
        indices of these frames.
    """
    if not len(spectrogram):
        return np.zeros((0, 2 * (BANDS + 3)), np.float32), np.zeros(0, np.int64)
    power = 10 ** (spectrogram.astype(np.float64) / 10)
    bands = np.log(power @ mel_bank(spectrogram.shape[1], spacing=spacing, bands=BANDS).T + 1e-10)
    rise = harmonicity(spectrogram, spacing=spacing)
    pitch = np.log2(PITCHES[rise.argmax(1)] / PITCHES[0])
    level = 10 * np.log10(power.sum(1) + 1e-12)
    still = np.column_stack([bands, pitch, rise.max(1), level])
    change = np.gradient(still, axis=0) if len(still) > 1 else np.zeros_like(still)
    speech = level > level.max() - SPEECH_RANGE
    if speech.sum() < FEWEST:
        speech[:] = True
    return np.column_stack([still, change])[speech].astype(np.float32), np.flatnonzero(speech)


def functionals(frames: np.ndarray) -> np.ndarray:
    """(S, D) -> (5 D,): mean, standard deviation and the 10th, 50th and 90th percentile of every descriptor."""
    return np.concatenate([frames.mean(0), frames.std(0), *np.percentile(frames, PERCENTILES, axis=0)])


def windows(spectrogram: np.ndarray, *, spacing: float, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of a clip's sound: functionals over windows of speech, each a quarter of a window after the last.

    Args:
        spectrogram: (T, F) dB.
        spacing: Hz between two bins.
        length: Frames of speech in a window; a clip with fewer makes one window of all it has.

    Returns:
        (L, 5 (2 BANDS + 6) + 2) float32: the functionals of each window, then two values of the whole clip: the
        logarithm of its number of frames, and the share of them that holds speech. And (L,) float64, the middle of
        each window in frames. L = 0 without sound.
    """
    frames, index = descriptors(spectrogram, spacing=spacing)
    if not len(frames):
        return np.zeros((0, (2 + len(PERCENTILES)) * frames.shape[1] + 2), np.float32), np.zeros(0)
    length = min(length, len(frames))
    starts = np.arange(0, len(frames) - length + 1, max(1, length // 4))
    whole = [np.log(len(spectrogram)), len(frames) / len(spectrogram)]
    values = [np.concatenate([functionals(frames[start : start + length]), whole]) for start in starts]
    middle = [(index[start] + index[start + length - 1]) / 2 for start in starts]
    return np.stack(values).astype(np.float32), np.array(middle)
