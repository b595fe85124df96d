"""A clip in memory has the same numbers, reasons and facts as in a feature store."""

import numpy as np
import pytest
import torch
from dying_reader import begin_to_die_of_hidden
from small_corpus import extract
from small_model import SLOTS

from deepfusion.config import Extraction, FaceSettings, StoreSettings
from deepfusion.corpora import read_manifest
from deepfusion.extract import in_memory, rows
from deepfusion.extract.in_memory import Extractor
from deepfusion.store import FeatureStore

NEEDS = {*SLOTS, "landmarks", "spectrogram", "AF"}
CPU = torch.device("cpu")


@pytest.mark.parametrize(("dtype", "rate"), [("float32", None), ("float16", 10.0)])
def test_equal_to_a_store_bit_by_bit(media, tmp_path, dtype, rate):
    manifest = media / "manifest.csv"
    config = Extraction(networks=SLOTS, store=StoreSettings(dtype=dtype), faces=FaceSettings(rate=rate))
    clips = read_manifest(manifest, labels=None)
    with Extractor(config, needs=NEEDS, device=CPU) as extractor:
        found = dict(zip(clips["id"], extractor.clips(clips), strict=True))
    path = extract(manifest, tmp_path, dtype=dtype, slots=SLOTS, rate=rate, engine="auto")
    with FeatureStore(path) as store:
        assert {"AF", "pose"} <= set(store.keys) and "emotion" not in store.keys
        for clip in store:
            extracted, row = found[clip.id], store.clips.loc[clip.id]
            for key in store.keys:
                there = extracted.arrays.get(key, clip[key][:0])
                assert there.dtype == clip[key].dtype
                np.testing.assert_array_equal(there, clip[key], err_msg=f"{clip.id} {key}")
            assert (extracted.video, extracted.video_reason) == (row["video_status"], row["video_reason"])
            assert (extracted.audio, extracted.audio_reason) == (row["audio_status"], row["audio_reason"])
            for name, value in extracted.facts.items():
                assert value == row[name], name


def test_what_is_not_needed_is_not_computed(media):
    clips = read_manifest(media / "manifest.csv", labels=None).iloc[:1]
    with Extractor(Extraction(networks=SLOTS), needs={"spectrogram"}, device=CPU) as extractor:
        (clip,) = extractor.clips(clips)
    assert set(clip.arrays) == {"spectrogram", "audio_time"} and clip.video == "unused"
    with Extractor(Extraction(networks=SLOTS), needs={"landmarks"}, device=CPU) as extractor:
        (clip,) = extractor.clips(clips)
    assert "landmarks" in clip.arrays and "EF-A" not in clip.arrays and clip.audio == "unused"


def test_emotion_is_the_calibrated_mean_of_what_the_networks_were_fine_tuned_to_tell(media):
    from deepfusion.networks.catalogue import load
    from deepfusion.networks.emotion import load_card

    config, clips = Extraction(), read_manifest(media / "manifest.csv", labels=None)
    with Extractor(config, needs={"emotion"}, device=CPU) as extractor:
        clip = next(extractor.clips(clips[clips["id"] == "hidden"]))
    assert np.array_equal(np.isfinite(clip.arrays["emotion"]).all(1), clip.arrays["valid"])
    wanted = []
    for slot, settings in config.networks.items():
        temperature = load_card()["networks"][settings.network]["temperature"]
        with torch.inference_mode():
            logits = load(settings.network).classifier(torch.from_numpy(clip.arrays[slot]))
        wanted.append((logits / temperature).softmax(1).numpy())
    np.testing.assert_allclose(clip.arrays["emotion"], np.mean(wanted, 0), atol=1e-5)


def test_long_columns_are_kept_in_a_file():
    column, generator = rows.Column(in_memory=1000), np.random.default_rng(0)
    parts = [generator.normal(size=(n, 3)).astype(np.float32) for n in (5, 200, 0, 7)]
    for part in parts:
        column.append(part)
    assert isinstance(column.array(), np.memmap)
    np.testing.assert_array_equal(column.array(), np.concatenate(parts))
    column.append(parts[0])  # after it was read
    np.testing.assert_array_equal(column.array(), np.concatenate([*parts, parts[0]]))


def test_a_reader_that_dies_costs_its_clip_alone(media, monkeypatch):
    monkeypatch.setattr(in_memory, "_begin", begin_to_die_of_hidden)
    clips = read_manifest(media / "manifest.csv", labels=None)
    clips = clips[clips["id"].isin(["good", "hidden", "mute"])]
    with Extractor(Extraction(networks=SLOTS), needs={"landmarks"}, device=CPU) as extractor:
        good, hidden, mute = extractor.clips(clips)
    assert good.video == mute.video == "ok"
    assert hidden.video == "failed" and "SIGKILL" in hidden.video_reason and not hidden.arrays
