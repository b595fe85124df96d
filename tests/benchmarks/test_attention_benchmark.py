"""The measures of attention, where the answer is known."""

import numpy as np
import pandas as pd
import pytest
from attention import found, labelled, measured
from tables import attention as table

from deepfusion.corpora.demo import plan
from deepfusion.fusion import search
from deepfusion.fusion.corpus import Corpus
from deepfusion.fusion.streams import Spectrogram


def corpus_of(table, times):
    return Corpus(
        path=None,
        table=table.set_index("id"),
        labels=sorted(set(table["label"])),
        key="",
        spectrogram=Spectrogram(20, 0.01),
        streams=[],
        sample={},
        time={"landmarks": times},
        frequency={},
        rows_per_clip=1,
    )


def test_found_counts_weight_and_order():
    inside = np.array([False, True, True, False])
    assert found(np.array([0.1, 0.4, 0.3, 0.2]), inside) == pytest.approx(
        {"auc": 1, "weight_inside": 0.7, "rows_inside": 0.5}
    )
    assert found(np.full(4, 0.25), inside)["auc"] == 0.5
    assert found(np.array([0.4, 0.1, 0.2, 0.3]), inside)["auc"] == 0


def test_measures_are_means_over_clips_that_have_rows_on_both_sides():
    clips = plan(speakers=1, takes=1).iloc[:4]
    times = [np.arange(4.0), np.arange(2.0), np.zeros(1), np.arange(4.0)]
    corpus = corpus_of(clips, times)
    weights = [np.array([0, 0.5, 0.5, 0]), np.array([0.5, 0.5]), np.ones(1), np.full(4, 0.25)]
    tested = search.Tested(np.zeros((1, 4, 4)), {i: {"video": w} for i, w in enumerate(weights)})
    stretch = pd.DataFrame({"start": [1, -1, 0, 2.5], "end": [2, 9, 1, 3.5]}, index=clips["id"])
    figures = measured(tested, corpus, {"video": ("landmarks-clip", "landmarks")}, stretch)["video"]
    assert figures == pytest.approx(
        {
            "effective_share": (0.5 + 1 + 1) / 3,  # one row: nothing to weigh
            "auc": (1 + 0.5) / 2,  # the second clip is all inside
            "weight_inside": (1 + 0.25) / 2,
            "rows_inside": (0.5 + 0.25) / 2,
        }
    )
    assert measured(tested, corpus, {"video": ("landmarks",)}, None)["video"] == pytest.approx(
        {"effective_share": (0.5 + 1 + 1) / 3}
    )


def test_factors_of_the_demo_are_read_from_its_ids():
    clips = plan(speakers=1, takes=1)
    corpus = corpus_of(clips, [np.zeros(0)] * len(clips))
    assert labelled(corpus, "f").table["label"].astype(int).tolist() == clips["face"].tolist()
    assert labelled(corpus, "v").table["label"].astype(int).tolist() == clips["voice"].tolist()
    assert labelled(corpus, "v").labels == ["0", "1", "2", "3"]


@pytest.mark.parametrize("known", [True, False])
def test_table_has_a_row_per_modality(known):
    row = {"streams": "rows", "network": "fbp", "lambda": 0.3, "modality": "audio", "accuracy": 0.5}
    row |= {"effective_share": 0.25} | ({"auc": 0.9, "weight_inside": 0.75, "rows_inside": 0.4} if known else {})
    lines = table({"attention": [row]}).splitlines()
    assert len(lines) == 3 and len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| rows | fbp | 0.3 | 50.0 | audio | 0.250 |")
    assert lines[2].endswith("| 0.90 | 75.0 | 40.0 |") == known
