"""Fixtures: the small store, with clips that lack audio, faces or both."""

import pytest
import torch
from small_store import INCOMPLETE, make_clips, without, write_store


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
