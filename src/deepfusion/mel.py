"""Mel bands, for the audio encoder and the speech features."""

import warnings

import numpy as np


def band_centre(band: np.ndarray, *, bands: int, highest: float) -> np.ndarray:
    """Centre of mel bands, which are equally wide in mel: 2595 log10(1 + f / 700).

    Args:
        band: Index of the band, from 0; fractions are interpolated in mel.
        bands: Number of bands between 0 Hz and `highest`.
        highest: Hz.

    Returns:
        Hz, shaped like `band`.
    """
    import librosa  # its import takes a second: only where features are computed

    return librosa.mel_to_hz((band + 1) * librosa.hz_to_mel(highest, htk=True) / (bands + 1), htk=True)


def mel_filters(bins: int, *, spacing: float, bands: int) -> np.ndarray:
    """Triangles of height 1 around the centres of mel bands, each reaching to the neighbours' centres.

    A triangle so narrow that it lies between two bins takes the nearest bin.

    Args:
        bins: Number of linear bins; bin i is i * spacing Hz.
        spacing: Hz.
        bands: Number of triangles between 0 Hz and bins * spacing Hz.

    Returns:
        (bands, bins) float64 weights of power.
    """
    from librosa.filters import mel

    highest = bins * spacing
    # librosa's bins reach up to half the rate: the rate is chosen such that this is the last bin.
    points = 2 * (bins - 1)
    with warnings.catch_warnings(action="ignore"):  # of empty filters, which are filled below
        filters = mel(
            sr=points * spacing, n_fft=points, n_mels=bands, fmax=highest, htk=True, norm=None, dtype=np.float64
        )
    centres = band_centre(np.arange(bands), bands=bands, highest=highest)
    empty = ~filters.any(axis=1)
    filters[empty, np.abs(np.arange(bins) * spacing - centres[empty, None]).argmin(1)] = 1
    return filters
