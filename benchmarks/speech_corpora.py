"""Audio models on other corpora: python benchmarks/speech_corpora.py results/*/features.h5.

Compares the audio model on speech features and a linear SVM on statistics of the same features. The streams of the
audio encoder are left out: it may have been trained on the corpus. Corpora of up to ten speakers are tested leaving one
speaker out, others in five folds by speaker. Writes docs/results/speech_corpora.json.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from provenance import publish

from deepfusion.config import FusionSettings
from deepfusion.corpora.folds import folds
from deepfusion.evaluation.svm import MODELS
from deepfusion.fusion import experiment
from deepfusion.fusion.corpus import Corpus, read_corpus
from deepfusion.fusion.parts import part
from deepfusion.fusion.rows import ALONE
from deepfusion.fusion.search import Row, accuracy
from deepfusion.fusion.study import svm_features, svm_models

SPEECH = ("speech", "speech-clip")
ROW = Row("audio", ALONE["audio"], {"audio": SPEECH})
FEW = 10  # speakers, up to which each is a fold


def figures(corpus: Corpus, p: np.ndarray) -> dict:
    """Accuracy, UAR and cross-entropy in nats of (seeds, clips, classes) probabilities, mean over the seeds."""
    label = corpus.label.numpy()
    right = p.argmax(2) == label
    return {
        "accuracy": accuracy(p, corpus),
        "uar": float(np.mean([right[:, label == c].mean() for c in range(len(corpus.labels))])),
        "loss": float(-np.log(p[:, np.arange(len(label)), label]).mean()),
    }


def compare(store: Path) -> dict:
    """The figures of a corpus, by model."""
    corpus = read_corpus(store, SPEECH, purpose="the benchmark of speech corpora")
    speakers = len(set(corpus.speakers))
    made = folds(corpus.speakers, protocol="loso" if speakers <= FEW else "kfold")
    parts = [part(corpus.table, fold, inner_folds=FusionSettings().inner_folds) for fold in made]
    others = set(MODELS) - {"svm_audio"}
    svm, _ = svm_models(corpus, svm_features(corpus, {"audio": SPEECH}), parts, by="training", leave_out=others)
    models = {"linear SVM": figures(corpus, svm["svm_audio"])}
    found, rows = experiment.prepare(corpus, made, [ROW], FusionSettings())
    experiment.run(found, rows, torch.device("cpu"))
    models["network"] = figures(corpus, found.probabilities["audio"])
    print(store.parent.name, models, flush=True)
    return {
        "corpus": store.parent.name,
        "clips": len(corpus.table),
        "speakers": speakers,
        "classes": len(corpus.labels),
        "folds": len(made),
        "models": models,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stores", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("docs/results/speech_corpora.json"))
    args = parser.parse_args()
    publish(args.out, {"corpora": [compare(store) for store in args.stores]})


if __name__ == "__main__":
    main()
