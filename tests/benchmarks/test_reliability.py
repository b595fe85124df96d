"""The proofs of docs/reliability.md, on fewer files, kills and bits than `python benchmarks/reliability.py` takes."""

import pytest
import reliability

from deepfusion.costs import peak_memory_mb


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    return reliability.clips_of(tmp_path_factory.mktemp("clips"), 4)


def test_mutated_files_between_good_ones(clips, tmp_path):
    before = peak_memory_mb()  # by the tests that ran in this process
    found = reliability.files(100, clips, tmp_path / "files")
    assert found["failed"] > 40
    assert found["of_them"] == [] and found["unforeseen_errors"] == 0
    assert found["neighbours_changed"] == 0
    assert found["peak_memory_mb"] < max(1500, before + 200)


@pytest.mark.workflow
def test_kills_of_the_whole_workflow_and_flipped_bits(clips, tmp_path):
    found = reliability.kills(2, clips, tmp_path)
    assert found["kills"] == 2
    assert found["stores_that_differ"] == 0 and found["damaged_files_found_after_kills"] == 0
    results = tmp_path / "reference/results/mine"
    assert reliability.flips(30, results / "features.h5") == 30
    assert reliability.flips(30, results / "shards/EF-A/00000.h5") == 30
