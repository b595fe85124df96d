"""Real clips through the whole extraction: one second each of two clips of a woman and two of a man."""

import numpy as np
import pytest
from small_corpus import extract

from deepfusion import FeatureStore

NAMES = ["01-01-03_01", "01-02-05_01", "06-01-03_01", "06-02-05_01"]


@pytest.mark.realdata
def test_real_people_are_found_followed_and_told_apart(javsed, tmp_path):
    rows = [f"{name},{javsed}/clips/{name}.mp4,happy,{name[:2]},0.5,1.5" for name in NAMES]
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("\n".join(["id,path,label,speaker,start,end", *rows]) + "\n")
    with FeatureStore(extract(manifest, tmp_path / "results")) as store:
        assert store.clips["frames"].between(29, 31).all()  # 29.97 a second
        assert store.clips["faces"].sum() > 0.95 * store.clips["frames"].sum()
        means = {"EF-A": [], "EF-B": []}
        for clip in store:
            assert clip["time"][0] >= 0.5
            assert clip["time"][-1] < 1.5
            # Sound and picture of one second, on one clock: windows of 40 ms whose centres lie within it.
            assert len(clip["audio_time"]) == pytest.approx(97, abs=1)
            assert clip["audio_time"][0] == pytest.approx(0.52, abs=1e-3)
            for slot, found in means.items():
                found.append(clip[slot][clip["valid"]].mean(0))
    for slot, found in means.items():
        unit = np.array([mean / np.linalg.norm(mean) for mean in found])
        alike = unit @ unit.T
        same, other = (alike[0, 1], alike[2, 3]), alike[:2, 2:]
        assert min(same) > other.max(), slot
