"""Many heads trained in one computation: their weights are stacked, one slice a head.

A head's numbers depend on its own task alone, never on its company: trained together or one by one they are equal
up to rounding (and up to dropout's draws). A step costs Python once for all heads, which is what training small heads
costs.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from deepfusion.config import HeadSettings
from deepfusion.fusion.finite import check_training
from deepfusion.fusion.tokens import Tokens

# The signed square root is steep near zero: a single step must not throw the weights away.
LARGEST_GRADIENT = 1.0
CHECKED = 50  # steps between two looks at whether training has diverged


@dataclass(frozen=True)
class Task:
    """What one head learns from."""

    sound: Tokens  # of all clips of the corpus; tasks of a fold share the object
    faces: Tokens
    train: Sequence[int]  # positions of its training clips
    speakers: Sequence[str]  # of all clips
    seed: int  # decides its initial weights and what its steps draw


@dataclass(frozen=True)
class Draws:
    """What the steps of one head see."""

    clips: Tensor  # (steps, batch) int64
    like: Tensor  # (steps, batch) int64: a clip of the speaker to whom each one is transposed; itself: to nobody
    sound: Tensor  # (steps, batch, tokens) int64 rows of its tokens
    faces: Tensor


def draw(task: Task, settings: HeadSettings) -> Draws:
    """Clips in random order, each once before any comes again; of each clip, tokens spread evenly over its length.

    A share of them is transposed to the speaker of another training clip, drawn at random.
    """
    generator = torch.Generator().manual_seed(task.seed)
    train = torch.tensor(task.train)
    wanted = settings.steps * settings.batch
    passes = -(-wanted // len(train))
    order = torch.cat([train[torch.randperm(len(train), generator=generator)] for _ in range(passes)])[:wanted]

    def rows(tokens: Tokens) -> Tensor:
        at = torch.arange(settings.tokens) + torch.rand(wanted, settings.tokens, generator=generator)
        length = tokens.lengths[order, None]
        inside = (at / settings.tokens * length).long().minimum(length - 1)
        return (tokens.offsets[order, None] + inside).unflatten(0, (settings.steps, settings.batch))

    sound, faces = rows(task.sound), rows(task.faces)
    other = train[torch.randint(len(train), (wanted,), generator=generator)]
    like = torch.where(torch.rand(wanted, generator=generator) < settings.transposed, other, order)
    clips, like = (positions.view(settings.steps, settings.batch) for positions in (order, like))
    return Draws(clips, like, sound, faces)


def speaker_means(tokens: Tokens, train: Sequence[int], speakers: Sequence[str]) -> Tensor:
    """(clips, p): the mean token of the speaker of each training clip, over training clips; zero for other clips.

    Transposing a clip from one speaker to another takes the first one's mean away and adds the second one's: a head
    that sees every clip in many voices and on many faces cannot lean on whose they are. The linear relative of this is
    within-class covariance normalisation (Hatch, Kajarekar and Stolcke 2006). Tokens that are normalised by speaker
    have means of about zero: there it does nothing.
    """
    means = tokens.vectors.new_zeros(len(tokens), tokens.vectors.shape[1])
    for speaker in sorted({speakers[i] for i in train}):
        own = [i for i in train if speakers[i] == speaker]
        means[own] = torch.stack([tokens.vectors[tokens.offsets[i] : tokens.offsets[i + 1]].mean(0) for i in own]).mean(
            0
        )
    return means


class _Stack:
    """Tables of several tasks behind one another, each table once, and where each task's begins."""

    def __init__(self, tables: Sequence[Tensor], device: torch.device):
        unique = {id(table): table for table in tables}
        lengths = [len(table) for table in unique.values()]
        begins = dict(zip(unique, [sum(lengths[:i]) for i in range(len(lengths))], strict=True))
        self.values = torch.cat(list(unique.values())).to(device)
        self.begin = torch.tensor([begins[id(table)] for table in tables])

    def take(self, rows: Tensor) -> Tensor:
        """(tasks, ...) rows of each task's table -> (tasks, ..., p)."""
        rows = (rows + self.begin.view(-1, *[1] * (rows.dim() - 1))).to(self.values.device)
        return self.values.index_select(0, rows.flatten()).unflatten(0, rows.shape)


