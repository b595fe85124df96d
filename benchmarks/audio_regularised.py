"""What regularising the audio encoder is worth: sound alone, trained end to end, five folds by speaker, seed 0.

python benchmarks/audio_regularised.py results/javsed/features.h5 [--weights alexnet-owt-7be5be79.pth]

Each variant has the same clips, folds, initial weights and epochs at most; which one a fold would have chosen is told
by the loss of the training speakers that choose the epoch. --weights adds an encoder of torchvision's filters, with its
weights and without.
"""

import argparse
import json
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pandas as pd
import torch
from provenance import commit, publish

from deepfusion import FeatureStore
from deepfusion.config import ALEXNET, AugmentSettings, FusionSettings
from deepfusion.corpora.folds import Fold, folds
from deepfusion.fusion import pretrained
from deepfusion.fusion.evaluate import evaluate, read_predictions
from deepfusion.fusion.fold import train_fold
from deepfusion.stages import digest

ALL = AugmentSettings(speed=0.1, crop=0.2, noise=(20, 60), time_mask=0.15, frequency_mask=0.15)
CHOSEN = "chosen in each fold"
FOLDS = 5


def variants(weights: Path | None) -> dict[str, FusionSettings]:
    """Name -> settings."""
    # Sound alone: the fewer faces to carry, the better. Half the epochs of the configuration, at half the cost.
    same = FusionSettings(features=("EF-A",), epochs=20)
    every = same.model_copy(update={"augment": ALL})
    found = {"none": same, "all": every}
    if weights:
        wide = every.model_copy(update={"audio_channels": ALEXNET})
        found["all, torchvision's filters, random"] = wide
        found["all, torchvision's filters, ImageNet"] = wide.model_copy(update={"audio_weights": weights})
    return found


def train(store: Path, folder: Path, fold: Fold, settings: FusionSettings) -> None:
    """One fold of one variant, on one thread, where it has not been done before."""
    if (folder / "predictions.csv").exists():  # written last
        return
    torch.set_num_threads(1)
    cpu = torch.device("cpu")
    train_fold(store, folder, name="audio", test=fold.test, fold=fold.name, seed=0, settings=settings, device=cpu)


def read(folder: Path) -> tuple[pd.DataFrame, dict]:
    """Predictions and card of a fold."""
    return read_predictions(folder / "predictions.csv"), json.loads((folder / "model.json").read_text())


def figures(parts: list[tuple[pd.DataFrame, dict]]) -> dict:
    """Accuracy and more over the speakers, and what the training speakers said."""
    metrics = evaluate(pd.concat([table for table, _ in parts]))
    means = {name: value for name, value in metrics.items() if name.endswith(("_mean", "_std"))}
    return means | {
        "held_out_loss_mean": sum(map(least, parts)) / len(parts),
        "epochs": [card["epochs"] for _, card in parts],
        "audio_weights_sha256": parts[0][1]["audio_weights_sha256"],
    }


def least(part: tuple[pd.DataFrame, dict]) -> float:
    """Least loss (nats) of the training speakers that chose the epoch."""
    return min(epoch["validation_loss"] for epoch in part[1]["search"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--jobs", type=int, default=1, help="folds side by side, a thread each")
    args = parser.parse_args()
    with FeatureStore(args.store) as store:
        made, key = folds(store.clips["speaker"].tolist(), protocol="kfold", k=FOLDS), store.attrs["key"]
    settings = variants(args.weights)
    spawn = multiprocessing.get_context("spawn")
    # A run that was broken off goes on where it was, if nothing has changed.
    folder = args.store.parent / "audio_regularised"
    made_of = [key, commit(), pretrained.sha256(args.weights) if args.weights else None]
    names = {name: digest(s.model_dump(mode="json"), *made_of) for name, s in settings.items()}
    places = {(name, fold.name): folder / names[name] / fold.name for name in settings for fold in made}
    with ProcessPoolExecutor(args.jobs, mp_context=spawn) as pool:
        jobs = {
            pool.submit(train, args.store, places[name, fold.name], fold, settings[name]): (name, fold.name)
            for fold in made
            for name in settings
        }
        for job, what in jobs.items():
            job.result()
            table, card = read(places[what])
            print(*what, card["epochs"], f"{least((table, card)):.3f}", evaluate(table)["accuracy_mean"], flush=True)
    found = {name: [read(places[name, fold.name]) for fold in made] for name in settings}
    chosen = [min(found, key=lambda name: least(found[name][i])) for i in range(len(made))]
    models = {name: figures(parts) for name, parts in found.items()}
    models[CHOSEN] = figures([found[name][i] for i, name in enumerate(chosen)]) | {"variants": chosen}
    publish(
        Path("docs/results/audio_end_to_end.json"),
        {
            "protocol": f"kfold {FOLDS}",
            "seed": 0,
            "clips": sum(len(table) for table, _ in found["none"]),
            "settings": {name: s.model_dump(mode="json", by_alias=True) for name, s in settings.items()},
            "models": models,
        },
        made_by=["snakemake extract_features --configfile benchmarks/javsed.yaml"],
    )


if __name__ == "__main__":
    main()
