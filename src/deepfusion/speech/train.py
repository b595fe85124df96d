"""Train the audio encoder; resumable after every epoch."""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from deepfusion.checkpoint import resume, save_progress
from deepfusion.config import PretrainAudioSettings
from deepfusion.networks.audio_encoder import FrontEnd
from deepfusion.progress import track
from deepfusion.speech import augment
from deepfusion.speech.network import TrainingNetwork
from deepfusion.speech.prepare import STEP_DB, Prepared

log = logging.getLogger(__name__)

WARM_UP = 0.05  # of all steps
LARGEST_GRADIENT = 2.0  # its norm
AVERAGE = 0.998  # decay of the running mean of the weights, which is the result


@dataclass(frozen=True)
class Task:
    """The training clips: rows of the prepared clips.

    Attributes:
        rows: (n,) training clips.
        label: (n,) int64.
        corpus: (n,) int64.
        kind: (corpora,) int64, classifier of each corpus.
        present: (corpora, labels) bool, classes of each corpus; logits of others are masked.
    """

    rows: np.ndarray
    label: np.ndarray
    corpus: np.ndarray
    kind: np.ndarray
    present: np.ndarray


def task(clips: pd.DataFrame, rows: np.ndarray, settings: PretrainAudioSettings) -> Task:
    """The clips of `rows` as a task."""
    chosen = clips.iloc[rows]
    label = pd.Categorical(chosen["label"], settings.labels).codes.astype(np.int64)
    corpus = pd.Categorical(chosen["corpus"], settings.corpora).codes.astype(np.int64)
    present = np.zeros((len(settings.corpora), len(settings.labels)), bool)
    present[corpus, label] = True
    kind = np.array([int(name in settings.bursts) for name in settings.corpora])
    return Task(rows, label, corpus, kind, present)


def draw(task: Task, count: int, balance: float, generator: np.random.Generator) -> np.ndarray:
    """(count,) positions in the task's rows: corpora by their size to the power `balance`, then classes evenly."""
    labels = task.present.shape[1]
    cell = task.corpus * labels + task.label
    clips = np.bincount(cell, minlength=task.present.size).reshape(task.present.shape)
    size = clips.sum(1) ** balance
    share = (size / size.sum())[:, None] * task.present / task.present.sum(1, keepdims=True)
    chosen = generator.choice(share.size, count, p=share.ravel())
    clips, order = clips.ravel(), np.argsort(cell, kind="stable")
    return order[(clips.cumsum() - clips)[chosen] + generator.integers(clips[chosen])]


def stretches(data: Prepared, levels: Tensor, rows: np.ndarray, frames: int, generator: np.random.Generator) -> Tensor:
    """A random stretch of each clip; a shorter clip is repeated.

    Args:
        data: Where the clips lie in `levels`.
        levels: Of data, on any device.
        rows: (B,) clips.
        frames: Length of the stretches.
        generator: Of the random numbers.

    Returns:
        (B, frames, F) dB, on the device of the levels.
    """
    length = data.lengths()[rows]
    places = np.where(length >= frames, length - frames + 1, length)
    first = generator.integers(places)
    index = data.offsets[rows][:, None] + (first[:, None] + np.arange(frames)) % length[:, None]
    return data.settings.floor_db + STEP_DB * levels[torch.from_numpy(index).to(levels.device)]


