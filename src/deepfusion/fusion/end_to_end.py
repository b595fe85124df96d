"""The paper's end-to-end variant: the audio encoder is trained together with attention, fusion layer and classifier.

Training starts from the pre-trained encoder and a network that was trained on its output. Against overfitting, the
final weights are interpolated between those before and those after training (Wortsman et al., "Robust fine-tuning of
zero-shot models", CVPR 2022).
"""

import copy
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepfusion.config import EndToEndSettings, TrainingSettings
from deepfusion.errors import UserError
from deepfusion.fusion.batched_training import (
    CHECKED,
    LARGEST_GRADIENT,
    Reduced,
    Task,
    class_weights,
    draw,
    speaker_effects,
)
from deepfusion.fusion.corpus import FoldData, reduced
from deepfusion.fusion.finite import check_training
from deepfusion.fusion.network import Network, Rows
from deepfusion.fusion.search import Bench, Candidate, Refine, Row
from deepfusion.fusion.streams import AUDIO, Modality, Spectrogram, clip_streams, is_per_clip
from deepfusion.networks.audio_encoder import SILENCE_DB, SpeechEncoder, load_encoder
from deepfusion.speech import augment
from deepfusion.store import FeatureStore
from deepfusion.versions import ENCODER

Read = Callable[[int], np.ndarray]
"""Position of a clip -> its (T, F) spectrogram, dB; T is 0 without audio."""


@dataclass(frozen=True)
class Start:
    """Where training starts, and on what.

    Attributes:
        encoder: Pre-trained; the fold's streams AF and AF-clip come from it.
        network: Trained on those.
        fold: The reduced streams of all clips.
        streams: Of the network.
        axes: Of each stream.
        train: Positions of the training clips.
        speakers: Of all clips.
        seed: Of the draws, the augmentation and dropout.
    """

    encoder: SpeechEncoder
    network: Network
    fold: FoldData
    streams: Mapping[Modality, Sequence[str]]
    axes: int
    train: Sequence[int]
    speakers: Sequence[str]
    seed: int


def encoded(streams: Iterable[str]) -> list[str]:
    """The streams that come from the audio encoder."""
    return [name for name in streams if AUDIO.get(name) == ENCODER]


def encoder_streams(positions: Tensor) -> dict[str, Tensor]:
    """Differentiable counterpart of `streams.clip_streams`, for an encoder's positions of clips of equal length.

    Args:
        positions: (B, R, F', C).

    Returns:
        AF: (B, R F', C). AF-clip: (B, 2 F' C), mean and standard deviation.
    """
    flat = positions.flatten(2)
    deviation, mean = torch.std_mean(flat, 1, correction=0)
    return {"AF": positions.flatten(1, 2), "AF-clip": torch.cat([mean, deviation], 1)}


