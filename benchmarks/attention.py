"""Measure how evenly attention is spread over a clip, and whether it finds the segment that shows the emotion.

    python benchmarks/attention.py results/demo/features.h5 --stretch results/demo/corpus/stretch.csv
    python benchmarks/attention.py results/javsed/features.h5 --protocol loso

writes docs/results/attention_<corpus>.json, <corpus> being the store's folder. Networks have the configured streams,
and again those without one row per clip, which need no attention. With --stretch (columns id, start, end in s; the demo
corpus has such a file) the networks of one modality are trained to name the manner of the voice and the expression of
the face, because the demo's label is in neither alone.

Of each network and modality, means over test clips and seeds: the effective share, exp(entropy of the weights) / rows,
1 for the plain mean; the AUC of the weights, rows inside the stretch against rows outside, 0.5 for the plain mean; the
weight inside, next to the share of rows inside. A row of speech is a second long and counts by its middle.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from provenance import publish
from sklearn.metrics import roc_auc_score

from deepfusion import FeatureStore
from deepfusion.config import FusionSettings
from deepfusion.corpora.folds import folds
from deepfusion.evaluation.attention import effective_share
from deepfusion.fusion.corpus import Corpus, FoldData, read_corpus, reduce_folds
from deepfusion.fusion.parts import Part, part
from deepfusion.fusion.rows import Streams, base, default_streams
from deepfusion.fusion.search import Bench, Row, Tested, accuracy, choose, test
from deepfusion.fusion.streams import is_per_clip
from deepfusion.versions import ENCODER

LAMBDAS = (0, 0.3, 1, "learned")  # 0 is the plain mean
PURPOSE = "the benchmark of attention"


def found(weights: np.ndarray, inside: np.ndarray) -> dict[str, float]:
    """Measures of how well the (L,) weights of a clip find the rows `inside`; some, but not all rows are inside."""
    return {
        "auc": float(roc_auc_score(inside, weights)),
        "weight_inside": float(weights[inside].sum()),
        "rows_inside": float(inside.mean()),
    }


def measured(
    tested: Tested, corpus: Corpus, streams: Mapping[str, Sequence[str]], stretch: pd.DataFrame | None
) -> dict[str, dict[str, float]]:
    """By modality, means of `effective_share` and `found` over the tested clips.

    Args:
        tested: Attention of a network on the tested clips.
        corpus: The clips, and the times of their rows.
        streams: Streams of the network, by modality.
        stretch: start and end (s) by clip, or None.
    """
    times = {modality: corpus.time[next(n for n in names if n in corpus.time)] for modality, names in streams.items()}
    figures: dict[str, list[dict[str, float]]] = {}
    for position, by_modality in tested.attention.items():
        for modality, weights in by_modality.items():
            time = times[modality][position]
            if len(time) < 2:
                continue  # nothing to weigh
            of_clip = {"effective_share": effective_share(weights)}
            if stretch is not None:
                start, end = stretch.loc[corpus.table.index[position], ["start", "end"]]
                inside = (time >= start) & (time <= end)
                if inside.any() and not inside.all():
                    of_clip |= found(weights, inside)
            figures.setdefault(modality, []).append(of_clip)
    return {modality: pd.DataFrame(rows).mean().to_dict() for modality, rows in figures.items()}


def labelled(corpus: Corpus, factor: str) -> Corpus:
    """The demo corpus with another label: the expression ("f") or the manner ("v") in a clip's id."""
    names = corpus.table.index.str.extract(rf"-{factor}(\d)-", expand=False)
    return replace(corpus, table=corpus.table.assign(label=names.to_numpy()), labels=sorted(set(names)))


def networks(corpus: Corpus, streams: Streams) -> list[Row]:
    """Audio, video and FBP, as far as the corpus has their modality."""
    made = [row for row in base(streams) if row.name in ("audio", "video", "fbp")]
    return [row for row in made if all(corpus.has(modality).any() for modality in row.streams)]


def runs(
    corpus: Corpus,
    row: Row,
    parts: Sequence[Part],
    data: Sequence[FoldData],
    settings: FusionSettings,
    stretch: pd.DataFrame | None,
) -> list[dict]:
    """One network with each lambda and seed: a dictionary for each modality."""
    rows = []
    for lam in LAMBDAS:
        for seed in settings.seeds:
            given = settings.model_dump(by_alias=True) | {"lambda": lam, "seeds": [seed]}
            bench = Bench(corpus, parts, data, FusionSettings.model_validate(given), torch.device("cpu"))
            tested = test(bench, row, choose(bench, row), attention=True)
            right = accuracy(tested.probabilities, corpus)
            rows += [
                {"network": row.name, "lambda": lam, "seed": seed, "accuracy": right, "modality": modality, **figures}
                for modality, figures in measured(tested, corpus, row.streams, stretch).items()
            ]
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--stretch", type=Path, help="csv of the demo corpus: id, start, end")
    parser.add_argument("--settings", default="{}", help="JSON, as `fusion` in config.yaml")
    parser.add_argument("--protocol", choices=("kfold", "loso"), default="kfold")
    parser.add_argument("--made-by", action="append", default=[], help="command that made the store")
    args = parser.parse_args()
    torch.set_num_threads(1)
    settings = FusionSettings.model_validate_json(args.settings)
    stretch = pd.read_csv(args.stretch, index_col="id") if args.stretch else None
    with FeatureStore(args.store) as store:
        every = default_streams(settings, list(store.networks), encoder=ENCODER in store.keys)
    corpus = read_corpus(args.store, chain(*every.values()), purpose=PURPOSE)
    divisions = folds(corpus.speakers, protocol=args.protocol)
    parts = [part(corpus.table, fold, inner_folds=settings.inner_folds) for fold in divisions]
    data = reduce_folds(corpus, [p.train for p in parts], axes=max(settings.axes), by=settings.normalisation)
    rows = []
    weighed = {modality: tuple(n for n in names if not is_per_clip(n)) for modality, names in every.items()}
    for name, some in {"rows": weighed, "rows and clip": every}.items():
        for row in networks(corpus, some):
            single = {"audio": "v", "video": "f"}.get(row.name) if stretch is not None else None
            own = labelled(corpus, single) if single else corpus
            rows += [{"streams": name} | figures for figures in runs(own, row, parts, data, settings, stretch)]
    by = ["streams", "network", "lambda", "modality"]
    means = pd.DataFrame(rows).drop(columns="seed").groupby(by, sort=False).mean().reset_index()
    publish(
        Path("docs/results") / f"attention_{args.store.resolve().parent.name}.json",
        {
            "clips": len(corpus.table),
            "protocol": args.protocol,
            "folds": len(parts),
            "settings": settings.model_dump(mode="json", by_alias=True),
            "attention": means.to_dict("records"),
        },
        made_by=args.made_by,
    )


if __name__ == "__main__":
    main()
