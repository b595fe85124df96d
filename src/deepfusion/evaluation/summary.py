"""Summary of a comparison of models: metrics of each, and sentences on which claims they support."""

from collections.abc import Sequence

import pandas as pd

from deepfusion.evaluation.metrics import evaluate
from deepfusion.evaluation.significance import LEVEL, accuracy_interval, compare, in_words, least_p

# The planned comparisons, made if both models are trained; each p is corrected for their number.
CLAIMS = (
    ("fbp", "audio"),
    ("fbp", "video"),
    ("fbp", "concat"),
    ("fbp", "concat_mlp"),
    ("fbp", "late_product"),
    ("fbp", "fbp_mean"),
    ("fbp", "svm_concat"),
    ("fbp", "svm_late_product"),
)
NORMALISATIONS = {
    "training": "Features normalised by the training speakers",
    "speaker": "Features normalised by each speaker's own clips, without labels (transductive: a test speaker's clips "
    "are seen together before the first is predicted)",
}


def summary(predictions: pd.DataFrame) -> dict:
    """All results of a comparison of models.

    Args:
        predictions: Of all models, columns as in `evaluation.metrics`.

    Returns:
        labels; models (name -> metrics, and the 95 % `interval` of the accuracy); comparisons (of the `CLAIMS` with
        both models); words (a sentence each).
    """
    by_model = dict(tuple(predictions.groupby("model", sort=False)))
    comparisons = compare(by_model, [pair for pair in CLAIMS if set(pair) <= by_model.keys()])
    models = {name: {**evaluate(rows), "interval": accuracy_interval(rows)} for name, rows in by_model.items()}
    return {
        "labels": next(iter(models.values()))["labels"],
        "models": models,
        "comparisons": comparisons,
        "words": [*map(in_words, comparisons), *_powerless(len(comparisons), predictions)],
    }


def _powerless(comparisons: int, predictions: pd.DataFrame) -> list[str]:
    """A sentence if there are too few speakers for any difference to be supported."""
    speakers = predictions["speaker"][predictions["speaker"].ne("")].nunique()
    least = least_p(comparisons, speakers)
    if not comparisons or least < LEVEL:
        return []
    return [
        f"no difference can be supported: with {speakers} test speakers and {comparisons} comparisons the smallest "
        f"possible p over speakers is {least:.2g}"
    ]


def markdown(models: dict[str, dict]) -> str:
    """A table: mean and standard deviation over speakers, in per cent, and the share on clips with a face."""
    lines = [
        "| model | accuracy | UAR | macro-F1 | ECE | accuracy, clips with a face | predictions |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, figures in models.items():
        cells = [*cells_of(figures), str(figures["overall"]["clips"])]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    classes = len(next(iter(models.values()))["labels"])
    return "\n".join([*lines, "", f"per cent, mean ± standard deviation over the speakers; chance {100 / classes:.1f}"])


def cells_of(figures: dict) -> list[str]:
    """Accuracy, UAR, macro-F1, ECE, accuracy on clips with a face, of one model in per cent."""
    shares = [_percent(figures, name) for name in ("accuracy", "uar", "macro_f1")]
    return [*shares, f"{100 * figures['ece']:.1f}", _percent(figures["with_face"], "accuracy")]


def _percent(figures: dict | None, name: str) -> str:
    return spread(figures[f"{name}_mean"], figures[f"{name}_std"]) if figures else "no such clip"


def spread(mean: float, std: float | None) -> str:
    """Mean and standard deviation in per cent; the mean alone for a single speaker."""
    return f"{100 * mean:.1f}" + ("" if std is None else f" ± {100 * std:.1f}")


def summary_markdown(found: dict, sentences: Sequence[str] = ()) -> str:
    """The table of a comparison, and the sentences below it."""
    words = [*found["words"], *sentences]
    return "\n\n".join([markdown(found["models"]), "\n".join(f"- {line}" for line in words)])