class _Batches:
    """The batches of a training; streams that do not come from the encoder come from the fold."""

    def __init__(
        self,
        start: Start,
        labels: Tensor,
        training: TrainingSettings,
        *,
        steps: int,
        batch: int,
        device: torch.device,
    ):
        self.start, self.device = start, device
        made = {m: start.fold.modality(names, axes=start.axes) for m, names in start.streams.items()}
        task = Task(made, start.train, start.speakers, start.seed)
        self.draws = draw(task, labels, training, steps=steps, batch=batch)
        # The placeholder of an absent modality has no speaker: it is not transposed.
        clips, like = self.draws.clips, self.draws.like
        self.like = {m: torch.where(of.present[clips], like, clips) for m, of in made.items()}
        effects = {m: speaker_effects(of, start.train, start.speakers, labels) for m, of in made.items()}
        self.data = {m: Reduced(of.rows.to(device), of.offsets, of.clip.to(device)) for m, of in made.items()}
        self.effects = {
            m: tuple(table[of.owner].to(device) for table in (of.rows, of.clip)) for m, of in effects.items()
        }
        reductions = {name: start.fold.reductions[name] for name in encoded(start.streams["audio"])}
        self.reductions = copy.deepcopy(reductions)  # `Module.to` works in place: the fold's own must stay on the CPU
        for reduction in self.reductions.values():
            reduction.to(device)

    def rows(self, step: int, positions: Tensor, heard: Tensor) -> dict[Modality, Rows]:
        """A batch.

        Args:
            step: Number of the step.
            positions: (B, R, F', C) of the encoder.
            heard: (B,) 1, or 0 for clips without audio.
        """
        batch = {m: self._cached(m, step) for m in self.data}
        made = {
            name: reduction.first(reduction(of), self.start.axes) * heard.view(-1, *[1] * (of.dim() - 1))
            for name, of in encoder_streams(positions).items()
            if (reduction := self.reductions.get(name))
        }
        values, whole = batch["audio"]
        names = [name for name in self.start.streams["audio"] if is_per_clip(name)]
        widths = [min(self.start.axes, self.start.fold.reductions[name].size) for name in names]
        parts = zip(names, whole.split(widths, 1) if names else (), strict=True)
        whole = torch.cat([made.get(name, part) for name, part in parts], 1) if names else whole
        batch["audio"] = (made.get("AF", values), whole)
        return {m: self._transposed(m, step, *of) for m, of in batch.items()}

    def _cached(self, m: Modality, step: int) -> tuple[Tensor, Tensor]:
        data, clips = self.data[m], self.draws.clips[step].to(self.device)
        return data.rows[self.draws.rows[m][step].to(self.device)], data.clip[clips]

    def _transposed(self, m: Modality, step: int, values: Tensor, whole: Tensor) -> Rows:
        rows, clip = self.effects[m]
        clips, like = self.draws.clips[step].to(self.device), self.like[m][step].to(self.device)
        values = values + (rows[like] - rows[clips])[:, None]
        inside = torch.ones(values.shape[:2], dtype=torch.bool, device=self.device)
        return Rows(values, inside, whole + clip[like] - clip[clips])


def train(
    start: Start,
    read: Read,
    labels: Tensor,
    *,
    settings: EndToEndSettings,
    training: TrainingSettings,
    device: torch.device,
) -> tuple[SpeechEncoder, Network]:
    """Train encoder and network together.

    Each step takes a random, augmented stretch of each clip; the reductions are fixed.

    Args:
        start: Where training starts; not modified.
        read: Spectrograms.
        labels: (clips,) int64 of the whole corpus; only those of training clips are used.
        settings: Steps and rates.
        training: Dropout, smoothing, transposition and class weights are those of the network's own training.
        device: Where to compute.

    Returns:
        Both, on the CPU, in evaluation mode.

    Raises:
        UserError: The loss or a weight became NaN or infinite.
    """
    encoder, network = (copy.deepcopy(of).train().to(device) for of in (start.encoder, start.network))
    steps = max(1, round(settings.epochs * len(start.train) / settings.batch))
    batch = min(settings.batch, len(start.train))
    work = _Batches(start, labels, training, steps=steps, batch=batch, device=device)
    rates = ((encoder.convolutions, settings.learning_rate), (network, settings.network_learning_rate))
    parameters = [p for module, _ in rates for p in module.parameters()]
    optimiser = torch.optim.AdamW(
        [{"params": list(module.parameters()), "lr": rate} for module, rate in rates],
        weight_decay=training.weight_decay,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: (1 + math.cos(math.pi * step / steps)) / 2)
    numpy, generator = np.random.default_rng(start.seed), torch.Generator().manual_seed(start.seed)
    weights = class_weights(labels, start.train, training).to(device)
    for step in range(steps):
        clips = work.draws.clips[step]
        x, heard = _input(encoder, read, clips.tolist(), settings, numpy, generator, device)
        positions, _ = encoder.encode(x, torch.full((batch,), x.shape[3], device=device))
        keep = (torch.rand(batch, network.dropped, generator=generator) >= training.dropout).float().to(device)
        logits, _ = network(work.rows(step, positions, heard), keep / (1 - training.dropout))
        label = labels[clips].to(device)
        loss = F.cross_entropy(logits, label, label_smoothing=training.smoothing, reduction="none")
        loss = (loss * weights[label]).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, LARGEST_GRADIENT)
        optimiser.step()
        schedule.step()
        if (step + 1) % CHECKED == 0 or step + 1 == steps:
            mend = f"lower study.end_to_end.learning_rate (here {settings.learning_rate:g})"
            check_training(parameters, loss=loss.item(), when=f"step {step + 1} end to end", mend=mend)
    for trained, before in ((encoder, start.encoder), (network, start.network)):
        blend(trained.cpu().eval(), before, settings.share)
    return encoder, network


