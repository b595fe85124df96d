"""Many networks trained in one computation: their weights are stacked, one slice per network.

A network's numbers depend on its own task alone: trained together or one by one they are equal up to rounding. A step
costs Python once for all networks, which is what training small networks costs.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from deepfusion.config import TrainingSettings
from deepfusion.fusion.finite import check_training
from deepfusion.fusion.network import Network, Rows
from deepfusion.fusion.streams import Modality

# The signed square root is steep near zero: a single step must not throw the weights away.
LARGEST_GRADIENT = 1.0
CHECKED = 50  # steps between two looks at whether training has diverged
GRAIN = 1.1  # training clips are counted in powers of it: folds of about equally many make equally many steps


@dataclass(frozen=True)
class Reduced:
    """One modality of all clips of a corpus, reduced: what networks are trained on."""

    rows: Tensor  # (L, p), the rows of all clips concatenated; a clip without any has one of zeros, the training mean
    offsets: Tensor  # (clips + 1,) int64
    clip: Tensor  # (clips, q)

    @property
    def lengths(self) -> Tensor:
        """(clips,) rows of each clip."""
        return self.offsets.diff()

    @property
    def present(self) -> Tensor:
        """(clips,) bool: which clips have the modality; the row of zeros of the others is no measurement."""
        return (self.lengths > 1) | self.rows[self.offsets[:-1]].any(1)


@dataclass(frozen=True)
class Task:
    """What one network learns from."""

    data: Mapping[Modality, Reduced]  # of all clips of the corpus; tasks of a fold share the objects
    train: Sequence[int]  # positions of its training clips
    speakers: Sequence[str]  # of all clips
    seed: int  # decides its initial weights, what its steps draw, and its dropout


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
    """What the steps of one network see."""

    clips: Tensor  # (steps, batch) int64
    like: Tensor  # (steps, batch) int64: a clip of the speaker to whom each one is transposed; itself: to nobody
    rows: dict[Modality, Tensor]  # (steps, batch, vectors) int64


def draw(task: Task, settings: TrainingSettings, *, steps: int, batch: int) -> Draws:
    """Clips in random order, each once before any comes again; of each clip, rows spread evenly over its length.

    A share of them is transposed to the speaker of another training clip, drawn at random.
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
        rows[modality] = (of.offsets[order, None] + inside).view(steps, batch, count)
    other = train[torch.randint(len(train), (wanted,), generator=generator)]
    like = torch.where(torch.rand(wanted, generator=generator) < settings.transposed, other, order)
    return Draws(order.view(steps, batch), like.view(steps, batch), rows)


