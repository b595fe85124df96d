"""The store with known contents, to export."""

import pytest
from known_store import Corpus

from deepfusion.store import FeatureStore


@pytest.fixture(scope="session")
def known(tmp_path_factory):
    """The corpus; `path` is its store, `expected` what the store holds of each clip."""
    corpus = Corpus(tmp_path_factory.mktemp("known"))
    corpus.path = corpus.build()
    return corpus


@pytest.fixture
def store(known):
    with FeatureStore(known.path) as opened:
        yield opened
