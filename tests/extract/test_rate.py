"""`faces.rate`: the networks compute what is kept, the face tracks stay whole."""

import numpy as np
import pytest
import torch
from small_corpus import extract, write_clips

from deepfusion import FeatureStore
from deepfusion.config import FaceSettings, NetworkSettings, check
from deepfusion.faces.sampling import sampled_rows
from deepfusion.plan import Plan
from deepfusion.store.shard import read_shard

SLOTS = {"EF-A": NetworkSettings(network="dlib-resnet29")}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("rates")
    manifest = write_clips(folder)
    extract(manifest, folder / "results", slots=SLOTS)
    (folder / "results" / "features.h5").rename(folder / "all.h5")
    return folder, manifest


def test_rows_are_those_of_the_chosen_frames_and_no_face_is_followed_again(results):
    folder, manifest = results
    tracks = folder / "results" / "shards" / "faces" / "00000.h5"
    before = tracks.stat().st_mtime_ns
    path = extract(manifest, folder / "results", slots=SLOTS, rate=10.0)
    assert tracks.stat().st_mtime_ns == before
    with FeatureStore(folder / "all.h5") as whole, FeatureStore(path) as store, read_shard(tracks) as shard:
        assert store.clips["video_status"].equals(whole.clips["video_status"])
        for clip in store:
            full = whole[clip.id]
            chosen = sampled_rows(full["time"], full["valid"], 10.0)
            assert store.clips.at[clip.id, "frames"] == chosen.sum()
            for key in ("time", "valid", "reason", "landmarks", "pose", "mouth_opening"):
                np.testing.assert_array_equal(clip[key], full[key][chosen])
            np.testing.assert_allclose(clip["EF-A"], full["EF-A"][chosen], atol=1e-5)  # other batches
        hidden = store["hidden"]["valid"]
        assert 0 < hidden.sum() <= len(hidden) < 12
        assert len(shard["hidden"]["time"]) == 12


def test_the_rate_is_no_setting_of_the_face_tracks():
    plain, lower = (Plan(check({"faces": {"rate": rate}})) for rate in (None, 5))
    assert plain.tracking_json == lower.tracking_json and "rate" not in plain.tracking_json
    assert FaceSettings(rate=5).tracking == FaceSettings().tracking
    texts = [of._texts for of in (plain, lower)]
    same = {name for name, text in texts[0].items() if texts[1][name] == text}
    changed = {path.name for path in set(texts[0]) - same}
    assert changed == {"networks.json", "store.json"}
