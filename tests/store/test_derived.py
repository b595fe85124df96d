"""Derived columns, and a store of chosen frames."""

import json

import h5py
import numpy as np
import pytest

from deepfusion.store import FeatureStore
from deepfusion.store.derived import ROWS, Derived


def every_third(time, has_face):
    return (np.arange(len(time)) % 3 == 0) & (time >= 0)


MIDDLE = Derived(
    "middle",
    ("box", "EF-A"),
    (2,),
    lambda of: (of["box"][:, :2] + of["box"][:, 2:]) / 2 + of["EF-A"][:, :1],
    {"units": "px", "axes": "frame, (x, y)", "description": "a middle", "order": ["x", "y"]},
)


def test_a_derived_column_is_described_and_follows_from_its_rows(corpus):
    path = corpus.build(corpus.folder / "more.h5", derived=(MIDDLE,))
    with FeatureStore(path) as store, FeatureStore(corpus.path) as before:
        assert store.keys[: len(before.keys)] != store.keys and "middle" in store.keys
        assert store.attrs["key"] != before.attrs["key"]
        for clip in store:
            np.testing.assert_array_equal(clip["middle"], MIDDLE.compute({k: clip[k] for k in MIDDLE.needs}))
        known = store.attributes("middle")
    assert known["stage"] == "derived" and known["order"] == ["x", "y"] and known["units"] == "px"
    with h5py.File(path) as file:
        assert file["video/middle"].dtype == np.float32


def test_a_column_is_computed_in_blocks(tmp_path, kit):
    corpus = kit.Corpus(tmp_path)
    lengths = []
    counting = Derived("n", ("score",), (), lambda of: lengths.append(len(of["score"])) or of["score"], {})
    path = corpus.build(derived=(counting,))
    with h5py.File(path) as file:
        np.testing.assert_array_equal(file["video/n"], file["video/score"])
    assert max(lengths) <= ROWS and sum(lengths) == sum(n for n in [5, 130, 7, 1, 40])


@pytest.mark.parametrize("block", [1, 2, 6])
def test_a_store_of_chosen_frames(tmp_path, kit, block):
    corpus = kit.Corpus(tmp_path, block=block)
    for name, clips in corpus.features.items():
        chosen = {
            clip: {name: of[name][::3]} if isinstance(of, dict) else of for clip, of in clips.items()
        }  # as the networks' stage writes them
        attrs = {"network": f"net of {name}", "sha256": "ab" * 32, "licence": "MIT", "citation": "Someone, 2018"}
        corpus.video[name] = corpus.shards(name, chosen, attrs)
    path = corpus.build(choose=every_third, derived=(MIDDLE,), attrs={"config": json.dumps({}), "corpus": "c"})
    with FeatureStore(path) as store:
        for clip in store:
            if store.clips.at[clip.id, "video_status"] != "ok":
                continue
            expected = corpus.expected[clip.id]
            for key in ("time", "box", "landmarks", "reason", "valid", "EF-A", "EF-VGG"):
                np.testing.assert_array_equal(clip[key], expected[key][::3], err_msg=key)
            np.testing.assert_array_equal(clip["spectrogram"], expected["spectrogram"])
            assert store.clips.at[clip.id, "frames"] == -(-len(expected["time"]) // 3)


def test_networks_that_saw_other_frames_are_refused(corpus):
    from deepfusion.errors import UserError

    with pytest.raises(UserError, match=r"has 5 frames of clip 'anna/ä-1' and .* has 2"):
        corpus.build(choose=every_third)
