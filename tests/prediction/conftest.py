"""Generated clips, and a predictor that all tests here share: its networks and processes are started once."""

import pytest
import torch
from opened_networks import opened_once
from small_corpus import write_clips
from small_model import SmallModel

from deepfusion.prediction.predictor import Predictor


@pytest.fixture(scope="session", autouse=True)
def opened():
    with opened_once():
        yield


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    """Folder of the clips of `small_corpus`, good and bad."""
    folder = tmp_path_factory.mktemp("predict")
    write_clips(folder)
    return folder


@pytest.fixture(scope="session")
def predictor():
    torch.set_num_threads(1)
    with Predictor(SmallModel(), device="cpu") as found:
        yield found


@pytest.fixture(scope="session")
def found(media, predictor):
    """Clip id -> its prediction."""
    return {prediction.id: prediction for prediction in predictor.predict(media / "manifest.csv")}