def _input(
    encoder: SpeechEncoder,
    read: Read,
    clips: Sequence[int],
    settings: EndToEndSettings,
    numpy: np.random.Generator,
    generator: torch.Generator,
    device: torch.device,
) -> tuple[Tensor, Tensor]:
    """(B, 1, rows, frames) of random stretches, augmented, for the convolutions; and (B,) 1, or 0 without audio."""
    longest = augment.length_before(settings.frames, settings.augment)
    silence = np.full((longest, int(encoder.requires["bins"])), SILENCE_DB, np.float32)
    levels = [read(i) for i in clips]
    stretches = [augment.stretch(x, longest, numpy) if len(x) else silence for x in levels]
    decibels = torch.from_numpy(np.stack(stretches).astype(np.float32))
    x = augment.augmented(decibels, settings.frames, encoder.front, settings.augment, generator, device)
    return x, torch.tensor([float(len(level) > 0) for level in levels], device=device)


@torch.no_grad()
def blend(trained: nn.Module, before: nn.Module, share: float) -> None:
    """Interpolate trained weights in place: `share` of those after training, the rest of those before."""
    for of, start in zip(trained.parameters(), before.parameters(), strict=True):
        of.lerp_(start, 1 - share)


@torch.inference_mode()
def with_encoder(
    fold: FoldData, encoder: SpeechEncoder, streams: Iterable[str], clips: Iterable[int], read: Read
) -> FoldData:
    """The fold with the encoder streams of some clips recomputed by another encoder, reduced as the fold's are."""
    names, settings = encoded(streams), Spectrogram(0, 0, tuple(encoder.bins()))
    rows = {name: fold.rows[name].clone() for name in names}
    for i in clips:
        positions = encoder.positions(read(i))
        if len(positions):
            made = clip_streams({"AF": positions, "AF_time": np.zeros(len(positions))}, names, settings).rows
            for name in names:
                first, last = (i, i + 1) if is_per_clip(name) else fold.offsets[name][i : i + 2].tolist()
                rows[name][first:last] = reduced(fold.reductions[name], torch.from_numpy(made[name]))
    return replace(fold, rows=fold.rows | rows)


def refiner(bench: Bench, row: Row, settings: EndToEndSettings) -> Refine:
    """The argument `refine` of `search.test` that trains a row end to end.

    Args:
        bench: The corpus and its folds.
        row: With AF, AF-clip or both among its streams.
        settings: Of the training.

    Raises:
        UserError: The row has no stream of the encoder, streams are normalised by speaker, or the store's AF comes from
            other weights.
    """
    corpus, encoder = bench.corpus, load_encoder(None)
    if not encoded(row.streams.get("audio", ())):
        raise UserError(f"{row.name}: end-to-end training needs the stream AF or AF-clip among its audio streams")
    if bench.settings.normalisation == "speaker":
        raise UserError(f"{row.name}: end-to-end training needs fusion.normalisation: training, not speaker")
    with FeatureStore(corpus.path) as store:
        if store.attributes(ENCODER)["sha256"] != encoder.sha256:
            raise UserError(f"{row.name}: {corpus.path} holds AF of another audio encoder than the package has")

    def refine(fold: int, candidate: Candidate, seed: int, network: Network):
        part, data = bench.parts[fold], bench.data[fold]
        start = Start(encoder, network, data, row.streams, candidate.axes, part.train, corpus.speakers, seed)
        with FeatureStore(corpus.path) as store:

            def read(i: int) -> np.ndarray:
                return store[corpus.table.index[i]]["spectrogram"].astype(np.float32, copy=False)

            training = row.settings(bench.settings).training
            tuned, network = train(start, read, corpus.label, settings=settings, training=training, device=bench.device)
            data = with_encoder(data, tuned, row.streams["audio"], part.test, read)
        return network, {m: data.modality(names, axes=candidate.axes) for m, names in row.streams.items()}

    return refine
