"""Training one model on some clips; every choice is made without the others."""

import hashlib
import logging
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from deepfusion.config import AugmentSettings, FusionSettings
from deepfusion.errors import UserError
from deepfusion.fusion import pretrained
from deepfusion.fusion.augment import varied
from deepfusion.fusion.checkpoint import resume, save_progress
from deepfusion.fusion.data import Clip, ClipDataset, collate
from deepfusion.fusion.finite import check_training
from deepfusion.fusion.models import MODELS, NEEDED, AudioBranch, Sizes, VideoBranch
from deepfusion.stages import VERSIONS, digest

# Batches whose clips are sorted by length together: little padding, and the order stays random.
BUCKET = 8
PREDICTION_BATCH = 16
# The signed square root is steep near zero: a single step must not throw the weights away.
LARGEST_GRADIENT = 1.0

log = logging.getLogger(__name__)


def seed_of(*parts: object) -> int:
    """A seed that depends on all parts and on nothing else (`hash` changes from run to run)."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:6], "big")


def split_speakers(speakers: Sequence[str], *, share: float, seed: int) -> tuple[list[str], list[str]]:
    """Part the training speakers into those that are learned from and those that choose the epoch.

    Args:
        speakers: Training speakers.
        share: Share that chooses; one speaker at least.
        seed: Decides who.

    Returns:
        (learning, choosing), disjoint. With a single speaker nobody chooses.
    """
    order = sorted(speakers)
    random.Random(seed).shuffle(order)
    choosing = 0 if len(order) < 2 else max(1, round(share * len(order)))
    return sorted(order[choosing:]), sorted(order[:choosing])


def hold_out(dataset: ClipDataset, positions: Sequence[int], *, share: float, seed: int) -> tuple[list[int], list[int]]:
    """Part training clips into those that are learned from and those that choose the epoch.

    By speaker; those of a single speaker one by one, since somebody has to choose.

    Args:
        dataset: All clips.
        positions: Those of the training clips.
        share: See `split_speakers`.
        seed: Decides who.

    Returns:
        Positions (learning, choosing), disjoint. A single clip is learned from.
    """
    speakers = dataset.table["speaker"].iloc[positions]
    names = (speakers if speakers.nunique() > 1 else speakers.index).tolist()
    everybody = sorted(set(names))
    _, chosen = split_speakers(everybody, share=share, seed=seed_of(seed, "split", everybody))
    learning = [i for i, name in zip(positions, names, strict=True) if name not in chosen]
    choosing = [i for i, name in zip(positions, names, strict=True) if name in chosen]
    return learning, choosing


def batches(dataset: ClipDataset, positions: Sequence[int], *, size: int, seed: int) -> list[list[int]]:
    """All positions once, in random batches of clips of similar length."""
    generator = random.Random(seed)
    order = list(positions)
    generator.shuffle(order)
    bucket = size * BUCKET
    drawn = []
    for start in range(0, len(order), bucket):
        group = sorted(order[start : start + bucket], key=lambda i: len(dataset[i].spectrogram))
        drawn += [group[i : i + size] for i in range(0, len(group), size)]
    generator.shuffle(drawn)
    return drawn


def new_model(name: str, dataset: ClipDataset, train: Sequence[int], settings: FusionSettings, seed: int) -> nn.Module:
    """A model with fresh weights, or the audio encoder's of a file; it normalises by the training clips alone."""
    sizes = Sizes(dataset.bins, dataset[0].faces.shape[1], len(dataset.labels))
    torch.manual_seed(seed)
    model = MODELS[name](sizes, settings)
    for module in model.modules():
        if isinstance(module, AudioBranch):
            module.standardise.fit([dataset[i].spectrogram for i in train])
            if settings.audio_weights:
                pretrained.fill(module.encoder, settings.audio_weights)
        elif isinstance(module, VideoBranch):
            module.standardise.fit([dataset[i].faces for i in train])
    return model


