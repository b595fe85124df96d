"""Accuracy with the face features of stores: video alone, leave one speaker out.

python benchmarks/face_networks.py results/javsed-untuned/features.h5 results/javsed/features.h5

Each slot alone and all slots together are measured by two methods. Pooled: mean and standard deviation over the frames
with a face, then a linear classifier. Attention: the fusion network with these slots as its only streams, one seed. All
choices are made on training speakers. Later stores are compared with the first, clip by clip. Writes
docs/results/face_networks.json.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import torch
from provenance import publish
from scipy.stats import binomtest
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

from deepfusion import FeatureStore
from deepfusion.config import FusionSettings, Slot
from deepfusion.corpora import guard
from deepfusion.corpora.folds import folds
from deepfusion.evaluation.metrics import evaluate, most_probable, predictions_table
from deepfusion.fusion import experiment
from deepfusion.fusion.corpus import read_corpus
from deepfusion.fusion.rows import ALONE, streams_of
from deepfusion.fusion.search import Candidate, Row, choose, test

SEED = 0
# Down to 1e-6: the best C decreases with the number of columns, and EF-VGG pools to 8,192.
GRID = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
INNER_FOLDS = 5
LONGEST_FIT = 10_000  # passes of the linear classifier; C = 1 on few columns needs more than the usual 1,000


def slot_sets(store: FeatureStore) -> list[tuple[str, ...]]:
    """Every slot alone, in the order of the configuration, then all joined."""
    slots = [slot for slot in get_args(Slot) if slot in store.networks]
    return [*((slot,) for slot in slots), *([tuple(slots)] if len(slots) > 1 else [])]


def pool(store: FeatureStore, slot: str) -> np.ndarray:
    """(clips, 2 D) mean and standard deviation over the frames with a face; NaN for a clip without any."""
    pooled = []
    for clip in store:
        faces = clip[slot][clip["valid"]].astype(np.float64)
        moments = (faces.mean(0), faces.std(0)) if len(faces) else np.full((2, faces.shape[1]), np.nan)
        pooled.append(np.concatenate(moments))
    return np.stack(pooled)


def inner_folds(speakers: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(training, validation) indices of the clips for the choice of C; every speaker is on one side only."""
    division = GroupKFold(min(INNER_FOLDS, len(set(speakers))))
    return list(division.split(speakers, groups=speakers))


def linear_classifier(x: np.ndarray, y: np.ndarray, speakers: np.ndarray) -> GridSearchCV:
    """A linear classifier of standardised columns, with the C that is best for held-out training speakers.

    Ties take the smallest C. LinearSVC, not logistic regression: no probability is needed, and with thousands of
    columns and a few hundred clips its dual problem is far smaller.
    """
    model = make_pipeline(StandardScaler(), LinearSVC(max_iter=LONGEST_FIT, random_state=SEED))
    return GridSearchCV(model, {"linearsvc__C": GRID}, cv=inner_folds(speakers)).fit(x, y)