def train_together(
    new_head: Callable[[], nn.Module],
    tasks: Sequence[Task],
    labels: Tensor,
    *,
    settings: HeadSettings,
    device: torch.device,
) -> list[nn.Module]:
    """Train one head a task.

    Args:
        new_head: Makes a head with fresh weights; all heads have equal shapes.
        tasks: One a head.
        labels: (clips,) int64 of the whole corpus; those of training clips alone are looked at.
        settings: The training.
        device: Where to compute.

    Returns:
        The heads, on the CPU, in evaluation mode.

    Raises:
        UserError: The loss or a weight of a head became NaN or infinite.
    """
    heads = []
    for task in tasks:
        torch.manual_seed(task.seed)
        heads.append(new_head())
    skeleton = new_head().to("meta").train()
    weights, buffers = stack_module_state(heads)
    weights = {name: value.detach().to(device).requires_grad_() for name, value in weights.items()}
    buffers = {name: value.to(device) for name, value in buffers.items()}
    draws = [draw(task, settings) for task in tasks]
    clips = torch.stack([d.clips for d in draws], 1)  # (steps, tasks, batch)
    like = torch.stack([d.like for d in draws], 1)
    kinds = ("sound", "faces")
    rows = {kind: torch.stack([getattr(d, kind) for d in draws], 1) for kind in kinds}
    tables = {kind: _Stack([getattr(t, kind).vectors for t in tasks], device) for kind in kinds}
    means = {kind: _Stack(_means(tasks, kind), device) for kind in kinds}
    inside = torch.ones(settings.batch, settings.tokens, dtype=torch.bool, device=device)

    def loss_of(weights, buffers, sound, faces, label):
        logits, _ = functional_call(skeleton, (weights, buffers), (sound, inside, faces, inside))
        return F.cross_entropy(logits, label, label_smoothing=settings.smoothing)

    losses = vmap(loss_of, randomness="different")
    parameters = list(weights.values())
    optimiser = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True)
    for step in range(settings.steps):
        for group in optimiser.param_groups:
            group["lr"] = settings.learning_rate * (1 + math.cos(math.pi * step / settings.steps)) / 2
        label = labels[clips[step]].to(device)
        seen = []
        for kind in kinds:
            shift = means[kind].take(like[step]) - means[kind].take(clips[step])
            seen.append(tables[kind].take(rows[kind][step]).add_(shift[:, :, None]))
        # Each head's loss touches its own slice alone: the sum's gradient is every head's own.
        loss = losses(weights, buffers, *seen, label).sum()
        loss.backward()
        shorten(parameters)
        optimiser.step()
        optimiser.zero_grad()
        if (step + 1) % CHECKED == 0 or step + 1 == settings.steps:
            mend = f"lower study.learning_rates (here {settings.learning_rate:g})"
            check_training(parameters, loss=loss.item() / len(tasks), when=f"step {step + 1}", mend=mend)
    for i, head in enumerate(heads):
        with torch.no_grad():
            for name, value in head.named_parameters():
                value.copy_(weights[name][i])
        head.eval()
    return heads


def _means(tasks: Sequence[Task], kind: str) -> list[Tensor]:
    """`speaker_means` of each task; tasks with equal tokens and training clips share them."""
    made: dict[tuple, Tensor] = {}
    found = []
    for task in tasks:
        tokens = getattr(task, kind)
        key = (id(tokens), tuple(task.train))
        if key not in made:
            made[key] = speaker_means(tokens, task.train, task.speakers)
        found.append(made[key])
    return found


def shorten(parameters: Sequence[Tensor]) -> None:
    """Limit the length of each head's gradient to `LARGEST_GRADIENT`; the heads are the first axis."""
    used = [p for p in parameters if p.grad is not None]  # attention has no part in pooling by maximum
    lengths = torch.stack([torch.linalg.vector_norm(p.grad.reshape(len(p), -1), dim=1) for p in used])
    factor = (LARGEST_GRADIENT / (torch.linalg.vector_norm(lengths, dim=0) + 1e-6)).clamp_max(1)
    for p in used:
        p.grad.mul_(factor.view(-1, *[1] * (p.dim() - 1)))


def padded(tokens: Tokens, positions: Sequence[int]) -> tuple[Tensor, Tensor]:
    """(B, T, p) tokens of these clips, zero behind a clip's own, and (B, T) which are its own."""
    parts = [tokens.vectors[tokens.offsets[i] : tokens.offsets[i + 1]] for i in positions]
    values = pad_sequence(parts, batch_first=True)
    return values, torch.arange(values.shape[1]) < tokens.lengths[positions, None]


def judge(head: nn.Module, task: Task, positions: Sequence[int]) -> tuple[Tensor, dict[str, Tensor]]:
    """(len(positions), classes) probabilities, float64, and attention weights of all tokens of these clips in order."""
    (sound, heard), (faces, seen) = (padded(tokens, positions) for tokens in (task.sound, task.faces))
    with torch.inference_mode():
        logits, weights = head(sound, heard, faces, seen)
    inside = {"sound": heard, "faces": seen}
    return logits.double().softmax(1), {kind: alpha[inside[kind]] for kind, alpha in weights.items()}
