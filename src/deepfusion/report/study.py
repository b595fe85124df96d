"""The result of a fusion study: the table of all models, and in words what of the paper's claim it supports."""

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from deepfusion.atomic import write_atomically
from deepfusion.fusion.absent import absence
from deepfusion.fusion.evaluate import evaluate, read_predictions
from deepfusion.report.statistics import compare, in_words
from deepfusion.report.table import markdown

# The claims that are tested; their number is what each p is corrected for, so that none is added afterwards.
CLAIMS = (
    ("fbp", "audio"),
    ("fbp", "video"),
    ("fbp", "concat"),
    ("fbp", "late_product"),
    ("fbp", "fbp_mean"),
    ("fbp", "svm_concat"),
    ("fbp", "svm_late_product"),
)
HEADINGS = {
    "training": "Features normalised by the training speakers",
    "speaker": "Features normalised by each speaker's own clips, without labels (transductive: a test speaker's clips "
    "are seen together before the first is judged)",
}


def figures(predictions: pd.DataFrame, choices: dict) -> dict:
    """All figures of one study.

    Args:
        predictions: Of all models, columns as in `fusion.evaluate`.
        choices: As `deepfusion study` writes them.

    Returns:
        models (name -> figures), comparisons (of the `CLAIMS` whose models are there), words (a sentence each), absent
        (a sentence for each reason why rows are missing), and the choices.
    """
    by_model = dict(tuple(predictions.groupby("model", sort=False)))
    comparisons = compare(by_model, [pair for pair in CLAIMS if set(pair) <= by_model.keys()])
    return {
        "models": {name: evaluate(rows) for name, rows in by_model.items()},
        "comparisons": comparisons,
        "words": [in_words(comparison) for comparison in comparisons],
        "absent": absence(choices.get("absent", {})),
        "choices": choices,
    }


def write_study(folders: Sequence[Path], out: Path) -> str:
    """Write the figures of one study for each normalisation into one JSON file, and return them as Markdown.

    Args:
        folders: What `deepfusion study` has filled.
        out: JSON: {"labels", normalisation: `figures`}.
    """
    result: dict = {}
    for folder in folders:
        choices = json.loads((folder / "choices.json").read_text())
        found = figures(read_predictions(folder / "predictions.csv"), choices)
        result |= {"labels": next(iter(found["models"].values()))["labels"], choices["normalisation"]: found}
    text = json.dumps(result, indent=1) + "\n"
    write_atomically(out, lambda part: part.write_text(text))
    return study_markdown(result)


def study_markdown(result: dict) -> str:
    """The tables of a study, and the sentences below each."""
    pieces = []
    for normalisation, heading in HEADINGS.items():
        if normalisation in result:
            found = result[normalisation]
            sentences = [*found["words"], *found["absent"]]
            pieces += [f"{heading}:", markdown(found["models"]), "\n".join(f"- {words}" for words in sentences)]
    return "\n\n".join(pieces)
