"""The comparison of models as plain data: intervals, verdicts, axes, names."""

import json

import pytest

from deepfusion.evaluation.svm import MODELS as SVMS
from deepfusion.fusion import rows
from deepfusion.report import comparison


@pytest.fixture(scope="module")
def results(corpus):
    return json.loads((corpus / "fbp/metrics.json").read_text())


def test_intervals_hold_the_accuracy(results):
    for figures in results["models"].values():
        low, high = figures["interval"]
        assert 0 <= low <= figures["accuracy_mean"] <= high <= 1
        assert high - low < 0.5


def test_supported_is_what_the_sentence_says(results):
    supported = {of["than"]: of["supported"] for of in results["comparisons"]}
    assert supported["audio"] and len(supported) == 3
    words = results["words"][: len(supported)]  # a sentence on all of them may follow
    for of, sentence in zip(results["comparisons"], words, strict=True):
        assert of["supported"] == ("the difference is supported over speakers" in sentence)


def test_every_model_of_a_study_has_a_description():
    streams = {"audio": ("speech", "AF"), "video": ("EF-A", "landmarks")}
    slots = ("EF-VGG", "EF-A")
    names = [row.name for row in (*rows.study(streams, slots, encoder=True), *rows.end_to_end(slots, seed=0))]
    for name in (*names, *SVMS, "late_mean", "late_product", "late_learned", "fbp_ensemble"):
        assert comparison.describe(name), name
    assert comparison.describe("fbp_EF-A") == "FBP with EF-A as the only video stream"
    assert comparison.describe("svm_late_mean") == "linear SVM on statistics over time: late mean"
    assert comparison.describe("unknown") == ""


def test_an_axis_holds_intervals_and_marks():
    assert comparison.axis([(0.31, 0.52)], 0.25) == (0.2, 0.6)
    assert comparison.axis([(0, 0)], 0) == (0.0, 0.1)  # an axis has a length


def test_the_search_has_a_series_per_number_of_axes():
    curve = [{"axes": 4, "learning_rate": 0.01, "loss": [1.0]}, {"axes": 2, "learning_rate": 0.001, "loss": [2.0]}]
    x, series = comparison.search_series(curve)
    assert x == ["0.001", "0.01"]
    assert series == [{"name": "2 axes", "values": [[2.0], None]}, {"name": "4 axes", "values": [None, [1.0]]}]


def test_speakers_are_listed_for_the_compared_models(results):
    models, found = comparison.speaker_rows(results)
    assert models == ["fbp", "audio", "video", "concat"] and len(found) == 8
    assert found[0] == ("s0", 12, [results["models"][m]["per_speaker"]["s0"]["accuracy"] for m in models])