def speaker_means(data: Reduced, train: Sequence[int], speakers: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Mean row (clips, p) and mean clip vector (clips, q) of the speaker of each training clip; 0 for other clips.

    Means are over the training clips that have the modality; 0 for a speaker without any.

    Transposing a clip from one speaker to another subtracts the first one's mean and adds the second one's: a network
    that sees every clip in many voices and on many faces cannot rely on whose they are. Its linear relative is
    within-class covariance normalisation (Hatch, Kajarekar and Stolcke 2006). Streams that are normalised by speaker
    have means of about zero: there it does nothing.
    """
    rows, clip = data.rows.new_zeros(len(data.clip), data.rows.shape[1]), torch.zeros_like(data.clip)
    train = torch.tensor(train)
    owner = torch.repeat_interleave(torch.arange(len(data.clip)), data.lengths)
    per_clip = rows.index_add(0, owner, data.rows) / data.lengths[:, None]
    names = [speakers[i] for i in train.tolist()]
    for speaker in sorted(set(names)):
        own = train[[i for i, name in enumerate(names) if name == speaker]]
        some = own[data.present[own]]
        if len(some):
            rows[own], clip[own] = per_clip[some].mean(0), data.clip[some].mean(0)
    return rows, clip


class _Stack:
    """Tables of several tasks concatenated, each table once, and where each task's begins."""

    def __init__(self, tables: Sequence[Tensor], device: torch.device):
        begins, values, total = {}, [], 0
        for table in tables:
            if id(table) not in begins:
                begins[id(table)] = total
                values.append(table)
                total += len(table)
        # One fold at a time, as with large corpora, costs no copy.
        self.values = (values[0] if len(values) == 1 else torch.cat(values)).to(device)
        self.begin = torch.tensor([begins[id(table)] for table in tables])

    def take(self, rows: Tensor) -> Tensor:
        """(tasks, ...) rows of each task's table -> (tasks, ..., p)."""
        rows = (rows + self.begin.view(-1, *[1] * (rows.dim() - 1))).to(self.values.device)
        return self.values.index_select(0, rows.flatten()).unflatten(0, rows.shape)


class _Steps:
    """The batches of all tasks, step by step."""

    def __init__(self, tasks: Sequence[Task], settings: TrainingSettings, steps: int, batch: int, device: torch.device):
        draws = [draw(task, settings, steps=steps, batch=batch) for task in tasks]
        self.clips = torch.stack([d.clips for d in draws], 1)  # (steps, tasks, batch)
        self.modalities: list[Modality] = list(tasks[0].data)
        # What stands in for an absent modality is nobody's: it is not transposed.
        self.like = {
            m: torch.stack(
                [torch.where(t.data[m].present[d.clips], d.like, d.clips) for t, d in zip(tasks, draws, strict=True)], 1
            )
            for m in self.modalities
        }
        self.rows = {m: torch.stack([d.rows[m] for d in draws], 1) for m in self.modalities}
        means = {m: self._means(tasks, m) for m in self.modalities}
        self.tables = {
            m: (
                _Stack([task.data[m].rows for task in tasks], device),
                _Stack([task.data[m].clip for task in tasks], device),
                _Stack([rows for rows, _ in means[m]], device),
                _Stack([clip for _, clip in means[m]], device),
            )
            for m in self.modalities
        }

    @staticmethod
    def _means(tasks: Sequence[Task], modality: Modality) -> list[tuple[Tensor, Tensor]]:
        """`speaker_means` of each task; tasks with equal data and training clips share them."""
        made: dict[tuple, tuple[Tensor, Tensor]] = {}
        for task in tasks:
            key = (id(task.data[modality]), tuple(task.train))
            if key not in made:
                made[key] = speaker_means(task.data[modality], task.train, task.speakers)
        return [made[id(task.data[modality]), tuple(task.train)] for task in tasks]

    def batch(self, step: int) -> dict[Modality, tuple[Tensor, Tensor]]:
        """(tasks, batch, vectors, p) rows and (tasks, batch, q) clip vectors of each modality."""
        clips, seen = self.clips[step], {}
        for m in self.modalities:
            like = self.like[m][step]
            rows, whole, mean_row, mean_clip = self.tables[m]
            moved = mean_row.take(like) - mean_row.take(clips)
            values = rows.take(self.rows[m][step]) + moved[:, :, None]
            seen[m] = (values, whole.take(clips) + mean_clip.take(like) - mean_clip.take(clips))
        return seen


def train_together(
    new: Callable[[], Network],
    tasks: Sequence[Task],
    labels: Tensor,
    *,
    settings: TrainingSettings,
    learning_rate: float,
    device: torch.device,
) -> list[Network]:
    """Train one network per task.

    Args:
        new: Makes a network with fresh weights; all have equal shapes.
        tasks: One per network; all have the same `step_count`.
        labels: (clips,) int64 of the whole corpus; those of training clips alone are looked at.
        settings: The training.
        learning_rate: Of AdamW at the first step; falls to 0 along a cosine.
        device: Where to compute.

    Returns:
        The networks, on the CPU, in evaluation mode.

    Raises:
        UserError: The loss or a weight of a network became NaN or infinite.
    """
    networks = []
    for task in tasks:
        torch.manual_seed(task.seed)
        networks.append(new())
    skeleton = new().to("meta").train()
    weights, buffers = stack_module_state(networks)
    weights = {name: value.detach().to(device).requires_grad_() for name, value in weights.items()}
    buffers = {name: value.to(device) for name, value in buffers.items()}
    ((steps, batch),) = {step_count(len(task.train), settings) for task in tasks}
    work = _Steps(tasks, settings, steps, batch, device)
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
    optimiser = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=settings.weight_decay, fused=True)
    for step in range(steps):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate * (1 + math.cos(math.pi * step / steps)) / 2
        label = labels[work.clips[step]].to(device)
        # Each network's loss touches its own slice alone: the sum's gradient is every network's own.
        loss = losses(weights, buffers, work.batch(step), next(masks).to(device), label, priors).sum()
        loss.backward()
        clip_grad_norms(parameters)
        optimiser.step()
        optimiser.zero_grad()
        if (step + 1) % CHECKED == 0 or step + 1 == steps:
            mend = f"lower fusion.learning_rates (here {learning_rate:g})"
            check_training(parameters, loss=loss.item() / len(tasks), when=f"step {step + 1}", mend=mend)
    for i, network in enumerate(networks):
        with torch.no_grad():
            for name, value in network.named_parameters():
                value.copy_(weights[name][i])
        network.eval()
    return networks


