"""The comparison of fusion models as plain data for the page: figures with intervals, paired differences, choices."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from deepfusion.evaluation.summary import cells_of

SPEAKERS = 60  # maximum rows of the table of accuracies per speaker

# Descriptions of the models (docs/fusion.md). `fbp_X`, `X_mean` and `svm_X` are derived.
MODELS = {
    "audio": "audio alone, all streams",
    "video": "video alone, all streams",
    "audio_speech": "audio alone: speech descriptors",
    "audio_encoder": "audio alone: pre-trained encoder (AF)",
    "audio_end_to_end": "audio alone: encoder trained end to end",
    "landmarks": "video alone: facial landmarks",
    "EF": "video alone: all face features",
    "concat": "concatenation",
    "sum": "element-wise sum",
    "product": "element-wise product (MLB)",
    "concat_mlp": "concatenation and a hidden layer",
    "bilinear": "full bilinear pooling",
    "compact": "compact bilinear pooling (MCB)",
    "fbp": "factorized bilinear pooling",
    "fbp_EF": "FBP with all face features, no landmarks",
    "fbp_no_bias": "FBP without bias in the factors, as in the paper",
    "fbp_mfb_root": "FBP with MFB's square root, as in the paper",
    "fbp_paper": "the paper's streams and form of FBP",
    "fbp_end_to_end": "fbp_paper with the encoder trained end to end",
    "fbp_ensemble": "mean probability of the FBP models",
    "adaptive": "FBP with weights of both modalities per clip",
    "late_mean": "late fusion: mean of audio and video",
    "late_product": "late fusion: product of audio and video",
    "late_learned": "late fusion: weighted product",
}


def describe(model: str) -> str:
    """Short description of a model; "" if unknown."""
    if model in MODELS:
        return MODELS[model]
    if model.startswith("svm_"):
        return f"linear SVM on statistics over time: {model.removeprefix('svm_').replace('_', ' ')}"
    if model.startswith("EF-"):
        return f"video alone: {model}"
    for pooling in ("mean", "max"):
        if model.endswith(f"_{pooling}"):
            return f"{model.removesuffix(f'_{pooling}')} with {pooling} pooling over time instead of attention"
    return f"FBP with {model.removeprefix('fbp_')} as the only video stream" if model.startswith("fbp_") else ""


def model_rows(metrics: Mapping[str, Any], predictions: pd.DataFrame) -> list[dict[str, Any]]:
    """Per model: name, description, metrics as text, accuracy with interval as shares, seeds."""
    seeds = predictions.groupby("model")["seed"].nunique()
    return [
        {
            "name": name,
            "what": describe(name),
            "cells": cells_of(figures),
            "values": [figures["uar_mean"], figures["macro_f1_mean"], figures["ece"], _with_face(figures)],
            "accuracy": figures["accuracy_mean"],
            "interval": figures["interval"],
            "seeds": int(seeds[name]),
        }
        for name, figures in metrics["models"].items()
    ]


def _with_face(figures: Mapping[str, Any]) -> float:
    return figures["with_face"]["accuracy_mean"] if figures["with_face"] else -1.0


def axis(intervals_: Sequence[Sequence[float]], *marks: float) -> tuple[float, float]:
    """Ends of an axis, multiples of 0.1, that hold all intervals and marks."""
    values = [*marks, *(value for interval in intervals_ for value in interval)]
    low, high = np.floor(min(values) * 10) / 10, np.ceil(max(values) * 10) / 10
    return float(low), float(max(high, low + 0.1))


def confusion_rows(figures: Mapping[str, Any], labels: Sequence[str]) -> list[tuple[str, list[float], int]]:
    """Per label: its name, share of its predictions per predicted class, number of its predictions over all seeds."""
    return [
        (label, [n / max(1, sum(row)) for n in row], sum(row))
        for label, row in zip(labels, figures["confusion"], strict=True)
    ]


def speaker_rows(metrics: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, int, list[float]]]]:
    """Compared models; rows of speaker, clips and the models' accuracies. No rows for one or for many speakers."""
    pairs = [(c["model"], c["than"]) for c in metrics["comparisons"]]
    models = list(dict.fromkeys(name for pair in pairs for name in pair)) or list(metrics["models"])
    by_model = [metrics["models"][name]["per_speaker"] for name in models]
    # Models of fewer seeds have fewer predictions, and the same speakers.
    seeds = by_model[0]
    if not 1 < len(seeds) <= SPEAKERS:
        return models, []
    return models, [(who, of["clips"], [each[who]["accuracy"] for each in by_model]) for who, of in seeds.items()]


def search_series(curve: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[dict[str, Any]]]:
    """Inner cross-entropy of the candidates: sorted learning rates, and one series per number of axes."""
    rates = sorted({point["learning_rate"] for point in curve})
    found = []
    for axes in sorted({point["axes"] for point in curve}):
        of_rate = {point["learning_rate"]: point["loss"] for point in curve if point["axes"] == axes}
        found.append({"name": f"{axes} axes", "values": [of_rate.get(rate) for rate in rates]})
    return [f"{rate:g}" for rate in rates], found


def sweep_series(points: Sequence[Mapping[str, Any]]) -> tuple[list[str], dict[str, list]]:
    """Values of a setting; inner accuracy (per cent) and cross-entropy of every outer fold at each."""
    return [str(point["value"]) for point in points], {
        "accuracy, %": [[100 * share for share in point["accuracy"]] for point in points],
        "cross-entropy, nats": [point["loss"] for point in points],
    }


def counts(values: Sequence[float]) -> str:
    """How often each value occurs: "64: 3, 128: 5"."""
    return ", ".join(f"{value:g}: {list(values).count(value)}" for value in sorted(set(values)))
