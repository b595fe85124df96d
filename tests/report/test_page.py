"""The page of a study: it holds what was measured, every curve, and nothing from elsewhere."""

import json
import xml.etree.ElementTree as ET

import pytest
from small_store import make_clips, write_store

from deepfusion.errors import UserError
from deepfusion.report.page import curve, read_results, write_page

POINTS = [
    {"value": 0, "loss": [1.0, 1.2], "accuracy": [0.5, 0.7]},
    {"value": "learned", "loss": [0.9, 1.1], "accuracy": [0.6, 0.6]},
]
FIGURES = {f"{what}_{of}": 0.25 for what in ("accuracy", "uar", "macro_f1") for of in ("mean", "std")}
FIGURES |= {"ece": 0.071, "overall": {"clips": 24}, "labels": ["even", "odd"]}
METRICS = {
    "normalisation": "training",
    "labels": ["even", "odd"],
    "models": {
        "fbp": {**FIGURES, "accuracy_mean": 0.6134, "with_face": FIGURES, "confusion": [[3, 1], [2, 2]]},
        "a <b>": {**FIGURES, "with_face": None, "confusion": [[1, 1], [1, 1]]},
    },
    "words": ["fbp is right more often than concat"],
    "notes": ["no model audio: no clip has audio"],
    "attention": {"model": "fbp", "video": {"effective_share": 0.873, "least": 0.5}},
}
CHOICES = {
    "seeds": [0, 1],
    "folds": ["fold01", "fold02"],
    "sweeps": {"lambda": POINTS, "k": POINTS},
    "chosen": {"fbp": [{"axes": 64, "learning_rate": 0.001}, {"axes": 128, "learning_rate": 0.001}]},
}


@pytest.fixture
def page(tmp_path):
    folder, out = tmp_path / "fbp", tmp_path / "corpus" / "report.html"
    folder.mkdir()
    (folder / "metrics.json").write_text(json.dumps(METRICS))
    (folder / "choices.json").write_text(json.dumps(CHOICES))
    out.parent.mkdir()
    (out.parent / "faces.html").touch()
    write_page(read_results([folder]), write_store(tmp_path, make_clips()), out)
    return out.read_text()


def test_figures_claims_and_choices_stand_in_the_page(page):
    for text in (
        "61.3 ± 25.0",
        "fbp is right more often than concat",
        "no model audio: no clip has audio",
        "24 clips, 4 speakers",
        "no such clip",
        "<td>even<td>75<td>25",
        "64: 1, 128: 1",
        "<td>7.1",
        "87.3 % of a clip",
        "0.001: 2",
        "2 seeds",
        '<a href="faces.html">',
    ):
        assert text in page
    assert page.count("<svg") == 2
    assert "transductive" not in page  # no such study was made


def test_names_cannot_break_the_page(page):
    assert "a &lt;b&gt;" in page


def test_the_page_loads_nothing(page):
    assert "src=" not in page
    assert "<script" not in page
    assert "<link" not in page


def test_a_curve_is_whole_and_the_same_each_time():
    svg = curve("lambda", POINTS)
    ET.fromstring(svg)
    assert "learned" in svg
    assert svg == curve("lambda", POINTS)


def test_a_folder_without_results_is_named(tmp_path):
    with pytest.raises(UserError, match="no results to report"):
        read_results([tmp_path])
