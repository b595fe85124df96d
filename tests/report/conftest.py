"""A small corpus with results and its page, for all tests of the report."""

import pytest
from small_results import write_corpus
from small_store import make_clips, without


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    """Folder of eight speakers; one clip has no audio."""
    clips = make_clips(speakers=8)
    clips[3] = without(clips[3], "audio")
    return write_corpus(tmp_path_factory.mktemp("pages") / "corpus", clips)