def check_modalities(name: str, dataset: ClipDataset, train: Sequence[int]) -> None:
    """Refuse to train a model on clips that all lack what it sees or hears.

    Raises:
        UserError: One sentence, with the models that can be trained on these clips.
    """
    there = {
        "audio": any(len(dataset[i].spectrogram) for i in train),
        "a face": any(len(dataset[i].faces) for i in train),
    }
    lacking = [what for what in NEEDED[name] if not there[what]]
    if lacking:
        possible = [model for model, needed in NEEDED.items() if all(there[what] for what in needed)]
        hint = f"set protocol.models: [{', '.join(possible)}]" if possible else "none can be trained"
        raise UserError(
            f"the model {name!r} needs {' and '.join(NEEDED[name])}, and no training clip has {' or '.join(lacking)} "
            f"(`deepfusion info` lists the reasons): {hint}"
        )


def vary(model: nn.Module, clips: Sequence[Clip], settings: AugmentSettings, generator: torch.Generator) -> list[Clip]:
    """Training clips with their sound varied at random, where the model hears at all."""
    heard = next((m for m in model.modules() if isinstance(m, AudioBranch)), None)
    if heard is None:
        return list(clips)
    mean = heard.standardise.mean.cpu()
    return [
        replace(clip, spectrogram=varied(clip.spectrogram, generator, settings=settings, mean=mean)) for clip in clips
    ]


def predict(model: nn.Module, dataset: ClipDataset, positions: Sequence[int], device: torch.device) -> torch.Tensor:
    """(len(positions), classes) probabilities, float64 on the CPU, in the order of `positions`."""
    # By length, so that a batch holds little padding; then back into the order that was asked for.
    order = sorted(range(len(positions)), key=lambda i: len(dataset[positions[i]].spectrogram))
    probabilities = torch.zeros(len(positions), len(dataset.labels), dtype=torch.float64)
    model.eval()
    with torch.inference_mode():
        for start in range(0, len(order), PREDICTION_BATCH):
            rows = order[start : start + PREDICTION_BATCH]
            batch = collate([dataset[positions[i]] for i in rows]).to(device)
            probabilities[rows] = model(batch).double().softmax(1).cpu()
    return probabilities


def mean_loss(model: nn.Module, dataset: ClipDataset, positions: Sequence[int], device: torch.device) -> float:
    """Mean cross-entropy (nats) of the clips."""
    probabilities = predict(model, dataset, positions, device)
    label = torch.tensor([dataset[i].label for i in positions])
    return F.nll_loss(probabilities.clamp_min(1e-12).log(), label).item()


def exhausted(history: Sequence[dict], patience: int) -> bool:
    """Whether the last `patience` epochs brought no better validation loss than those before them."""
    losses = [epoch["validation_loss"] for epoch in history]
    return len(losses) > patience and None not in losses and min(losses[-patience:]) >= min(losses[:-patience])


