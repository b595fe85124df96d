"""NaN and infinity: a line before training, never NaN predictions."""

import shutil

import h5py
import numpy as np
import pytest
import torch
from small_store import SETTINGS, make_clips, write_store

from deepfusion.corpora.folds import Fold
from deepfusion.errors import MachineError, UserError
from deepfusion.evaluation.metrics import predictions_table
from deepfusion.fusion.corpus import read_corpus
from deepfusion.fusion.train_fbp import train_fbp
from deepfusion.store import FeatureStore

STREAMS = ["speech", "speech-clip", "AF", "AF-clip", "EF-A", "EF-B", "landmarks", "landmarks-clip"]


@pytest.fixture(scope="module")
def whole_store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("whole"), make_clips(), encoder=True)


def spoil(store, folder, name, value):
    """A copy of the store with the value in the second clip, in a row that is used; the message it should give."""
    path = shutil.copy(store, folder / "spoilt.h5")
    with h5py.File(path, "r+") as file:
        group = file[name].parent
        first = int(group["offsets"][1])
        row = first + (int(group["valid"][first:].argmax()) if name.startswith("video") else 2)
        file[name][row] = value
    what = "NaN" if np.isnan(value) else "infinity"
    dataset = {"audio/time": "audio_time", "audio/AF/positions": "AF"}.get(name, name.split("/")[-1])
    where = "frame" if name.startswith("video") else "position" if "AF" in name else "window"
    return path, rf"{path}: clip 's0-1', {dataset}, {where} {row - first}: {what} where"


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize(
    "name",
    ["video/EF-A", "video/time", "audio/spectrogram", "audio/time", "video/landmarks", "audio/AF/positions"],
)
def test_a_number_that_is_none_is_named_before_training(whole_store, tmp_path, name, value):
    path, message = spoil(whole_store, tmp_path, name, value)
    with pytest.raises(MachineError, match=message) as error:
        read_corpus(path, STREAMS, purpose="test")
    assert "\n" not in str(error.value)


def test_frames_without_a_face_may_hold_nan(whole_store):
    with FeatureStore(whole_store) as opened:
        assert any(np.isnan(clip["EF-A"]).any() for clip in opened)
    read_corpus(whole_store, STREAMS, purpose="test")


def test_a_training_that_diverges_is_named_and_leaves_nothing(whole_store, tmp_path):
    settings = SETTINGS.model_copy(update={"learning_rates": (1e38,), "epochs": 5})
    with pytest.raises(
        UserError, match=r"^audio: training diverged in step \d+: .*lower fusion\.learning_rates"
    ) as error:
        train_fbp(
            whole_store,
            tmp_path / "fbp",
            [Fold("fold01", ("s0",))],
            everyone=Fold("everyone", ()),
            settings=settings,
            device=torch.device("cpu"),
        )
    assert "\n" not in str(error.value)
    assert not (tmp_path / "fbp").exists()


def test_predictions_that_are_no_numbers_are_not_written(whole_store):
    with FeatureStore(whole_store) as opened:
        clips = opened.clips
    probabilities = np.full((len(clips), 2), 0.5)
    probabilities[3, 1] = np.nan
    with pytest.raises(UserError, match="fbp predicts NaN or infinity for clip 's0-3': nothing was written"):
        predictions_table(clips, probabilities, ["even", "odd"], fold="f", seed=0, model="fbp")
