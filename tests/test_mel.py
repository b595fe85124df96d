"""Mel filters against loops from their formula."""

import warnings

import numpy as np
import pytest

from deepfusion.mel import band_centre, mel_filters


def hertz(mel):
    return 700 * (10 ** (mel / 2595) - 1)


def triangles(bins, spacing, bands):
    """Corners equally far apart in mel (O'Shaughnessy 1987), height 1."""
    highest = 2595 * np.log10(1 + bins * spacing / 700)
    corners = [hertz(highest * i / (bands + 1)) for i in range(bands + 2)]
    made = np.zeros((bands, bins))
    for band, (low, centre, high) in enumerate(zip(corners, corners[1:], corners[2:], strict=False)):
        for i in range(bins):
            f = i * spacing
            if low < f <= centre:
                made[band, i] = (f - low) / (centre - low)
            elif centre < f < high:
                made[band, i] = (high - f) / (high - centre)
    return made


@pytest.mark.parametrize(("bins", "spacing", "bands"), [(200, 20, 26), (200, 20, 64), (257, 31.25, 40)])
def test_filters_are_triangles_in_mel(bins, spacing, bands):
    np.testing.assert_allclose(
        mel_filters(bins, spacing=spacing, bands=bands), triangles(bins, spacing, bands), atol=1e-9
    )


def test_a_band_between_two_bins_takes_the_nearest_without_a_warning():
    with warnings.catch_warnings(action="error"):
        filters = mel_filters(25, spacing=160, bands=40)
    wanted = triangles(25, 160, 40)
    empty = np.flatnonzero(wanted.sum(1) == 0)
    assert len(empty) > 3
    for band in empty:
        wanted[band, round(hertz(2595 * np.log10(1 + 4000 / 700) * (band + 1) / 41) / 160)] = 1
    np.testing.assert_allclose(filters, wanted, atol=1e-9)


def test_centres_lie_where_the_filters_are_highest():
    centres = band_centre(np.arange(26), bands=26, highest=4000)
    assert np.abs(mel_filters(4000, spacing=1, bands=26).argmax(1) - centres).max() <= 0.5
    between = band_centre(np.array([3.5]), bands=26, highest=4000)
    assert centres[3] < between[0] < (centres[3] + centres[4]) / 2  # the middle in mel lies lower in Hz