def standardise(front: FrontEnd, data: Prepared, rows: np.ndarray) -> None:
    """Set mean and deviation of the front end from at most 2,000 of the clips, evenly chosen."""
    chosen = rows[:: max(1, len(rows) // 2000)]
    count, total, square = 0, 0.0, 0.0
    for row in chosen:
        decibels = torch.from_numpy(data.decibels(row))[None].to(front.mean.device)
        length = torch.tensor([decibels.shape[1]], device=decibels.device)
        levels = front.levels(decibels, length)[0].cpu().double()  # MPS has no float64
        count, total, square = count + len(levels), total + levels.sum(0), square + levels.square().sum(0)
    mean = total / count
    front.mean.copy_(mean)
    front.deviation.copy_((square / count - mean.square()).clamp(min=1).sqrt())


def train(
    network: TrainingNetwork,
    data: Prepared,
    task: Task,
    settings: PretrainAudioSettings,
    *,
    device: torch.device,
    dtype: torch.dtype,
    checkpoint: Path,
    key: str,
    tell: Callable[[int, float, float, TrainingNetwork], dict],
) -> tuple[TrainingNetwork, list[dict]]:
    """Train, resuming after the last complete epoch of an interrupted run.

    Args:
        network: Trained in place.
        data: Spectrograms.
        task: The training clips.
        settings: Steps, rate, augmentation, seed.
        device: Where to train.
        dtype: Of the convolutions.
        checkpoint: File of the state after each epoch.
        key: Cache key of the run; a checkpoint with another key is not used.
        tell: epoch, loss, seconds, the averaged network -> a row of the curve.

    Returns:
        The running mean of the network, in evaluation mode, and the curve.
    """
    network.to(device, memory_format=torch.channels_last)
    averaged = AveragedModel(network, avg_fn=running_mean, use_buffers=True)
    both = torch.nn.ModuleDict({"network": network, "averaged": averaged})
    # Not fused: that needs states in the layout of the weights, which a checkpoint does not keep.
    optimiser = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    state = resume(checkpoint, both, optimiser, key=key)
    curve = state["curve"] if state else []
    if curve:
        log.info("resuming after epoch %d", len(curve))
    else:
        standardise(network.front, data, task.rows)
        averaged.module.load_state_dict(network.state_dict())
    levels = data.levels_on(device)
    present = torch.from_numpy(task.present).to(device)
    kind = torch.from_numpy(task.kind).to(device)
    longest = augment.length_before(settings.frames, settings.augment)
    for epoch in range(len(curve) + 1, settings.epochs + 1):
        start, total = time.perf_counter(), torch.zeros((), device=device)
        numpy = np.random.default_rng((settings.seed, epoch))
        generator = torch.Generator(device).manual_seed(int(numpy.integers(2**31)))
        torch.manual_seed(int(numpy.integers(2**31)))  # dropout
        network.train()
        for step in track(range(settings.steps), f"epoch {epoch} of {settings.epochs}", unit="steps"):
            for group in optimiser.param_groups:
                group["lr"] = settings.learning_rate * rate((epoch - 1) * settings.steps + step, settings)
            picked = draw(task, settings.batch, settings.balance, numpy)
            decibels = stretches(data, levels, task.rows[picked], longest, numpy)
            x = augment.augmented(decibels, settings.frames, network.front, settings.augment, generator, device)
            x = x.contiguous(memory_format=torch.channels_last)
            corpus = torch.from_numpy(task.corpus[picked]).to(device)
            label = torch.from_numpy(task.label[picked]).to(device)
            with torch.autocast(device.type, dtype, enabled=dtype != torch.float32):
                logits = network(x, kind[corpus])
            loss = masked_cross_entropy(logits.float(), label, present[corpus], smoothing=settings.smoothing)
            optimiser.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), LARGEST_GRADIENT)
            optimiser.step()
            averaged.update_parameters(network)
            total += loss.detach()
        total = total.item()  # waits for a GPU
        seconds = time.perf_counter() - start
        curve.append(tell(epoch, total / settings.steps, seconds, averaged.module.eval()))
        save_progress(checkpoint, both, optimiser, {"key": key, "curve": curve})
    return averaged.module.eval(), curve


def masked_cross_entropy(logits: Tensor, label: Tensor, present: Tensor, *, smoothing: float) -> Tensor:
    """Cross entropy over the classes that are present, labels smoothed over them, mean of the batch.

    Args:
        logits: (B, labels).
        label: (B,) int64.
        present: (B, labels) bool.
        smoothing: Share of the target that is spread evenly.
    """
    log_p = F.log_softmax(logits.masked_fill(~present, -torch.inf), 1).masked_fill(~present, 0)
    hit = log_p.gather(1, label[:, None])[:, 0]
    even = log_p.sum(1) / present.sum(1)
    return -((1 - smoothing) * hit + smoothing * even).mean()


def running_mean(average: Tensor, value: Tensor, count: Tensor | int) -> Tensor:
    """The running mean after one more value; decay is lower at first, so that short runs have a useful mean."""
    return (
        average + (value - average) * max(1 - AVERAGE, 10 / (10 + int(count))) if value.is_floating_point() else value
    )


def rate(step: int, settings: PretrainAudioSettings) -> float:
    """Factor of the learning rate: linear warm-up over `WARM_UP` of all steps, then cosine decay to 0."""
    steps = settings.epochs * settings.steps
    rise = WARM_UP * steps
    return (step + 1) / rise if step < rise else 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))
