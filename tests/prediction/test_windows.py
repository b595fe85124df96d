"""Windows are slices by time of all arrays of a clip, each on its own clock."""

import numpy as np
import pytest

from deepfusion.prediction.windows import between, span, spans, usable


def clip():
    time, audio, encoder = np.arange(1.0, 5.0, 0.04), np.arange(1.1, 5.1, 0.01), np.arange(1.5, 5.0, 0.3)
    return {
        "time": time,
        "valid": np.arange(len(time)) % 2 == 0,
        "box": np.tile(time[:, None], (1, 4)),
        "audio_time": audio,
        "spectrogram": np.tile(audio[:, None], (1, 3)),
        "AF_time": encoder,
        "AF": np.tile(encoder[:, None, None], (1, 2, 2)),
    }


def test_every_key_is_cut_by_its_own_clock():
    rows = between(clip(), 2.0, 2.5)
    for key, clock in (("box", "time"), ("spectrogram", "audio_time"), ("AF", "AF_time")):
        times = clip()[clock]
        np.testing.assert_array_equal(rows[clock], times[(times >= 2.0) & (times < 2.5)])
        assert (rows[key].reshape(len(rows[clock]), -1) == rows[clock][:, None]).all()


def test_windows_cover_the_clip_and_the_last_one_is_half_full_at_least():
    found = spans(clip(), 1.0, 0.5)
    assert found[0] == (1.0, 2.0) and [start for start, _ in found] == pytest.approx(np.arange(1, 4.6, 0.5))
    assert spans(clip(), 30.0, 30.0) == [(1.0, 31.0)]
    assert spans({}, 1.0, 1.0) == []
    first, last = span(clip())
    assert first == 1.0 and last == pytest.approx(5.09)


def test_a_modality_without_rows_or_faces_is_absent():
    whole = clip()
    assert set(usable(whole)) == set(whole)
    assert set(usable(whole | {"valid": np.zeros(100, bool)})) == {"audio_time", "spectrogram", "AF_time", "AF"}
    part = usable(between(whole, 1.1, 1.2))
    assert len(part["AF"]) == 0 < len(part["spectrogram"])
    assert "AF" not in usable(between(whole, 1.0, 1.1))
