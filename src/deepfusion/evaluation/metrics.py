"""Metrics of predictions: accuracy, UAR, macro-F1, calibration, confusion; of all clips and of those with a face."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import confusion_matrix, f1_score, recall_score

from deepfusion.errors import UserError

# Columns of a predictions file before the columns `p(<label>)`, one per class.
COLUMNS = ["clip", "speaker", "fold", "seed", "model", "label", "audio", "face"]
BINS = 15  # of the confidence, for the calibration error
SMALLEST = 1e-12  # probability


def predictions_table(clips: pd.DataFrame, probabilities: np.ndarray, labels: Sequence[str], **columns) -> pd.DataFrame:
    """The rows of a predictions file.

    Args:
        clips: Clips of the store's table, index clip id.
        probabilities: (len(clips), classes).
        labels: Class names, in the order of the probabilities' columns.
        **columns: fold, seed and model.

    Returns:
        `COLUMNS`, then p(<label>) for every class. `audio` and `face` say whether the clip has any.

    Raises:
        UserError: A probability is NaN or infinite.
    """
    if not np.isfinite(probabilities).all():
        clip = clips.index[~np.isfinite(probabilities).all(axis=1)][0]
        raise UserError(
            f"{columns['model']} predicts NaN or infinity for clip {clip!r}: nothing was written; report it"
        )
    table = pd.DataFrame({"clip": clips.index, "speaker": clips["speaker"].to_numpy(), **columns})
    table["label"] = clips["label"].to_numpy()
    table["audio"] = clips["audio_status"].eq("ok").to_numpy()
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
    return np.array(class_names(predictions))[_values(predictions).argmax(1)]


def _values(predictions: pd.DataFrame) -> np.ndarray:
    """(len(predictions), classes) probabilities."""
    return predictions[[f"p({label})" for label in class_names(predictions)]].to_numpy()


def scores(predictions: pd.DataFrame) -> dict[str, float | int]:
    """Accuracy, UAR (recall averaged over the classes that occur) and macro-F1 of some predictions, as shares."""
    predicted = most_probable(predictions)
    true = predictions["label"].to_numpy()
    occurring = sorted(set(true))
    return {
        "clips": len(predictions),
        "accuracy": float((predicted == true).mean()),
        "uar": float(recall_score(true, predicted, labels=occurring, average="macro", zero_division=0)),
        "macro_f1": float(f1_score(true, predicted, labels=occurring, average="macro", zero_division=0)),
    }


def calibration(predictions: pd.DataFrame) -> dict[str, float]:
    """Expected calibration error (ECE, a share) and mean cross-entropy (nats).

    ECE is the mean distance of accuracy and confidence over `BINS` equally wide bins of the confidence, weighted by
    their predictions. Source: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, equation (3).
    """
    p, labels = _values(predictions), class_names(predictions)
    right = (most_probable(predictions) == predictions["label"].to_numpy()).astype(float)
    confidence = p.max(1)
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    gaps = np.bincount(place, right - confidence, minlength=BINS)
    true = p[range(len(p)), [labels.index(label) for label in predictions["label"]]]
    return {
        "ece": float(np.abs(gaps).sum() / len(p)),
        "cross_entropy": float(-np.log(np.maximum(true, SMALLEST)).mean()),
    }


def _over_speakers(predictions: pd.DataFrame) -> dict:
    by_speaker = {speaker: scores(rows) for speaker, rows in predictions.groupby("speaker")}
    summary = {"overall": scores(predictions), "per_speaker": by_speaker}
    for name in ("accuracy", "uar", "macro_f1"):
        values = np.array([figures[name] for figures in by_speaker.values()])
        summary[f"{name}_mean"] = float(values.mean())
        summary[f"{name}_std"] = float(values.std(ddof=1)) if len(values) > 1 else None
    return summary


def evaluate(predictions: pd.DataFrame) -> dict:
    """All metrics of one model.

    Args:
        predictions: Predictions of one model, each clip once per seed.

    Returns:
        Mean and standard deviation (ddof 1; None for one speaker) over the speakers, figures per speaker, recall per
        class (None without its clips), the confusion matrix (rows true, columns predicted) in the order of `labels`,
        calibration, and the scores of the clips with a face. Without known speakers, all clips are of the speaker "".
    """
    labels = class_names(predictions)
    predicted = most_probable(predictions)
    with_face = predictions[predictions["face"]]
    confusion = confusion_matrix(predictions["label"], predicted, labels=labels)
    recall = [row[i] / row.sum() if row.any() else None for i, row in enumerate(confusion)]
    return {
        "labels": labels,
        **_over_speakers(predictions),
        "recall": dict(zip(labels, recall, strict=True)),
        "confusion": confusion.tolist(),
        **calibration(predictions),
        "with_face": _over_speakers(with_face) if len(with_face) else None,
    }


def read_predictions(file: Path) -> pd.DataFrame:
    """Read a predictions file; names stay text, even if they look like numbers or missing values."""
    names = {"clip": str, "speaker": str, "fold": str, "label": str}
    return pd.read_csv(file, dtype=names, keep_default_na=False)
