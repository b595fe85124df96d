"""Transposition if speakers have different classes: python benchmarks/skewed_classes.py results/javsed/features.h5.

Of each speaker's training clips, all of two random classes and at most one of each other class are kept. Models are
selected and trained on these and tested on all clips of the speaker left out. Compared: clips as they are; transposed
to any speaker, by the plain means of the speakers or by their effects next to those of the classes; and transposed by
these effects to speakers who have the clip's class, as `fusion/batched_training.py` does it. Writes
docs/results/skewed_classes.json.

    python benchmarks/skewed_classes.py results/urdu/features.h5 --draws 0 --out docs/results/urdu.json

uses all clips of a corpus whose speakers differ in their classes, in five folds by speaker, without the audio encoder,
which may have been trained on the corpus.
"""

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from provenance import publish
from torch import Tensor

from deepfusion import FeatureStore
from deepfusion.config import FusionSettings
from deepfusion.corpora.folds import Fold, folds
from deepfusion.fusion import batched_training, experiment
from deepfusion.fusion.batched_training import Draws, Task, draw
from deepfusion.fusion.corpus import Corpus, read_corpus
from deepfusion.fusion.parts import Part, part
from deepfusion.fusion.rows import base, streams_in, streams_of
from deepfusion.fusion.search import accuracy, choose, test

PURPOSE = "the benchmark of skewed classes"
LIKED = 2  # classes of which a speaker keeps all clips
CPU = torch.device("cpu")
SHARE = 0.8
SPEECH = ("speech", "speech-clip")
ANY_BY_MEANS, ANY, SAME = (
    "to any speaker, by means",
    "to any speaker, by effects",
    "to speakers with the class, by effects",
)
WAYS = {"no transposition": 0.0, ANY_BY_MEANS: SHARE, ANY: SHARE, SAME: SHARE}


def plain_means(x: Tensor, owner: Tensor, labels: Tensor, *, speakers: int) -> Tensor:
    """The alternative to `batched_training.additive_effects`."""
    counts = torch.bincount(owner, minlength=speakers).clamp_min(1)[:, None]
    return x.new_zeros(speakers, x.shape[1]).index_add_(0, owner, x) / counts


def draw_any(task: Task, labels: Tensor, *arguments: object, **settings: object) -> Draws:
    """The alternative to `batched_training.draw`: the speaker may lack the clip's class."""
    return draw(task, torch.zeros_like(labels), *arguments, **settings)


def kept(corpus: Corpus, seed: int) -> np.ndarray:
    """(clips,) bool, the clips that may be trained on."""
    rng, label, speakers = np.random.default_rng(seed), corpus.label.numpy(), np.array(corpus.speakers)
    found = np.zeros(len(label), bool)
    for speaker in sorted(set(speakers)):
        liked = rng.permutation(len(corpus.labels))[:LIKED]
        for c in range(len(corpus.labels)):
            own = rng.permutation(np.flatnonzero((speakers == speaker) & (label == c)))
            found[own if c in liked else own[: rng.integers(2)]] = True
    return found


def parts_of(corpus: Corpus, made: Sequence[Fold], keep: np.ndarray, inner_folds: int) -> list[Part]:
    """The folds, trained on the kept clips."""

    def left(positions: Sequence[int]) -> list[int]:
        return [i for i in positions if keep[i]]

    whole = [part(corpus.table, fold, inner_folds=inner_folds) for fold in made]
    return [replace(p, train=left(p.train), inner=[(left(a), left(b)) for a, b in p.inner]) for p in whole]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("store", type=Path)
    parser.add_argument("--draws", type=int, default=2, help="random choices of the kept clips; 0: all clips")
    parser.add_argument("--out", type=Path, default=Path("docs/results/skewed_classes.json"))
    args = parser.parse_args()
    settings = FusionSettings(seeds=(0, 1), axes=(64,), members=1, audio=None if args.draws else SPEECH)
    with FeatureStore(args.store) as store:
        streams = streams_in(store, settings)
        rows = [row for row in base(streams) if row.name in (("audio", "fbp") if args.draws else ("audio",))]
    corpus = read_corpus(args.store, streams_of(rows), purpose=PURPOSE)
    label, additive_effects, found = corpus.label.numpy(), batched_training.additive_effects, []
    for i in range(max(args.draws, 1)):
        keep = kept(corpus, i) if args.draws else np.ones(len(label), bool)
        made = folds(corpus.table["speaker"], protocol="loso" if args.draws else "kfold")
        for way, share in WAYS.items():
            batched_training.additive_effects = plain_means if way == ANY_BY_MEANS else additive_effects
            batched_training.draw = draw if way == SAME else draw_any
            of = settings.model_copy(update={"transposed": share})
            bench = experiment.bench(corpus, parts_of(corpus, made, keep, of.inner_folds), of, CPU)
            for row in rows:
                p = test(bench, row, choose(bench, row)).probabilities
                loss = -np.log(p[:, np.arange(len(label)), label]).mean()
                entry = {"draw": i, "clips": int(keep.sum()), "way": way, "model": row.name}
                found.append(entry | {"accuracy": accuracy(p, corpus), "loss": float(loss)})
                print(found[-1], flush=True)
    publish(args.out, {"trials": found})


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
