"""Poolings of zero_shot.py, and the stores that rate.py thins out."""

import numpy as np
import rate
import zero_shot
from small_store import make_clips, write_store

from deepfusion import FeatureStore
from deepfusion.faces.sampling import sampled_rows


def test_a_short_expression_is_seen_by_the_rise_and_not_by_the_mean():
    resting, short = np.array([0.6, 0.3, 0.1]), np.array([0.45, 0.1, 0.45])
    p = np.array([resting] * 90 + [short] * 10)
    assert zero_shot.POOLINGS["mean"](p).argmax() == 0
    assert zero_shot.POOLINGS["rise_0.1"](p).argmax() == 2
    np.testing.assert_allclose(zero_shot.top_mean(p, 0.1), [0.6, 0.3, 0.45])
    assert all(np.isfinite(pooling(p[:1])).all() for pooling in zero_shot.POOLINGS.values())


def test_a_thinned_store_has_the_rows_that_the_rate_keeps(tmp_path):
    path, out = write_store(tmp_path, make_clips()), tmp_path / "thin.h5"
    share = rate.subsample(path, out, 8)
    with FeatureStore(path) as store, FeatureStore(out) as thin:
        assert set(thin.keys) == set(store.keys) and 0 < share < 1
        for clip in thin:
            full = store[clip.id]
            rows = sampled_rows(full["time"], full["valid"], 8)
            for key in store.keys:
                wanted = full[key] if key in ("spectrogram", "audio_time") else full[key][rows]
                np.testing.assert_array_equal(clip[key], wanted)
