"""A small corpus with results as `fusion-study` writes them, without training: predictions are drawn."""

import json

import numpy as np
import pandas as pd
from small_store import LABELS, write_store

from deepfusion.evaluation.metrics import predictions_table
from deepfusion.evaluation.summary import summary
from deepfusion.fusion.attention_file import write_attention_file
from deepfusion.report.page import read_results, write_page
from deepfusion.store import FeatureStore

SEEDS = (0, 1)
RIGHT = {"audio": 0.5, "video": 0.6, "concat": 0.6, "fbp": 0.99, "svm_a <b>": 0.5, "EF-A": 0.4, "late_mean": 0.6}
POINTS = [
    {"value": 0, "loss": [1.0, 1.2], "accuracy": [0.5, 0.7]},
    {"value": "learned", "loss": [0.9, 1.1], "accuracy": [0.6, 0.6]},
]
CURVE = [
    {"axes": axes, "learning_rate": rate, "loss": [0.5 + rate, 0.6 + axes / 100, 9.9], "accuracy": [0.5, 0.6, 0.0]}
    for axes in (64, 128)
    for rate in (0.001, 0.01)
]
CHOICES = {
    "seeds": SEEDS,
    "store_key": "0123abc",
    "settings": {"k": 8, "learning_rates": [0.001, 0.01]},
    "sweeps": {"lambda": POINTS, "k": POINTS},
    "curves": {"audio": CURVE, "fbp": CURVE},
    # Of two outer folds and of the final model.
    "chosen": {"fbp": [[{"axes": axes, "learning_rate": 0.001}] for axes in (64, 128, 128)]},
}


def drawn(clips):
    """Predictions of all models on all clips: right as often as `RIGHT` says."""
    rng, tables = np.random.default_rng(0), []
    true = np.array([LABELS.index(label) for label in clips["label"]])
    for model, share in RIGHT.items():
        for seed in SEEDS:
            p = rng.uniform(0.55, 0.95, len(clips))
            p = np.where(rng.random(len(clips)) < share, p, 1 - p)
            both = np.stack([np.where(true == i, p, 1 - p) for i in range(2)], axis=1)
            tables.append(predictions_table(clips, both, LABELS, fold="", seed=seed, model=model))
    table = pd.concat(tables)
    return table.assign(fold="fold-" + table["speaker"])


def write_corpus(folder, clips):
    """A store, the folder `fbp` with results, and the page `report.html`.

    Args:
        folder: New folder.
        clips: As of `small_store.make_clips`.
    """
    folder.mkdir()
    write_store(folder, clips, attrs={"left_out": "2 clips left out, its file cannot be <read>: x, y"})
    results = folder / "fbp"
    results.mkdir()
    with FeatureStore(folder / "features.h5") as store:
        table = drawn(store.clips)
        write_attention(results / "attention.h5", store)
    table.to_csv(results / "predictions.csv", index=False)
    shares = {"model": "fbp", "video": {"effective_share": 0.873, "least": 0.5}}
    metrics = {"normalisation": "training", **summary(table), "notes": ["no model EF-B: <why>"], "attention": shares}
    (results / "metrics.json").write_text(json.dumps(metrics))
    folds = 2 * table["fold"].unique().tolist()
    (results / "choices.json").write_text(json.dumps(CHOICES | {"folds": [*folds[:2], "everyone"]}))
    write_page(read_results([results]), folder / "features.h5", folder / "report.html")
    return folder


def write_attention(path, store):
    """Random weights: of the frames with a face, and of positions of two bands."""
    rng, kinds = np.random.default_rng(1), {"audio": [], "video": []}
    for clip in store:
        frames, seconds = clip["time"][clip["valid"]], np.repeat(clip["audio_time"][::20], 2)
        for kind, time in (("audio", seconds), ("video", frames)):
            kinds[kind].append((rng.dirichlet(np.ones(max(1, len(time))))[: len(time)], time))
    hertz = [np.tile([1000.0, 3000.0], len(seconds) // 2) for _, seconds in kinds["audio"]]
    write_attention_file(path, list(store.clips.index), kinds, frequency=hertz, model="fbp")
