"""Accuracy at lower frame rates, and with the stream `emotion`, on inner folds only.

python benchmarks/rate.py results/javsed/features.h5 --rates 2 5 10
python benchmarks/rate.py results/javsed/features.h5 --rates --out docs/results/emotion_stream.json

Rates: the store's frames are sampled as by `faces.rate`, then video alone and FBP are trained on the inner folds of
each fold. Streams: the same at the full rate, without and with `emotion`. Test clips are not used.
Writes docs/results/rate.json.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import torch
from provenance import publish

from deepfusion import FeatureStore
from deepfusion.config import FusionSettings
from deepfusion.corpora.folds import folds
from deepfusion.faces.sampling import sampled_rows
from deepfusion.fusion.corpus import read_corpus, reduce_folds
from deepfusion.fusion.parts import part
from deepfusion.fusion.rows import ALONE, Streams, fusion, streams_in
from deepfusion.fusion.search import Bench, Candidate, Row, inner_scores, validate
from deepfusion.fusion.streams import EMOTION
from deepfusion.store import layout

PURPOSE = "the benchmark of rates"


def subsample(path: Path, out: Path, rate: float) -> float:
    """Write the store at a lower frame rate; returns the share of frames kept."""
    with FeatureStore(path) as store:
        chosen = [sampled_rows(clip["time"], clip["valid"], rate) for clip in store]
    rows = np.flatnonzero(np.concatenate(chosen))
    with h5py.File(path) as source, h5py.File(out, "w") as target:
        for name, value in source.attrs.items():
            if name != layout.DIGEST:
                target.attrs[name] = value
        for name in ("clips", "audio"):
            source.copy(name, target)
        video = target.create_group("video")
        for name in layout.columns(source["video"]):
            data = source["video"][name]
            shape = (len(rows), *data.shape[1:])
            made = layout.create(video, name, shape, data.dtype)
            for first in range(0, len(data), 4096):
                inside = rows[(rows >= first) & (rows < first + 4096)]
                at = np.searchsorted(rows, first)
                made[at : at + len(inside)] = data[first : first + 4096][inside - first]
            made.attrs.update(layout.attributes(data))
        layout.write(video, "offsets", np.cumsum([0, *map(np.sum, chosen)]).astype(np.int64))
    return len(rows) / sum(map(len, chosen))


def inner(path: Path, made: Sequence[Row], settings: FusionSettings, k: int) -> dict[str, dict[str, list[float]]]:
    """Model -> accuracy and cross-entropy of each seed, means over folds, of the better candidate of each fold."""
    streams = list(dict.fromkeys(name for row in made for names in row.streams.values() for name in names))
    corpus = read_corpus(path, streams, purpose=PURPOSE)
    parts = [
        part(corpus.table, fold, inner_folds=settings.inner_folds)
        for fold in folds(corpus.speakers, protocol="kfold", k=k)
    ]
    trains = [of.train for of in parts]
    data = reduce_folds(corpus, trains, axes=max(settings.axes), by=settings.normalisation)
    candidates = [Candidate(rate, axes) for rate in settings.learning_rates for axes in settings.axes]
    found = {row.name: {"accuracy": [], "cross_entropy": []} for row in made}
    for seed in settings.seeds:
        bench = Bench(corpus, parts, data, settings.model_copy(update={"seeds": (seed,)}), torch.device("cpu"))
        for row in made:
            measured = [inner_scores(bench, row, of) for of in validate(bench, row, candidates)]
            loss, right = np.stack([of.loss for of in measured]), np.stack([of.accuracy for of in measured])
            best = loss.argmin(0), range(loss.shape[1])
            found[row.name]["accuracy"].append(float(right[best].mean()))
            found[row.name]["cross_entropy"].append(float(loss[best].mean()))
    return found


def models(streams: Streams) -> list[Row]:
    """Video alone and FBP."""
    return [Row("video", ALONE["video"], {"video": streams["video"]}), fusion("fbp", streams)]


def name_of(rate: float | None) -> str:
    """Name of a rate in the figures."""
    return "all" if rate is None else f"{rate:g}"


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--rates", type=float, nargs="*", default=[2, 5, 10])
    parser.add_argument("--folds", type=int, default=4, help="outer folds, by speaker")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("docs/results/rate.json"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    settings = FusionSettings(learning_rates=(3e-3,), seeds=tuple(range(args.seeds)))
    with FeatureStore(args.store) as store:
        streams = streams_in(store, settings)
        has_emotion = EMOTION in store.keys
    plain = {**streams, "video": tuple(name for name in streams["video"] if name != EMOTION)}
    more = {**plain, "video": (*plain["video"], EMOTION)}
    wanted = [Row(f"{row.name}_{EMOTION}", row.design, row.streams) for row in models(more)] if has_emotion else []
    alone = [Row(EMOTION, ALONE["video"], {"video": (EMOTION,)})] if has_emotion else []
    full = inner(args.store, [*models(plain), *wanted, *alone], settings, args.folds)
    figures = {
        "inner_folds": {"all": {"share_of_frames": 1.0, **{name: full[name] for name in ("video", "fbp")}}},
        **({"streams": full} if has_emotion else {}),
        "settings": {"folds": args.folds, "learning_rates": [3e-3], "axes": list(settings.axes), "seeds": args.seeds},
    }
    print("all", {name: np.mean(of["accuracy"]) for name, of in full.items()}, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for rate in args.rates:
            lower = Path(folder) / "features.h5"
            share = subsample(args.store, lower, rate)
            found = inner(lower, models(plain), settings, args.folds)
            lower.unlink()
            figures["inner_folds"][name_of(rate)] = {"share_of_frames": share, **found}
            print(rate, f"{share:.3f}", {name: np.mean(of["accuracy"]) for name, of in found.items()}, flush=True)
    publish(args.out, figures)


if __name__ == "__main__":
    main()