def pooled_predictions(
    clips: pd.DataFrame, x: np.ndarray, labels: Sequence[str]
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Predictions for every speaker by a classifier fitted on the others.

    Args:
        clips: The store's table.
        x: (clips, columns) pooled features; clips without a face are excluded.
        labels: Class names.

    Returns:
        Predictions, and the C of every fold. For a clip without a face the prediction is the most frequent class of the
        training clips (the first one of ties).
    """
    y = clips["label"].map(labels.index).to_numpy()
    speakers, face = clips["speaker"].to_numpy(), clips["faces"].gt(0).to_numpy()
    known = clips["sha256"].ne("").to_numpy()
    tables, chosen = [], {}
    for fold in folds(speakers, protocol="loso"):
        tested = np.isin(speakers, fold.test)
        guard(clips[known].reset_index(), train=clips.index[known & ~tested], test=clips.index[known & tested])
        learned = ~tested & face
        model = linear_classifier(x[learned], y[learned], speakers[learned])
        chosen[fold.name] = model.best_params_["linearsvc__C"]
        said = np.full(len(clips), np.bincount(y[~tested]).argmax())
        if (seen := tested & face).any():
            said[seen] = model.predict(x[seen])
        certain = np.eye(len(labels))[said[tested]]
        tables.append(predictions_table(clips[tested], certain, labels, fold=fold.name, seed=SEED, model="pooled"))
    return pd.concat(tables), chosen


def attention_predictions(
    path: Path, sets: Sequence[tuple[str, ...]], settings: FusionSettings
) -> dict[tuple[str, ...], tuple[pd.DataFrame, dict[str, list[Candidate]]]]:
    """Predictions for every speaker by the fusion network, video alone, trained on the others.

    Args:
        path: The store.
        sets: For each network, the slots that are its streams.
        settings: Settings of the networks; one seed.

    Returns:
        For each of `sets`: predictions, and the hyperparameters selected in every fold.
    """
    wanted = [Row("+".join(slots), ALONE["video"], {"video": slots}) for slots in sets]
    corpus = read_corpus(path, streams_of(wanted), purpose="face_networks.py")
    chosen = folds(corpus.table["speaker"], protocol="loso")
    found, _ = experiment.prepare(corpus, chosen, wanted, settings)
    tables = {row.name: [] for row in wanted}
    candidates: dict[str, dict[str, list[Candidate]]] = {row.name: {} for row in wanted}
    for parts in experiment.groups(corpus, found.parts, settings):
        bench = experiment.bench(corpus, parts, settings, torch.device("cpu"))
        for row in wanted:
            choice = choose(bench, row)
            probabilities = test(bench, row, choice).probabilities[0]
            for part, members in zip(parts, choice.members, strict=True):
                columns = {"fold": part.name, "seed": SEED, "model": "attention"}
                clips = corpus.table.iloc[part.test]
                tables[row.name].append(predictions_table(clips, probabilities[part.test], corpus.labels, **columns))
                candidates[row.name][part.name] = [member.candidate for member in members]
    return {slots: (pd.concat(tables[row.name]), candidates[row.name]) for slots, row in zip(sets, wanted, strict=True)}


def summary(predictions: pd.DataFrame) -> dict:
    """Metrics of one method on some slots: over all clips, and mean and standard deviation over the speakers."""
    found = evaluate(predictions)
    over_speakers = {name: value for name, value in found.items() if name.endswith(("_mean", "_std"))}
    accuracies = {speaker: figures["accuracy"] for speaker, figures in found["per_speaker"].items()}
    return {"overall": found["overall"], **over_speakers, "accuracy_of_speaker": accuracies}


def difference(before: pd.DataFrame, after: pd.DataFrame) -> dict:
    """Compare the predictions of two methods on the same clips.

    McNemar's test assumes independent clips, which those of one speaker are not. Therefore the mean difference over
    speakers, and the numbers of speakers that improve and worsen, are given too.
    """
    right = pd.DataFrame(
        {
            name: pd.Series(most_probable(table) == table["label"].to_numpy(), index=table["clip"].to_numpy())
            for name, table in (("before", before), ("after", after))
        }
    )
    gained, lost = int((right["after"] & ~right["before"]).sum()), int((right["before"] & ~right["after"]).sum())
    speaker = pd.Series(before["speaker"].to_numpy(), index=before["clip"].to_numpy())
    change = (right["after"].astype(float) - right["before"]).groupby(speaker).mean()
    return {
        "wrong_to_right": gained,
        "right_to_wrong": lost,
        "mcnemar_p": float(binomtest(gained, gained + lost).pvalue) if gained + lost else 1.0,
        "accuracy_mean": float(change.mean()),
        "accuracy_std": float(change.std(ddof=1)),
        "speakers_up": int((change > 0).sum()),
        "speakers_down": int((change < 0).sum()),
    }


def measure(paths: dict[str, Path], *, settings: FusionSettings) -> dict:
    """All figures.

    Args:
        paths: Name of a store -> the file; all of the same clips.
        settings: Settings of the attention.
    """
    settings = settings.model_copy(update={"seeds": (SEED,)})
    stores: dict[str, dict] = {}
    predictions: dict[tuple[str, str, str], pd.DataFrame] = {}  # store, slots and method
    for name, path in paths.items():
        with FeatureStore(path) as store:
            clips, labels, key = store.clips, store.labels, store.attrs["key"]
            sets = slot_sets(store)
            networks = {slot: store.networks[slot] for slots in sets for slot in slots}
            pooled = {slot: pool(store, slot) for slot in networks}
        stores[name] = {
            "key": key,
            "clips": len(clips),
            "clips_without_face": int(clips["faces"].eq(0).sum()),
            "networks": {
                slot: {"network": of["network"], "fingerprint": of["fingerprint"]} for slot, of in networks.items()
            },
            "slots": {},
        }
        for slots in sets:
            joined = "+".join(slots)
            x = np.concatenate([pooled[slot] for slot in slots], axis=1)
            table, chosen = pooled_predictions(clips, x, labels)
            predictions[name, joined, "pooled"] = table
            figures = summary(table)
            stores[name]["slots"][joined] = {"pooled": {**figures, "C_of_fold": chosen}}
            print(f"{name}, {joined}: pooled {figures['accuracy_mean']:.1%}", flush=True)
        for slots, (table, candidates) in attention_predictions(path, sets, settings).items():
            joined = "+".join(slots)
            predictions[name, joined, "attention"] = table
            figures = summary(table)
            chosen = {fold: list(map(vars, members)) for fold, members in candidates.items()}
            stores[name]["slots"][joined]["attention"] = {**figures, "chosen_of_fold": chosen}
            print(f"{name}, {joined}: attention {figures['accuracy_mean']:.1%}", flush=True)
    first = next(iter(paths))
    return {
        "labels": labels,
        "stores": stores,
        "differences": [
            {"slots": joined, "method": method, "of": name, "minus": first}
            | difference(predictions[first, joined, method], table)
            for (name, joined, method), table in predictions.items()
            if name != first and (first, joined, method) in predictions
        ],
        "settings": {
            "seed": SEED,
            "C": GRID,
            "inner_folds": INNER_FOLDS,
            "attention": settings.model_dump(by_alias=True, exclude={"audio", "video"}),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stores", type=Path, nargs="+", help="feature stores of the same clips, named by their folders")
    parser.add_argument("--out", type=Path, default=Path("docs/results/face_networks.json"))
    parser.add_argument("--made-by", action="append", default=[], help="command that made the stores; may be repeated")
    args = parser.parse_args()
    paths = {path.parent.name: path for path in args.stores}
    if len(paths) < len(args.stores):
        parser.error(f"two stores in folders of one name: {', '.join(map(str, args.stores))}")
    tables = []
    for path in args.stores:
        with FeatureStore(path) as store:
            tables.append((store.labels, store.clips[["label", "speaker"]].sort_index()))
    if any(labels != tables[0][0] or not clips.equals(tables[0][1]) for labels, clips in tables):
        parser.error("the stores hold different clips, labels or speakers")
    figures = measure(paths, settings=FusionSettings())
    publish(args.out, figures, made_by=args.made_by)


if __name__ == "__main__":
    main()
