"""One fold: train on some clips, predict those left out, write both."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from deepfusion import __version__
from deepfusion.atomic import write_atomically
from deepfusion.config import FusionSettings
from deepfusion.corpora import Fold, guard
from deepfusion.corpora.needs import doubts, need, need_classes
from deepfusion.errors import UserError
from deepfusion.fusion.checkpoint import save_model
from deepfusion.fusion.data import ClipDataset
from deepfusion.fusion.evaluate import predictions_table, scores
from deepfusion.fusion.explain import attention, write_attention
from deepfusion.fusion.models import MODELS
from deepfusion.fusion.train import predict, train
from deepfusion.store import FeatureStore

log = logging.getLogger(__name__)


def train_fold(
    store: Path,
    folder: Path,
    *,
    name: str,
    test: Sequence[str],
    fold: str,
    seed: int,
    settings: FusionSettings,
    device: torch.device,
    choose: Sequence[str] = (),
    by: str = "speaker",
) -> None:
    """Write a model and its card; where somebody is tested, what it says of them and what it attends to, too.

    `model.safetensors`, `model.json`; `predictions.csv`, `attention.h5`.

    Args:
        store: The feature store.
        folder: Where the files go.
        name: Model, a key of `MODELS`.
        test: Speakers to leave out and test on; without any, the model learns from everybody, `choose` included.
        fold: Name of the fold, for the predictions.
        seed: See `train`.
        settings: Network and training.
        device: Where to compute.
        choose: Speakers to choose the epoch on; without any, some training speakers choose it.
        by: Column whose values `test` and `choose` are: "speaker", "split" or "fold".

    Raises:
        UserError: An unknown model, speaker or split, clips without a class or speaker, nobody left to train on, a
            modality that no training clip has, a training that diverged, or leakage between both sides.
        MachineError: A feature in the store is NaN or infinite.
    """
    if name not in MODELS:
        raise UserError(f"no model {name!r}: there are {', '.join(MODELS)}")
    with FeatureStore(store) as opened:
        dataset = ClipDataset(opened, features=settings.features or list(opened.networks))
    clips = dataset.table
    need_classes(clips.reset_index(), purpose="training", origin=f"the store {store}")
    for column in ("speaker", by) if test else (by,) if choose else ():
        need(clips.reset_index(), column, purpose="training", origin=f"the store {store}")
    if unknown := sorted({*test, *choose} - set(clips[by])):
        raise UserError(f"{store} has no {by} {', '.join(unknown)}; it has {', '.join(sorted(set(clips[by])))}")
    tested, choosing = dataset.positions(test, by=by), dataset.positions(choose, by=by)
    left = sorted({*range(len(dataset))} - {*tested, *choosing})
    if not left:
        raise UserError(f"all clips of {store} are to be tested or to choose the epoch: nobody is left to train on")
    # What is tested has learned from `train` alone; a model without a figure may learn from those that choose, too.
    learned = left if test else sorted({*left, *choosing})
    # A file that could not be read has no hash, no features and no part in the training.
    readable = clips["sha256"].ne("").to_numpy()
    guard(
        clips[readable].reset_index(),
        train=clips.index[[i for i in sorted({*learned, *choosing}) if readable[i]]],
        test=clips.index[[i for i in tested if readable[i]]],
    )

    for warning in doubts(clips, [Fold(fold, tuple(test), tuple(choose), by)]) if test else []:
        log.warning("%s", warning)

    def speakers(positions: Sequence[int]) -> list[str]:
        return sorted(set(clips["speaker"].iloc[positions]))

    trained = train(
        name, dataset, learned, choosing=choosing, settings=settings, seed=seed, device=device, folder=folder
    )
    card = {
        "model": name,
        "labels": dataset.labels,
        "features": dataset.features,
        "settings": settings.model_dump(mode="json", by_alias=True),
        "audio_weights_sha256": trained.audio_weights_sha256,
        "seed": seed,
        "fold": fold,
        "test_speakers": speakers(tested),
        "train_speakers": speakers(learned),
        "epoch_chosen_by": speakers(trained.choosing),
        "epochs": trained.epochs,
        "parameters": sum(p.numel() for p in trained.model.parameters()),
        "store_key": dataset.key,
        "code_version": __version__,
        "search": trained.search,
        "refit": trained.refit,
    }
    save_model(folder, trained.model, card)
    if test:
        probabilities = predict(trained.model, dataset, tested, device).numpy()
        table = predictions_table(clips.iloc[tested], probabilities, dataset.labels, fold=fold, seed=seed, model=name)
        seen = attention(trained.model, dataset, tested, device)
        write_attention(folder / "attention.h5", dataset, tested, seen, model=name, fold=fold, seed=seed)
        write_atomically(folder / "predictions.csv", lambda part: table.to_csv(part, index=False))
        log.info("%s, fold %s, seed %d: %d epochs, %s", name, fold, seed, trained.epochs, scores(table))
