"""One fold: train on some speakers, predict those left out, write both."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from deepfusion import __version__
from deepfusion.config import FusionSettings
from deepfusion.corpora import guard
from deepfusion.errors import UserError
from deepfusion.files import write_atomically
from deepfusion.fusion.checkpoint import save_model
from deepfusion.fusion.data import ClipDataset
from deepfusion.fusion.evaluate import predictions_table, scores
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
) -> None:
    """Write `model.safetensors`, its card `model.json` and, where somebody is tested, `predictions.csv`.

    Args:
        store: The feature store.
        folder: Where the files go.
        name: Model, a key of `MODELS`.
        test: Speakers to leave out and test on; without any, the model learns from everybody.
        fold: Name of the fold, for the predictions.
        seed: See `train`.
        settings: Network and training.
        device: Where to compute.

    Raises:
        UserError: An unknown model or speaker, nobody left to train on, or leakage between both sides.
    """
    if name not in MODELS:
        raise UserError(f"no model {name!r}: there are {', '.join(MODELS)}")
    with FeatureStore(store) as opened:
        dataset = ClipDataset(opened, features=settings.features or list(opened.networks))
    clips = dataset.table
    speakers = sorted(clips["speaker"].unique())
    if unknown := sorted(set(test) - set(speakers)):
        raise UserError(f"{store} has no speaker {', '.join(unknown)}; it has {', '.join(speakers)}")
    train_speakers = [speaker for speaker in speakers if speaker not in test]
    if not train_speakers:
        raise UserError(f"all speakers of {store} are to be tested: nobody is left to train on")
    tested = clips["speaker"].isin(test)
    # A file that could not be read has no hash, no features and no part in the training.
    known = clips["sha256"].ne("")
    guard(clips[known].reset_index(), train=clips.index[known & ~tested], test=clips.index[known & tested])

    trained = train(name, dataset, train_speakers, settings=settings, seed=seed, device=device, folder=folder)
    card = {
        "model": name,
        "labels": dataset.labels,
        "features": dataset.features,
        "settings": settings.model_dump(by_alias=True),
        "seed": seed,
        "fold": fold,
        "test_speakers": list(test),
        "train_speakers": train_speakers,
        "epoch_chosen_by": trained.choosing,
        "epochs": trained.epochs,
        "parameters": sum(p.numel() for p in trained.model.parameters()),
        "store_key": dataset.key,
        "code_version": __version__,
        "search": trained.search,
        "refit": trained.refit,
    }
    save_model(folder, trained.model, card)
    if test:
        positions = dataset.positions(test)
        probabilities = predict(trained.model, dataset, positions, device).numpy()
        table = predictions_table(
            clips.iloc[positions], probabilities, dataset.labels, fold=fold, seed=seed, model=name
        )
        write_atomically(folder / "predictions.csv", lambda part: table.to_csv(part, index=False))
        log.info("%s, fold %s, seed %d: %d epochs, %s", name, fold, seed, trained.epochs, scores(table))
