"""Examples of attention: read back from the file, chosen by rule, with their peak in words."""

import numpy as np
import pandas as pd
import pytest

from deepfusion.evaluation.metrics import read_predictions
from deepfusion.fusion.attention_file import read_attention_file, write_attention_file
from deepfusion.report import timeline
from deepfusion.report.attention_examples import choose, examples
from deepfusion.store import FeatureStore


def test_a_file_is_read_back_with_both_axes(tmp_path):
    audio = [(np.arange(6) / 15, np.repeat([0.1, 0.2, 0.3], 2)), (np.zeros(0), np.zeros(0))]
    video = [(np.array([0.5, 0.5]), np.array([0.0, 0.04])), (np.ones(1), np.zeros(1))]
    hertz = [np.tile([500.0, 1500.0], 3), np.zeros(0)]
    write_attention_file(tmp_path / "a.h5", ["x", "y"], {"audio": audio, "video": video}, frequency=hertz, model="m")
    model, found = read_attention_file(tmp_path / "a.h5")
    assert model == "m" and set(found["x"]) == {"audio", "video"} and set(found["y"]) == {"video"}
    of = found["x"]["audio"]
    np.testing.assert_allclose(of.weight, np.arange(6).reshape(3, 2) / 15, rtol=1e-6)
    assert of.time.tolist() == [0.1, 0.2, 0.3] and of.frequency.tolist() == [500, 1500]
    assert found["x"]["video"].frequency is None


def test_examples_are_chosen_by_rule():
    answers = pd.DataFrame(
        {"label": "x", "predicted": list("xxxxyy"), "probability": [0.5, 0.6, 0.7, 0.8, 0.6, 0.9]}, index=list("abcdef")
    )
    shares = {id_: {"audio": 0.9, "video": 0.9} for id_ in "abcdef"}
    shares["b"]["audio"], shares["c"]["video"], shares["b"]["video"] = 0.2, 0.3, 0.1
    found = dict(choose(shares, answers))
    assert list(found) == ["b", "c", "d", "f"]
    assert "selective attention to the video" in found["c"] and "wrong" in found["f"]
    assert choose({}, answers) == []


def test_examples_have_axes_in_seconds_hertz_and_frames(corpus):
    with FeatureStore(corpus / "features.h5") as store:
        found = examples(store, corpus / "fbp/attention.h5", read_predictions(corpus / "fbp/predictions.csv"))
        count = len(store[found[0]["id"]]["time"])
    assert 2 <= len(found) <= 4
    audio, video = found[0]["lanes"]
    assert audio["kind"] == "spectrogram" and audio["title"].endswith("0 to 4000 Hz")
    assert "00 Hz, " in audio["text"] and "× uniform" in audio["text"] and "(frame " in video["text"]
    assert f"{count} frames" in video["title"] and [tick["text"] for tick in video["frames"]][:2] == ["0", "1"]
    assert found[0]["ticks"][0]["text"].endswith(" s")


@pytest.mark.parametrize(("frames", "step"), [(5, 1), (9, 2), (100, 20), (7500, 1000)])
def test_frame_ticks_are_round(frames, step):
    found = timeline.frame_ticks(np.arange(frames) / 25, 0.0, frames / 25, 8)
    assert len(found) <= 8 and found[1]["text"] == str(step)
    assert found[1]["x"] == pytest.approx(100 * step / frames, abs=0.01)
