"""Fixtures: the small store and its clips as a dataset."""

import pytest
import torch
from small_store import dataset_of, make_clips, without, write_store


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    clips = make_clips()
    clips[1] = without(clips[1], "sound")
    clips[8] = without(clips[8], "face")
    clips[15] = without(clips[15], "sound, face")
    return write_store(tmp_path_factory.mktemp("store"), clips)


@pytest.fixture(scope="session")
def dataset(store):
    return dataset_of(store)


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors: a second thread only costs."""
    torch.set_num_threads(1)
