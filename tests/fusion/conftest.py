"""Fixtures: the small store, with clips that lack audio, faces or both."""

import pytest
import torch
from small_store import make_clips, without, write_store

INCOMPLETE = {1: "audio", 8: "face", 15: "audio, face"}  # position of a clip -> what it lacks


@pytest.fixture(scope="session")
def clips():
    """What the store is made of: clips in its order."""
    return [without(clip, INCOMPLETE.get(i, "")) for i, clip in enumerate(make_clips())]


@pytest.fixture(scope="session")
def store(clips, tmp_path_factory):
    """A store with all streams."""
    return write_store(tmp_path_factory.mktemp("store"), clips, encoder=True)


@pytest.fixture(autouse=True)
def one_thread():
    """Small tensors: a second thread only costs."""
    torch.set_num_threads(1)
