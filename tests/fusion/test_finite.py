"""NaN and infinity: a line before training, never NaN predictions."""

import shutil

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small_store import SETTINGS, dataset_of, make_clips, write_store
from test_study import SETTINGS as STUDY
from test_study import run as study

from deepfusion.corpora.folds import Fold
from deepfusion.errors import MachineError, UserError
from deepfusion.fusion import study as studies
from deepfusion.fusion.evaluate import predictions_table
from deepfusion.fusion.fold import train_fold
from deepfusion.fusion.train import fit, new_model
from deepfusion.store import FeatureStore

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def sound_store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("sound"), make_clips())


def spoil(store, folder, name, value):
    """A copy of the store with the value in the second clip, in a row that is used; the message it should give."""
    path = shutil.copy(store, folder / "spoilt.h5")
    with h5py.File(path, "r+") as file:
        group = file[name].parent
        first = int(group["offsets"][1])
        row = first + (int(group["valid"][first:].argmax()) if name.startswith("video") else 2)
        file[name][row] = value
    what = "NaN" if np.isnan(value) else "infinity"
    kind, dataset = name.split("/")
    where = "frame" if kind == "video" else "window"
    dataset = "audio_time" if name == "audio/time" else dataset
    return path, rf"{path}: clip 's0-1', {dataset}, {where} {row - first}: {what} where"


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("name", ["video/EF-A", "video/time", "audio/spectrogram", "audio/time", "video/landmarks"])
def test_a_number_that_is_none_is_named_before_training(sound_store, tmp_path, name, value):
    path, said = spoil(sound_store, tmp_path, name, value)
    with pytest.raises(MachineError, match=said) as error:
        study(path, tmp_path / "study")
    assert "\n" not in str(error.value) and not (tmp_path / "study").exists()
    if name != "video/landmarks":  # not seen by what is trained end to end
        options = {"name": "fbp", "test": ["s3"], "fold": "f", "seed": 0, "settings": SETTINGS, "device": CPU}
        with pytest.raises(MachineError, match=said):
            train_fold(path, tmp_path / "fold", **options)
        assert not (tmp_path / "fold").exists()


def test_frames_without_a_face_may_hold_nan(sound_store):
    with FeatureStore(sound_store) as opened:
        clips = [opened[id_] for id_ in opened.clips.index]
        assert any(np.isnan(clip["EF-A"]).any() for clip in clips)
    dataset_of(sound_store)


def test_a_training_that_diverges_ends_in_one_line_and_leaves_no_checkpoint(dataset, tmp_path):
    positions = dataset.positions(["s0", "s1"])
    settings = SETTINGS.model_copy(update={"learning_rate": 1e30})
    model = new_model("fbp", dataset, positions, settings, 0)
    with pytest.raises(UserError, match=r"training diverged in epoch \d: .*; lower fusion\.learning_rate \(1e\+30\)$"):
        fit(model, dataset, positions, choosing=[], epochs=3, settings=settings, seed=0, device=CPU,
            checkpoint=tmp_path / "c.safetensors", key="k")  # fmt: skip
    if (tmp_path / "c.safetensors").exists():  # of an epoch before
        assert all(torch.isfinite(value).all() for value in load_file(tmp_path / "c.safetensors").values())


def test_a_head_that_diverges_is_named(sound_store, tmp_path):
    settings = STUDY.model_copy(update={"learning_rates": (1e38,)})
    with pytest.raises(UserError, match=r"^audio: training diverged in step 4: .*lower study\.learning_rates") as error:
        studies.run_study(sound_store, tmp_path / "study", [Fold("fold01", ("s0",))], by="training", seeds=[0],
                          settings=settings, device=CPU)  # fmt: skip
    assert "\n" not in str(error.value) and not (tmp_path / "study").exists()


def test_predictions_that_are_no_numbers_are_not_written(dataset):
    probabilities = np.full((len(dataset), 2), 0.5)
    probabilities[3, 1] = np.nan
    with pytest.raises(UserError, match="fbp predicts no number for clip 's0-3': nothing was written"):
        predictions_table(dataset.table, probabilities, dataset.labels, fold="f", seed=0, model="fbp")
