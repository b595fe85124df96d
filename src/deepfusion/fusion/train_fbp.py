"""`snakemake train_fbp`: test FBP on unseen speakers, and train the final model on all clips."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import torch

from deepfusion.config import FusionSettings
from deepfusion.corpora.folds import Fold
from deepfusion.corpora.needs import cautions
from deepfusion.fusion import experiment, rows
from deepfusion.fusion.corpus import Corpus, read_corpus
from deepfusion.fusion.model import FORMAT, KNOWN_BY, Model, Trained, TrainedMember, row_card
from deepfusion.fusion.preprocessing import Reduction
from deepfusion.fusion.search import Bench, Choice, Row, places_of, train_row
from deepfusion.fusion.streams import keys
from deepfusion.responsible_use import FUSION, responsible_use
from deepfusion.store import FeatureStore
from deepfusion.versions import ENCODER, VERSIONS

log = logging.getLogger(__name__)

PURPOSE = "train_fbp"
NOT_FEATURES = ("corpus", "preset")  # groups of the store's configuration that a new clip's features do not depend on
MODEL_ROWS = ("audio", "video", "fbp")  # what `predict` needs: clips may lack a modality


def train_fbp(
    store: Path,
    folder: Path,
    folds: Sequence[Fold],
    *,
    everyone: Fold,
    settings: FusionSettings,
    device: torch.device,
) -> dict:
    """Write `predictions.csv`, `metrics.json`, `choices.json`, `attention.h5` and the folder `model`.

    Args:
        store: The feature store.
        folder: Where the files go.
        folds: Folds, their speakers or splits.
        everyone: The fold of the final model, without test clips.
        settings: Streams, network, training and search.
        device: Where to compute.

    Returns:
        The metrics.

    Raises:
        UserError: See `corpus.read_corpus`, `parts.part`, `experiment.prepare`; a training diverged.
        MachineError: A feature in the store is NaN or infinite.
    """
    with FeatureStore(store) as opened:
        streams = rows.streams_in(opened, settings)
    wanted = rows.base(streams)
    corpus = read_corpus(store, rows.streams_of(wanted), purpose=PURPOSE)
    found, left = experiment.prepare(corpus, [*folds, everyone], wanted, settings)
    log.info("%d clips, %d folds, seeds %s", len(corpus.table), len(folds), ", ".join(map(str, settings.seeds)))
    kept = [row for row in left if row.name in MODEL_ROWS]
    made: list[tuple[dict[str, Reduction], list[Trained]]] = []

    def after(bench: Bench, choices: Mapping[str, Choice]) -> None:
        if not bench.parts[-1].test:
            made.append(train_model(bench, choices, kept))

    experiment.run(found, left, device, after=after)
    metrics = experiment.write(found, left, folder)
    ((reductions, trained),) = made
    Model(card(corpus, trained, settings, metrics, folds), reductions, trained).save(folder / "model")
    return metrics


def train_model(
    bench: Bench, choices: Mapping[str, Choice], wanted: Sequence[Row]
) -> tuple[dict[str, Reduction], list[Trained]]:
    """Train several rows on all clips of the last fold, with the hyperparameters that its inner folds selected."""
    last, trained = len(bench.parts) - 1, []
    for row in wanted:
        choice = choices[row.name]
        places = places_of(choice, last, bench.parts[last], bench.settings.seeds[0])
        networks = train_row(bench, row, places, lambda i, network, data: network)
        members = [
            TrainedMember(network, member.candidate.axes, member.temperature)
            for network, member in zip(networks, choice.members[last], strict=True)
        ]
        trained.append(Trained(row, members))
    return {name: bench.data[last].reductions[name] for name in rows.streams_of(wanted)}, trained


def card(
    corpus: Corpus, trained: Sequence[Trained], settings: FusionSettings, metrics: Mapping, folds: Sequence[Fold]
) -> dict:
    """Content of `model.json`: how the model was trained, its expected accuracy, and how to rebuild it."""
    with FeatureStore(corpus.path) as store:
        attrs, networks = store.attrs, store.networks
        weights = {slot: of["fingerprint"] for slot, of in networks.items() if "fingerprint" in of}
        if ENCODER in store.keys:
            weights[ENCODER] = store.attributes(ENCODER)["sha256"]
    needed = rows.streams_of([of.row for of in trained])
    speakers = sorted(set(corpus.speakers) - {""})
    best = metrics["models"][trained[-1].row.name]
    notes = "".join(f"; {note}" for note in cautions(corpus.table, folds))
    of_people = f" of {len(speakers)} speakers" if speakers else ""
    return {
        "format": FORMAT,
        "name": attrs.get("corpus", ""),
        "corpus": attrs.get("corpus", ""),
        "trained_on": sorted({sha256[:KNOWN_BY] for sha256 in corpus.table["sha256"] if sha256}),
        "clips": len(corpus.table),
        "speakers": len(speakers),
        "licence": attrs.get("licence", ""),
        "citation": attrs.get("citation", ""),
        "caution": f"trained on {len(corpus.table)} clips{of_people}: expect less for other recordings and languages; "
        f"acted emotion is not felt emotion{notes}",
        "responsible_use": responsible_use(FUSION),
        "labels": corpus.labels,
        "normalisation": settings.normalisation,
        "metrics": {
            "model": trained[-1].row.name,
            **{key: best[key] for key in ("accuracy_mean", "accuracy_std", "uar_mean", "uar_std", "ece", "recall")},
            "by_model": {name: of["accuracy_mean"] for name, of in metrics["models"].items()},
            "by_speaker": sorted(of["accuracy"] for of in best["per_speaker"].values()),  # without names
            "notes": metrics["notes"],
        },
        "streams": needed,
        "rows_per_clip": corpus.rows_per_clip,
        "spectrogram": asdict(corpus.spectrogram),
        "rows": {of.row.name: row_card(of, of.row.settings(settings).shape) for of in trained},
        "settings": settings.model_dump(mode="json", by_alias=True),
        "extraction": {
            name: of for name, of in json.loads(attrs.get("config", "{}")).items() if name not in NOT_FEATURES
        },
        "weights": {key: value for key, value in weights.items() if key in keys(needed)},
        "store_key": corpus.key,
        "versions": VERSIONS,
    }
