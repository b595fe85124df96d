"""Figures from predictions: accuracy, UAR, macro-F1, confusion, over all clips and over those with a face."""

import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix, f1_score, recall_score

from deepfusion.atomic import write_atomically
from deepfusion.errors import UserError

log = logging.getLogger(__name__)

# Columns of a predictions file before one column `p(<label>)` a class.
COLUMNS = ["clip", "speaker", "fold", "seed", "model", "label", "sound", "face"]


def predictions_table(clips: pd.DataFrame, probabilities: np.ndarray, labels: Sequence[str], **columns) -> pd.DataFrame:
    """The rows of a predictions file.

    Args:
        clips: Clips of the store's table, index clip id.
        probabilities: (len(clips), classes).
        labels: Class names, in the order of the probabilities' columns.
        **columns: fold, seed and model.

    Returns:
        `COLUMNS`, then p(<label>) for every class. `sound` and `face` say whether the clip has any.

    Raises:
        UserError: A probability is NaN or infinite.
    """
    if not np.isfinite(probabilities).all():
        clip = clips.index[~np.isfinite(probabilities).all(axis=1)][0]
        raise UserError(f"{columns['model']} predicts no number for clip {clip!r}: nothing was written; report this")
    table = pd.DataFrame({"clip": clips.index, "speaker": clips["speaker"].to_numpy(), **columns})
    table["label"] = clips["label"].to_numpy()
    table["sound"] = clips["audio_status"].eq("ok").to_numpy()
    table["face"] = clips["faces"].gt(0).to_numpy()
    table = table[COLUMNS]
    for i, label in enumerate(labels):
        table[f"p({label})"] = probabilities[:, i]
    return table


def class_names(predictions: pd.DataFrame) -> list[str]:
    """Class names of a predictions table, in its order."""
    return [column[2:-1] for column in predictions.columns if column.startswith("p(")]


def most_probable(predictions: pd.DataFrame) -> np.ndarray:
    """(len(predictions),) the class with the highest probability of each row."""
    labels = class_names(predictions)
    return np.array(labels)[predictions[[f"p({label})" for label in labels]].to_numpy().argmax(1)]


def scores(predictions: pd.DataFrame) -> dict[str, float | int]:
    """Accuracy, UAR (recall averaged over the classes that occur) and macro-F1 of some predictions, as shares."""
    said = most_probable(predictions)
    true = predictions["label"].to_numpy()
    occurring = sorted(set(true))
    return {
        "clips": len(predictions),
        "accuracy": float((said == true).mean()),
        "uar": float(recall_score(true, said, labels=occurring, average="macro", zero_division=0)),
        "macro_f1": float(f1_score(true, said, labels=occurring, average="macro", zero_division=0)),
    }


def _over_speakers(predictions: pd.DataFrame) -> dict:
    by_speaker = {speaker: scores(rows) for speaker, rows in predictions.groupby("speaker")}
    summary = {"overall": scores(predictions), "per_speaker": by_speaker}
    for name in ("accuracy", "uar", "macro_f1"):
        values = np.array([figures[name] for figures in by_speaker.values()])
        summary[f"{name}_mean"] = float(values.mean())
        summary[f"{name}_std"] = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return summary


def evaluate(predictions: pd.DataFrame) -> dict:
    """All figures of one model.

    Args:
        predictions: Predictions of one model, each clip once a seed.

    Returns:
        Mean and standard deviation (ddof 1) over the speakers, figures per speaker, the confusion matrix (rows true,
        columns said) in the order of `labels`, and the same for the clips with a face.
    """
    labels = class_names(predictions)
    said = most_probable(predictions)
    with_face = predictions[predictions["face"]]
    return {
        "labels": labels,
        **_over_speakers(predictions),
        "confusion": confusion_matrix(predictions["label"], said, labels=labels).tolist(),
        "with_face": _over_speakers(with_face) if len(with_face) else None,
    }


def read_predictions(file: Path) -> pd.DataFrame:
    """A predictions file: speakers and clips are names, even where they look like numbers or like a missing value."""
    names = {"clip": str, "speaker": str, "fold": str, "label": str}
    return pd.read_csv(file, dtype=names, keep_default_na=False)


def evaluate_files(files: Sequence[Path], folder: Path) -> None:
    """Join the predictions of one model's folds and seeds into `predictions.csv`, and write `metrics.json`.

    Args:
        files: A predictions file for every fold and seed.
        folder: Where both go.
    """
    predictions = pd.concat([read_predictions(file) for file in files])
    figures = evaluate(predictions)
    write_atomically(folder / "predictions.csv", lambda part: predictions.to_csv(part, index=False))
    write_atomically(folder / "metrics.json", lambda part: part.write_text(json.dumps(figures, indent=1) + "\n"))
    log.info("%s: %s", folder, figures["overall"])
