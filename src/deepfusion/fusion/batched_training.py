"""Many networks trained in one computation: their weights are stacked, one slice per network.

Each network depends on its own task only: trained together or one by one, results are equal up to rounding. The
overhead of Python, which dominates small networks, occurs once per step for all of them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from threading import Lock

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

from deepfusion.config import TrainingSettings
from deepfusion.fusion.finite import check_training
from deepfusion.fusion.network import Network, Rows
from deepfusion.fusion.streams import Modality

# Limits a single step, because the signed square root is steep near zero.
LARGEST_GRADIENT = 1.0
CHECKED = 50  # steps between checks for divergence
GRAIN = 1.1  # numbers of clips are rounded to powers of it, so that folds of similar size have equally many steps
# Maximum rows in memory when clips are padded or averaged, unless a single clip has more.
AT_ONCE = 30_000
# Estimates of speakers and classes in turn: they converge unless hardly any speaker has two classes.
ALTERNATIONS = 50
# Initial weights come from torch's global generator, so that threads must take turns.
SEEDED = Lock()


@dataclass(frozen=True)
class Columns:
    """Matrices of equal length, concatenated and each times a factor; only requested rows are copied.

    So a large corpus is in memory once, in half precision if needed, for networks with different columns.
    """

    parts: tuple[Tensor, ...]  # (L, p_i) of any floating type; the last stride is 1
    factors: tuple[float, ...]  # of each part

    def __len__(self) -> int:
        return len(self.parts[0])

    @property
    def shape(self) -> tuple[int, int]:
        """(L, p), p the sum of all p_i."""
        return len(self), sum(part.shape[1] for part in self.parts)

    @cached_property
    def factor(self) -> Tensor:
        """(p,) the factor of each column."""
        widths = torch.tensor([part.shape[1] for part in self.parts])
        return torch.repeat_interleave(torch.tensor(self.factors), widths)

    def __getitem__(self, rows: slice | Tensor) -> Tensor:
        """(..., p) float32 rows."""
        if isinstance(rows, slice):
            taken = [part[rows] for part in self.parts]
        else:
            taken = [part.index_select(0, rows.flatten()).unflatten(0, rows.shape) for part in self.parts]
        return torch.cat(taken, -1).float() * self.factor.to(taken[0].device)

    def to(self, device: torch.device) -> "Columns":
        """The same on a device."""
        return Columns(tuple(part.to(device) for part in self.parts), self.factors)


@dataclass(frozen=True)
class Reduced:
    """One modality of all clips of a corpus, reduced: what networks are trained on."""

    rows: Columns  # (L, p), rows of all clips; one row of zeros, the training mean, for a clip without any
    offsets: Tensor  # (clips + 1,) int64
    clip: Tensor  # (clips, q)

    @cached_property
    def lengths(self) -> Tensor:
        """(clips,) rows of each clip."""
        return self.offsets.diff()

    @cached_property
    def present(self) -> Tensor:
        """(clips,) bool: which clips have the modality; others have a placeholder row of zeros."""
        return (self.lengths > 1) | self.rows[self.offsets[:-1]].any(1)

    @cached_property
    def means(self) -> Tensor:
        """(clips, p) mean row of each clip."""
        made = self.clip.new_zeros(len(self.clip), self.rows.shape[1])
        for clips in stretches(self.lengths.tolist()):
            rows = self.rows[slice(int(self.offsets[clips.start]), int(self.offsets[clips.stop]))]
            owner = torch.repeat_interleave(torch.arange(clips.start, clips.stop), self.lengths[clips])
            made.index_add_(0, owner, rows)
        return made / self.lengths[:, None]


def stretches(lengths: Sequence[int]) -> list[slice]:
    """Groups of successive clips with at most `AT_ONCE` rows in total, or of a single longer clip."""
    found, start, total = [], 0, 0
    for i, length in enumerate(lengths):
        if total + length > AT_ONCE and i > start:
            found.append(slice(start, i))
            start, total = i, 0
        total += length
    return [*found, slice(start, len(lengths))]


@dataclass(frozen=True)
class Task:
    """The training data of one network."""

    data: Mapping[Modality, Reduced]  # of all clips of the corpus; tasks of a fold share the objects
    train: Sequence[int]  # positions of its training clips
    speakers: Sequence[str]  # of all clips
    seed: int  # of its initial weights, batches and dropout


def step_count(clips: int, settings: TrainingSettings) -> tuple[int, int]:
    """Steps and clips per step: `epochs` passes, with a batch that grows as the square root of the training clips.

    `clips` is rounded to a power of `GRAIN`. So a network's steps depend on its own training clips alone, and networks
    of folds that are not quite equally large can still train together.
    """
    clips = round(GRAIN ** round(math.log(clips, GRAIN)))
    batch = min(clips, max(settings.batch, round(settings.batch * math.sqrt(clips / settings.clips_of_batch))))
    return max(1, round(settings.epochs * clips / batch)), batch


@dataclass(frozen=True)
class Draws:
    """The batches of one network."""

    clips: Tensor  # (steps, batch) int64
    like: Tensor  # (steps, batch) int64: a clip of the speaker to transpose to; the clip itself: not transposed
    rows: dict[Modality, Tensor]  # (steps, batch, vectors) int32 if it suffices, else int64


def draw(task: Task, labels: Tensor, settings: TrainingSettings, *, steps: int, batch: int) -> Draws:
    """Clips in random order, pass by pass, and for each clip rows spread evenly over its length.

    A share of the clips is transposed to the speaker of a random training clip of the same class. The effects of two
    speakers who both have the class are comparable; those of speakers without a common class contain the classes.
    """
    generator = torch.Generator().manual_seed(task.seed)
    train = torch.tensor(task.train)
    wanted = steps * batch
    passes = -(-wanted // len(train))
    order = torch.cat([train[torch.randperm(len(train), generator=generator)] for _ in range(passes)])[:wanted]
    count, rows = settings.vectors, {}
    for modality, of in task.data.items():
        place = (torch.arange(count) + torch.rand(wanted, count, generator=generator)) / count
        length = of.lengths[order, None]
        inside = (place * length).long().minimum(length - 1)
        drawn = (of.offsets[order, None] + inside).view(steps, batch, count)
        rows[modality] = drawn.int() if len(of.rows) < 2**31 else drawn
    like_class, count = train[labels[train].argsort(stable=True)], labels[train].bincount()
    own = labels[order]
    place = (torch.rand(wanted, generator=generator) * count[own]).long().minimum(count[own] - 1)
    other = like_class[count.cumsum(0)[own] - count[own] + place]
    like = torch.where(torch.rand(wanted, generator=generator) < settings.transposed, other, order)
    return Draws(order.view(steps, batch), like.view(steps, batch), rows)


@dataclass(frozen=True)
class SpeakerEffects:
    """Vectors that are subtracted and added to transpose a clip from one speaker to another.

    This augmentation keeps a network from relying on the speaker. Its linear counterpart is within-class covariance
    normalisation (Hatch, Kajarekar and Stolcke 2006). It has no effect on streams that are normalised by speaker, whose
    means are about zero.
    """

    rows: Tensor  # (speakers + 1, p) effect of each speaker on the mean row of a clip; the last is 0
    clip: Tensor  # (speakers + 1, q) likewise on the vector of a clip
    owner: Tensor  # (clips,) int64: speaker of each training clip; the last, whose effects are 0, for all other clips


def speaker_effects(data: Reduced, train: Sequence[int], speakers: Sequence[str], labels: Tensor) -> SpeakerEffects:
    """Effects in the training clips that have the modality; 0 for a speaker without any.

    Args:
        data: Of all clips.
        train: Positions of the training clips.
        speakers: Of all clips.
        labels: (clips,) int64; only those of training clips are used.
    """
    train = torch.tensor(train)
    names = [speakers[i] for i in train.tolist()]
    code = {name: i for i, name in enumerate(sorted(set(names)))}
    owner = torch.full((len(data.clip),), len(code))
    owner[train] = torch.tensor([code[name] for name in names])
    some = train[data.present[train]]
    rows, clip = (
        additive_effects(of[some], owner[some], labels[some], speakers=len(code) + 1) for of in (data.means, data.clip)
    )
    return SpeakerEffects(rows, clip, owner)


def additive_effects(x: Tensor, owner: Tensor, labels: Tensor, *, speakers: int) -> Tensor:
    """Effect of each speaker, next to an effect of each class, by least squares.

    With equally many clips of each class per speaker it is the speaker's mean minus the mean of all. The plain mean of
    a speaker with mostly one class would contain that class, and transposing would remove it from the clip. What
    speaker and class could both explain counts for the class.

    Args:
        x: (n, p) vectors.
        owner: (n,) int64 speaker of each.
        labels: (n,) int64 class of each.
        speakers: Their number.

    Returns:
        (speakers, p); 0 for a speaker without any vector.
    """
    x, classes = x.double(), int(labels.max()) + 1 if len(labels) else 0
    counts = x.new_zeros(speakers, classes).index_put_((owner, labels), x.new_ones(1), accumulate=True)
    of_speaker = x.new_zeros(speakers, x.shape[1]).index_add_(0, owner, x)
    of_class = x.new_zeros(classes, x.shape[1]).index_add_(0, labels, x)
    effect = torch.zeros_like(of_speaker)
    for _ in range(ALTERNATIONS):
        class_effect = (of_class - counts.T @ effect) / counts.sum(0).clamp_min(1)[:, None]
        effect = (of_speaker - counts @ class_effect) / counts.sum(1).clamp_min(1)[:, None]
    return effect.float()


def stacked(tables: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Tables with equal columns concatenated, each table once: (all rows, p), and the first row of each table.

    Slices of one tensor, such as folds that were reduced together, are not copied.
    """
    first = tables[0]
    pitch, starts = first.stride(0), [table.storage_offset() for table in tables]
    shared = {(table.untyped_storage().data_ptr(), table.stride()) for table in tables}
    if len(shared) == 1 and first.stride(1) == 1 and all((start - starts[0]) % pitch == 0 for start in starts):
        low = min(starts)
        begin = [(start - low) // pitch for start in starts]
        rows = max(at + len(table) for at, table in zip(begin, tables, strict=True))
        return first.as_strided((rows, first.shape[1]), first.stride(), low), torch.tensor(begin)
    unique = {id(table): table for table in tables}
    ends = np.cumsum([0, *map(len, unique.values())]).tolist()
    place = dict(zip(unique, ends, strict=False))
    return torch.cat(list(unique.values())), torch.tensor([place[id(table)] for table in tables])


class _Stack:
    """Tables of several tasks stacked."""

    def __init__(self, tables: Sequence[Tensor], device: torch.device):
        values, self.begin = stacked(tables)
        self.values = values.to(device)

    def take(self, rows: Tensor) -> Tensor:
        """(tasks, ...) rows of each task's table -> (tasks, ..., p)."""
        rows = (rows + self.begin.view(-1, *[1] * (rows.dim() - 1))).to(self.values.device)
        return self.values.index_select(0, rows.flatten()).unflatten(0, rows.shape)


class _Modality:
    """One modality of the batches of all tasks."""

    def __init__(
        self, tasks: Sequence[Task], labels: Tensor, draws: Sequence[Draws], modality: Modality, device: torch.device
    ):
        data, effects = [task.data[modality] for task in tasks], self._effects(tasks, labels, modality)
        self.rows = torch.stack([d.rows[modality] for d in draws], 1)
        # The placeholder of an absent modality has no speaker: it is not transposed.
        like = [torch.where(of.present[d.clips], d.like, d.clips) for of, d in zip(data, draws, strict=True)]
        owners = [of.owner.int() for of in effects]
        self.owner = torch.stack([owner[d.clips] for owner, d in zip(owners, draws, strict=True)], 1)
        self.like = torch.stack([owner[of] for owner, of in zip(owners, like, strict=True)], 1)
        self.parts = [_Stack(parts, device) for parts in zip(*(of.rows.parts for of in data), strict=True)]
        self.factor = torch.stack([of.rows.factor for of in data])[:, None, None].to(device)
        self.clip = _Stack([of.clip for of in data], device)
        self.effect_row, self.effect_clip = (
            _Stack(tables, device) for tables in zip(*((of.rows, of.clip) for of in effects), strict=True)
        )

    @staticmethod
    def _effects(tasks: Sequence[Task], labels: Tensor, modality: Modality) -> list[SpeakerEffects]:
        """Speaker effects per task; tasks with equal data and training clips share them."""
        made: dict[tuple, SpeakerEffects] = {}
        keys = [(id(task.data[modality]), tuple(task.train)) for task in tasks]
        for key, task in zip(keys, tasks, strict=True):
            if key not in made:
                made[key] = speaker_effects(task.data[modality], task.train, task.speakers, labels)
        return [made[key] for key in keys]

    def batch(self, step: int, clips: Tensor) -> tuple[Tensor, Tensor]:
        """(tasks, batch, vectors, p) rows and (tasks, batch, q) clip vectors."""
        owner, like, rows = self.owner[step], self.like[step], self.rows[step]
        moved = self.effect_row.take(like) - self.effect_row.take(owner)
        taken = [part.take(rows) for part in self.parts]
        values = torch.addcmul(moved[:, :, None], torch.cat(taken, -1).float(), self.factor)
        return values, self.clip.take(clips) + self.effect_clip.take(like) - self.effect_clip.take(owner)


class _Steps:
    """The batches of all tasks, step by step."""

    def __init__(
        self,
        tasks: Sequence[Task],
        labels: Tensor,
        settings: TrainingSettings,
        steps: int,
        batch: int,
        device: torch.device,
    ):
        draws = [draw(task, labels, settings, steps=steps, batch=batch) for task in tasks]
        self.clips = torch.stack([d.clips for d in draws], 1)  # (steps, tasks, batch)
        self.modalities = {m: _Modality(tasks, labels, draws, m, device) for m in tasks[0].data}

    def batch(self, step: int) -> dict[Modality, tuple[Tensor, Tensor]]:
        """(tasks, batch, vectors, p) rows and (tasks, batch, q) clip vectors of each modality."""
        return {m: of.batch(step, self.clips[step]) for m, of in self.modalities.items()}


def train_together(
    new: Callable[[], Network],
    tasks: Sequence[Task],
    labels: Tensor,
    *,
    settings: TrainingSettings,
    learning_rates: Sequence[float],
    device: torch.device,
) -> list[Network]:
    """Train one network per task.

    Args:
        new: Makes a network with fresh weights; all have equal shapes.
        tasks: One per network; all have the same `step_count`.
        labels: (clips,) int64 of the whole corpus; only those of training clips are used.
        settings: The training.
        learning_rates: Initial rate of AdamW per network, with cosine decay to 0.
        device: Where to compute.

    Returns:
        The networks, on the CPU, in evaluation mode.

    Raises:
        UserError: The loss or a weight of a network became NaN or infinite.
    """
    with SEEDED:
        networks = []
        for task in tasks:
            torch.manual_seed(task.seed)
            networks.append(new())
        skeleton = new().to("meta").train()
    weights, buffers = stack_module_state(networks)
    weights = {name: value.detach().to(device).requires_grad_() for name, value in weights.items()}
    buffers = {name: value.to(device) for name, value in buffers.items()}
    ((steps, batch),) = {step_count(len(task.train), settings) for task in tasks}
    work = _Steps(tasks, labels, settings, steps, batch, device)
    masks = _masks([task.seed for task in tasks], (batch, skeleton.dropped), settings.dropout)
    inside = torch.ones(batch, settings.vectors, dtype=torch.bool, device=device)
    priors = torch.stack([class_weights(labels, task.train, settings) for task in tasks]).to(device)

    def loss_of(weights, buffers, seen, keep, label, prior):
        rows = {m: Rows(values, inside, clip) for m, (values, clip) in seen.items()}
        logits, _ = functional_call(skeleton, (weights, buffers), (rows, keep))
        loss = F.cross_entropy(logits, label, label_smoothing=settings.smoothing, reduction="none")
        return (loss * prior[label]).mean()

    losses = vmap(loss_of)
    parameters = list(weights.values())
    largest = max(learning_rates)
    optimiser = torch.optim.AdamW(parameters, lr=largest, weight_decay=settings.weight_decay, fused=True)
    slower = torch.tensor([rate / largest for rate in learning_rates], device=device)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = largest * (1 + math.cos(math.pi * step / steps)) / 2
        label = labels[work.clips[step]].to(device)
        # Each loss depends on its network's slice only: the gradient of the sum is every network's own gradient.
        loss = losses(weights, buffers, work.batch(step), next(masks).to(device), label, priors).sum()
        loss.backward()
        clip_grad_norms(parameters)
        step_of(optimiser, parameters, slower)
        optimiser.zero_grad()
        if (step + 1) % CHECKED == 0 or step + 1 == steps:
            mend = f"lower fusion.learning_rates (here up to {largest:g})"
            check_training(parameters, loss=loss.item() / len(tasks), when=f"step {step + 1}", mend=mend)
    for i, network in enumerate(networks):
        with torch.no_grad():
            for name, value in network.named_parameters():
                value.copy_(weights[name][i].half())  # the precision of the model's file, which must reproduce it
        network.eval()
    return networks


@torch.no_grad()
def step_of(optimiser: torch.optim.Optimizer, parameters: Sequence[Tensor], slower: Tensor) -> None:
    """A step of AdamW, scaled per network: AdamW's update is proportional to the learning rate.

    Args:
        optimiser: With the largest learning rate.
        parameters: The networks are the first axis.
        slower: (networks,) learning rate of each as a share of the largest.
    """
    if (slower == 1).all():
        optimiser.step()
        return
    before = [p.clone() for p in parameters]
    optimiser.step()
    for p, old in zip(parameters, before, strict=True):
        p.copy_(torch.lerp(old, p, slower.view(-1, *[1] * (p.dim() - 1))))


def _masks(seeds: Sequence[int], shape: tuple[int, int], p: float):
    """Dropout masks of all networks step by step, (networks, B, dropped); each network's come from its own seed."""
    generators = [torch.Generator().manual_seed(seed + 1) for seed in seeds]
    drawn = torch.empty(len(seeds), *shape)
    while True:
        for generator, of in zip(generators, drawn, strict=True):
            torch.rand(shape, generator=generator, out=of)
        yield (drawn >= p).float().div_(1 - p)


def class_weights(labels: Tensor, train: Sequence[int], settings: TrainingSettings) -> Tensor:
    """(classes,) weight of each class in the loss: 1, or balanced over the training clips."""
    counts = torch.bincount(labels[torch.tensor(train)], minlength=int(labels.max()) + 1).float()
    if settings.balance == "none":
        return torch.ones_like(counts)
    return counts.sum() / (counts > 0).sum() / counts.clamp_min(1)


def clip_grad_norms(parameters: Sequence[Tensor]) -> None:
    """Limit the norm of each network's gradient to `LARGEST_GRADIENT`; the networks are the first axis."""
    used = [p for p in parameters if p.grad is not None]  # max pooling does not use attention
    norms = torch.stack([torch.linalg.vector_norm(p.grad.reshape(len(p), -1), dim=1) for p in used])
    factor = (LARGEST_GRADIENT / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp_max(1)
    for p in used:
        p.grad.mul_(factor.view(-1, *[1] * (p.dim() - 1)))


def padded(data: Reduced, positions: Sequence[int]) -> Rows:
    """The rows of some clips in one modality, padded with zeros."""
    length = data.lengths[positions, None]
    place = torch.arange(int(length.max()))
    inside = place < length
    values = data.rows[data.offsets[:-1][positions, None] + place.minimum(length - 1)]
    return Rows(values * inside[..., None], inside, data.clip[positions])


def predict(
    network: Network, data: Mapping[Modality, Reduced], positions: Sequence[int], *, at_once: int = AT_ONCE
) -> tuple[Tensor, dict[Modality, list[Tensor]]]:
    """Predict.

    Args:
        network: The network.
        data: Of all clips.
        positions: The clips.
        at_once: Maximum rows of padded clips in memory, unless a single clip has more.

    Returns:
        (len(positions), classes) logits, float64, and the attention weights (L,) of each clip by modality.
    """
    logits, weights = [], {m: [] for m in network.branches}
    longest = max(int(data[m].lengths[list(positions)].max()) for m in network.branches)
    clips = max(1, at_once // longest)
    with torch.inference_mode():
        for start in range(0, len(positions), clips):
            some = list(positions[start : start + clips])
            batch = {m: padded(data[m], some) for m in network.branches}
            found, alpha = network(batch)
            logits.append(found.double())
            for m, of in alpha.items():
                weights[m] += [row[own] for row, own in zip(of, batch[m].inside, strict=True)]
    return torch.cat(logits), weights
