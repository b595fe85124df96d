"""The page of a study: it holds what was measured, every curve, and nothing from elsewhere."""

import json
import xml.etree.ElementTree as ET

import pytest
from small_store import make_clips, write_store

from deepfusion.report.page import curve, write_page

POINTS = [
    {"value": 0, "loss": [1.0, 1.2], "accuracy": [0.5, 0.7]},
    {"value": "learned", "loss": [0.9, 1.1], "accuracy": [0.6, 0.6]},
]
FIGURES = {f"{what}_{of}": 0.25 for what in ("accuracy", "uar", "macro_f1") for of in ("mean", "std")}
STUDY = {
    "labels": ["even", "odd"],
    "training": {
        "models": {
            "fbp": {**FIGURES, "accuracy_mean": 0.6134, "with_face": FIGURES, "confusion": [[3, 1], [2, 2]]},
            "a <b>": {**FIGURES, "with_face": None, "confusion": [[1, 1], [1, 1]]},
        },
        "words": ["fbp is right more often than concat"],
        "absent": ["no rows audio: no clip has audio"],
        "choices": {
            "seeds": [0, 1],
            "folds": ["fold01", "fold02"],
            "sweeps": {"lambda": POINTS, "k": POINTS},
            "chosen": {"fbp": [{"window": 0.5, "learning_rate": 0.001}, {"window": 1.0, "learning_rate": 0.001}]},
        },
    },
}


@pytest.fixture
def page(tmp_path):
    study, out = tmp_path / "study.json", tmp_path / "corpus" / "report.html"
    study.write_text(json.dumps(STUDY))
    out.parent.mkdir()
    write_page(study, write_store(tmp_path, make_clips()), out)
    return out.read_text()


def test_figures_claims_and_choices_stand_in_the_page(page):
    for text in (
        "61.3 ± 25.0",
        "fbp is right more often than concat",
        "no rows audio: no clip has audio",
        "24 clips, 4 speakers",
        "no such clip",
        "<td>even<td>75<td>25",
        "0.5: 1, 1: 1",
        "0.001: 2",
        "2 seeds",
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
