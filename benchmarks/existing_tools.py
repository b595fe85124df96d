"""What existing tools give on the same clips and folds: openSMILE and un-tuned face recognisers, linear SVMs.

pip install opensmile==2.6.0
snakemake extract_features --configfile benchmarks/javsed-untuned.yaml
python benchmarks/existing_tools.py results/javsed-untuned/features.h5 --study results/javsed/fusion/study

Sound: eGeMAPS or ComParE of every clip, whichever serves the left-out training speakers better. Faces: the un-tuned
recognisers' descriptors, statistics over the frames. The SVMs, their C, calibration and fusions are those of the
study's classical reference. Writes docs/results/existing_tools.json: the table, and the study's `fbp` against each,
paired.
openSMILE's licence is for research; it is no dependency of this project.
"""

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from provenance import publish

from deepfusion import FeatureStore, media
from deepfusion.corpora.folds import folds
from deepfusion.fusion import classical
from deepfusion.fusion.evaluate import evaluate, predictions_table, read_predictions
from deepfusion.report.statistics import compare, in_words

RATE = 44100  # Hz
SETS = ("eGeMAPSv02", "ComParE_2016")


def sound_features(clips: pd.DataFrame) -> dict[str, np.ndarray]:
    """Functionals of every clip's sound: set -> (clips, columns)."""
    try:
        import opensmile
    except ImportError:
        raise SystemExit("this benchmark needs openSMILE: pip install opensmile==2.6.0") from None
    sounds = [media.sound(path, rate=RATE).samples for path in clips["path"]]
    made = {}
    for name in SETS:
        smile = opensmile.Smile(getattr(opensmile.FeatureSet, name), opensmile.FeatureLevel.Functionals)
        made[name] = np.stack([smile.process_signal(sound, RATE).to_numpy()[0] for sound in sounds]).astype(np.float64)
    return made


def inner_accuracy(x: np.ndarray, y: np.ndarray, speakers: np.ndarray, classes: int) -> float:
    """Share of training clips that SVMs of the other training speakers get right, with the best C."""
    weight = classical.column_weights({classical.AUDIO: x.shape[1]})
    right = np.zeros((len(classical.GRID), len(x)), bool)
    for learning, choosing in classical.inner_folds(speakers):
        said = classical.decision_values(
            x[learning], y[learning], x[choosing], weight=weight, classes=classes, grid=classical.GRID
        )
        right[:, choosing] = said.argmax(2) == y[choosing]
    return float(right.mean(1).max())


def predictions(
    clips: pd.DataFrame, labels: list[str], sound: dict[str, np.ndarray], faces: dict[str, np.ndarray]
) -> dict[str, pd.DataFrame]:
    """Every model's predictions of every speaker, left out."""
    y, speakers = clips["label"].map(labels.index).to_numpy(), clips["speaker"].to_numpy()
    tables: dict[str, list] = {name: [] for name in classical.MODELS}
    for fold in folds(speakers, protocol="loso"):
        test = np.isin(speakers, fold.test)
        train, test = np.flatnonzero(~test), np.flatnonzero(test)
        best = max(SETS, key=lambda name: inner_accuracy(sound[name][train], y[train], speakers[train], len(labels)))
        features = {classical.AUDIO: sound[best], **faces}
        for name, rows in tables.items():
            p = classical.predict_fold(name, features, y, speakers, train, test, classes=len(labels))
            rows.append(predictions_table(clips.iloc[test], p, labels, fold=fold.name, seed=0, model=name))
    return {name: pd.concat(rows) for name, rows in tables.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path, help="of the un-tuned networks")
    parser.add_argument("--study", type=Path, help="results/<corpus>/fusion/study of the same clips")
    args = parser.parse_args()
    with FeatureStore(args.store) as store:
        clips, labels = store.clips, list(store.labels)
        faces = {
            slot: classical.face_features([clip[slot][clip["valid"]] for clip in store]) for slot in store.networks
        }
    sound = sound_features(clips)
    speakers = clips["speaker"].to_numpy()
    figures: dict[str, dict] = {}
    for by in ("training", "speaker"):
        normalised = [sound, faces]
        if by == "speaker":
            normalised = [{k: classical.per_speaker(x, speakers) for k, x in some.items()} for some in normalised]
        found = predictions(clips, labels, *normalised)
        figures[by] = {"models": {name: evaluate(table) for name, table in found.items()}}
        if args.study:
            ours = read_predictions(args.study / by / "predictions.csv")
            fbp = ours[ours["model"] == "fbp"]
            # The SVMs draw nothing: they say the same with every seed.
            seeds = sorted(set(fbp["seed"]))
            tables = {name: pd.concat([t.assign(seed=s) for s in seeds]) for name, t in found.items()}
            figures[by]["comparisons"] = compare({"fbp": fbp, **tables}, [("fbp", name) for name in tables])
            figures[by]["words"] = [in_words(comparison) for comparison in figures[by]["comparisons"]]
        for name, metrics in figures[by]["models"].items():
            print(by, name, f"{100 * metrics['accuracy_mean']:.1f} ± {100 * metrics['accuracy_std']:.1f}", flush=True)
    made_by = ["snakemake extract_features --configfile benchmarks/javsed-untuned.yaml"]
    publish(Path("docs/results/existing_tools.json"), figures, made_by=made_by)


if __name__ == "__main__":
    main()