def _masks(seeds: Sequence[int], shape: tuple[int, int], p: float):
    """Dropout masks of all networks step by step, (networks, B, dropped); each network's come from its own seed."""
    generators = [torch.Generator().manual_seed(seed + 1) for seed in seeds]
    while True:
        drawn = torch.stack([torch.rand(shape, generator=generator) for generator in generators])
        yield (drawn >= p).float() / (1 - p)


def class_weights(labels: Tensor, train: Sequence[int], settings: TrainingSettings) -> Tensor:
    """(classes,) weight of a clip of each class in the loss: 1, or such that all classes count alike."""
    counts = torch.bincount(labels[torch.tensor(train)], minlength=int(labels.max()) + 1).float()
    if settings.balance == "none":
        return torch.ones_like(counts)
    return counts.sum() / (counts > 0).sum() / counts.clamp_min(1)


def clip_grad_norms(parameters: Sequence[Tensor]) -> None:
    """Limit the norm of each network's gradient to `LARGEST_GRADIENT`; the networks are the first axis."""
    used = [p for p in parameters if p.grad is not None]  # attention has no part in pooling by maximum
    norms = torch.stack([torch.linalg.vector_norm(p.grad.reshape(len(p), -1), dim=1) for p in used])
    factor = (LARGEST_GRADIENT / (torch.linalg.vector_norm(norms, dim=0) + 1e-6)).clamp_max(1)
    for p in used:
        p.grad.mul_(factor.view(-1, *[1] * (p.dim() - 1)))


def padded(data: Reduced, positions: Sequence[int]) -> Rows:
    """One modality of some clips: their rows, zero after a clip's own."""
    parts = [data.rows[data.offsets[i] : data.offsets[i + 1]] for i in positions]
    values = pad_sequence(parts, batch_first=True)
    return Rows(values, torch.arange(values.shape[1]) < data.lengths[positions, None], data.clip[positions])


def predict(
    network: Network, data: Mapping[Modality, Reduced], positions: Sequence[int], *, at_once: int = 256
) -> tuple[Tensor, dict[Modality, list[Tensor]]]:
    """(len(positions), classes) logits, float64, and the attention weights (L,) of each clip by modality."""
    logits, weights = [], {m: [] for m in network.branches}
    with torch.inference_mode():
        for start in range(0, len(positions), at_once):
            some = list(positions[start : start + at_once])
            batch = {m: padded(data[m], some) for m in network.branches}
            found, alpha = network(batch)
            logits.append(found.double())
            for m, of in alpha.items():
                weights[m] += [row[own] for row, own in zip(of, batch[m].inside, strict=True)]
    return torch.cat(logits), weights