def fit(
    model: nn.Module,
    dataset: ClipDataset,
    train: Sequence[int],
    *,
    choosing: Sequence[int],
    epochs: int,
    settings: FusionSettings,
    seed: int,
    device: torch.device,
    checkpoint: Path,
    key: str,
) -> list[dict]:
    """Train in place, from the checkpoint on if there is one of the same key.

    Args:
        model: The model, already on `device`.
        dataset: All clips.
        train: Positions of the clips to learn from.
        choosing: Positions of the clips, of other speakers, whose loss is watched; without any, all epochs are run.
        epochs: Passes over the training clips, at most.
        settings: Learning rate, weight decay, batch, patience, augmentation.
        seed: Decides the batches, the dropout and the augmentation of every epoch.
        device: Where to compute.
        checkpoint: File that is written after every epoch.
        key: What the training depends on; a checkpoint with another key is ignored.

    Returns:
        One entry an epoch: epoch (from 1), train_loss and validation_loss (nats; None where nobody chooses).

    Raises:
        UserError: The loss or a weight became NaN or infinite.
    """
    optimiser = torch.optim.AdamW(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    progress = resume(checkpoint, model, optimiser, key=key)
    history: list[dict] = progress["history"] if progress else []
    while len(history) < epochs and not exhausted(history, settings.patience):
        epoch = len(history) + 1
        model.train()
        # Each epoch has its own seed, so that a resumed training draws what an unbroken one would have drawn.
        torch.manual_seed(seed_of(seed, epoch, "dropout"))
        draw = torch.Generator().manual_seed(seed_of(seed, epoch, "augment"))
        total = 0.0
        for rows in batches(dataset, train, size=settings.batch, seed=seed_of(seed, epoch, "order")):
            clips = vary(model, [dataset[i] for i in rows], settings.augment, draw)
            batch = collate(clips).to(device)
            loss = F.cross_entropy(model(batch), batch.label)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
            optimiser.step()
            total += loss.item() * len(rows)
        mend = f"lower fusion.learning_rate ({settings.learning_rate:g})"
        check_training(model.state_dict().values(), loss=total / len(train), when=f"epoch {epoch}", mend=mend)
        validation_loss = mean_loss(model, dataset, choosing, device) if choosing else None
        history.append({"epoch": epoch, "train_loss": total / len(train), "validation_loss": validation_loss})
        save_progress(checkpoint, model, optimiser, {"key": key, "history": history})
        watched = "" if validation_loss is None else f", validation loss {validation_loss:.4f}"
        log.info("epoch %d: train loss %.4f%s", epoch, total / len(train), watched)
    return history


@dataclass(frozen=True)
class Trained:
    """A trained model and how it came about."""

    model: nn.Module
    epochs: int
    learning: list[int]  # positions of the clips that were learned from while the number of epochs was searched
    choosing: list[int]  # of those that chose it
    search: list[dict]  # history of the search
    refit: list[dict]  # history of the training on all training clips
    audio_weights_sha256: str | None  # of the file that the audio encoder began with


def train(
    name: str,
    dataset: ClipDataset,
    positions: Sequence[int],
    *,
    choosing: Sequence[int] = (),
    settings: FusionSettings,
    seed: int,
    device: torch.device,
    folder: Path,
) -> Trained:
    """Choose the number of epochs on clips that are held out, then train anew on all training clips for that number.

    Args:
        name: Model, a key of `MODELS`.
        dataset: All clips; others than these two are never looked at.
        positions: Training clips.
        choosing: Clips that choose the number; those that are training clips, too, are learned from afterwards.
            Without any, `hold_out` takes some of the training clips.
        settings: Network and training.
        seed: Decides initial weights, batches, dropout, augmentation and who chooses.
        device: Where to compute.
        folder: Where checkpoints are kept until the end.

    Raises:
        UserError: No training clip has what the model needs, the training diverged, or the file of the audio
            encoder's weights is none.
    """
    check_modalities(name, dataset, positions)
    sha256 = pretrained.sha256(settings.audio_weights) if settings.audio_weights else None
    learned_from = [list(positions), list(choosing), dataset.key]
    key = digest(VERSIONS["fusion"], name, learned_from, settings.model_dump_json(), sha256, seed)
    folder.mkdir(parents=True, exist_ok=True)
    if choosing:
        learning = sorted({*positions} - {*choosing})
    else:
        learning, choosing = hold_out(dataset, positions, share=settings.validation, seed=seed)

    def run(
        clips: Sequence[int], watched: Sequence[int], epochs: int, checkpoint: Path
    ) -> tuple[nn.Module, list[dict]]:
        full = [i for i in clips if len(dataset[i].spectrogram) or len(dataset[i].faces)]
        if not full:
            raise UserError(f"none of {len(clips)} training clips has audio or a face to learn from: `deepfusion info`")
        model = new_model(name, dataset, full, settings, seed_of(seed, "weights")).to(device)
        history = fit(
            model,
            dataset,
            full,
            choosing=watched,
            epochs=epochs,
            settings=settings,
            seed=seed,
            device=device,
            checkpoint=checkpoint,
            key=key,
        )
        return model, history

    search: list[dict] = []
    epochs = settings.epochs
    searching, refitting = folder / "search.checkpoint.safetensors", folder / "refit.checkpoint.safetensors"
    if choosing:
        _, search = run(learning, choosing, settings.epochs, searching)
        epochs = min(search, key=lambda epoch: epoch["validation_loss"])["epoch"]
    model, refit = run(positions, [], epochs, refitting)
    searching.unlink(missing_ok=True)
    refitting.unlink(missing_ok=True)
    return Trained(model, epochs, learning, list(choosing), search, refit, sha256)
