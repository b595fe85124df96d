"""Nested cross-validation: selection on inner folds of the training clips, each test clip predicted once per seed."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import product
from typing import TypeVar

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

from deepfusion.config import FusionSettings
from deepfusion.errors import UserError
from deepfusion.fusion.batched_training import Reduced, Task, predict, step_count, train_together
from deepfusion.fusion.corpus import Corpus, FoldData
from deepfusion.fusion.network import Design, Network, Sizes
from deepfusion.fusion.parts import Part
from deepfusion.fusion.side_by_side import side_by_side
from deepfusion.fusion.streams import Modality

T = TypeVar("T")
log = logging.getLogger(__name__)

# Maximum networks per computation, and maximum parameters of all of them: more take memory and gain nothing. With
# gradients and AdamW's moments this is about 0.7 GB.
TOGETHER, PARAMETERS = 128, 2**25
# Minimum networks per computation: fewer are not faster, because Python overhead dominates.
LEAST = 16
MEMBER_SEEDS = 1000  # seed s has the members s * MEMBER_SEEDS + 0, 1, ...
TEMPERATURES = (-3.0, 3.0)  # bounds of the logarithm; e^3: a network by chance, whose probabilities become equal


@dataclass(frozen=True)
class Row:
    """One model of the study: its network and its streams."""

    name: str
    design: Design
    streams: Mapping[Modality, tuple[str, ...]]
    changes: Mapping[str, object] = field(default_factory=dict)  # overridden keys of `fusion`

    def settings(self, settings: FusionSettings) -> FusionSettings:
        """The settings of this model."""
        return FusionSettings.model_validate({**settings.model_dump(by_alias=True), **self.changes})


@dataclass(frozen=True)
class Candidate:
    """Hyperparameters that the inner folds select."""

    learning_rate: float
    axes: int


def joined_curves(curve: list[dict], other: list[dict]) -> list[dict]:
    """A search curve with the losses and accuracies of further folds added."""
    return [
        {**a, "loss": a["loss"] + b["loss"], "accuracy": a["accuracy"] + b["accuracy"]}
        for a, b in zip(curve, other, strict=True)
    ]


@dataclass(frozen=True)
class Member:
    """One network of a model: its hyperparameters, and what divides its logits."""

    candidate: Candidate
    temperature: float  # fitted on the inner folds' validation clips


@dataclass(frozen=True)
class Choice:
    """The members of a model, selected by nested cross-validation, per fold, with the search curve."""

    members: list[list[Member]]  # of each fold, the best first
    held: list[np.ndarray]  # of each fold, positions of all inner validation clips
    probabilities: list[np.ndarray]  # of these clips, (clips, classes): mean of the members' inner networks, calibrated
    curve: list[dict]  # of each candidate: its values, and calibrated loss and accuracy of every fold

    def extended(self, other: "Choice") -> "Choice":
        """The choices of further folds added."""
        return Choice(
            self.members + other.members,
            self.held + other.held,
            self.probabilities + other.probabilities,
            joined_curves(self.curve, other.curve),
        )


@dataclass(frozen=True)
class Bench:
    """Data and settings that all models share."""

    corpus: Corpus
    parts: Sequence[Part]
    data: Sequence[FoldData]  # of each part
    settings: FusionSettings
    device: torch.device
    made: dict[tuple, Reduced] = field(default_factory=dict)

    def modalities(self, row: Row, fold: int, axes: int) -> dict[Modality, Reduced]:
        """The data of a row in a fold; equal requests share the object and its cached properties."""
        for names in row.streams.values():
            key = (fold, axes, names)
            if key not in self.made:
                self.made[key] = self.data[fold].modality(names, axes=axes)
        return {m: self.made[fold, axes, names] for m, names in row.streams.items()}


def sizes(data: Mapping[Modality, Reduced]) -> dict[Modality, Sizes]:
    """Lengths of reduced streams."""
    return {m: Sizes(of.rows.shape[1], of.clip.shape[1]) for m, of in data.items()}


@dataclass(frozen=True)
class Place:
    """One network that is to be trained."""

    fold: int
    train: Sequence[int]  # positions of its training clips
    seed: int
    candidate: Candidate


def train_row(
    bench: Bench,
    row: Row,
    places: Sequence[Place],
    use: Callable[[int, Network, Mapping[Modality, Reduced]], T],
) -> list[T]:
    """Train the networks of one model, each with the data of its fold.

    Args:
        bench: What all models share.
        row: The model.
        places: The networks.
        use: Called with the index of each place, its trained network and its data. A network is in memory only until
            then, unless the result contains it.

    Returns:
        The results of `use`.

    Raises:
        UserError: A training diverged.
    """
    settings = row.settings(bench.settings)
    shape, training = settings.shape, settings.training
    speakers = bench.corpus.speakers
    tasks = [Task(bench.modalities(row, of.fold, of.candidate.axes), of.train, speakers, of.seed) for of in places]
    # Networks of equal shape and number of steps train together; folds with few clips may have fewer principal axes.
    groups: dict[tuple, list[int]] = {}
    for i, task in enumerate(tasks):
        key = (tuple(sizes(task.data).items()), step_count(len(task.train), training))
        groups.setdefault(key, []).append(i)
    classes = len(bench.corpus.labels)
    threads = torch.get_num_threads() if bench.device.type == "cpu" else 1
    work = []
    for (shapes, _), group in groups.items():
        new = partial(Network, dict(shapes), classes, design=row.design, shape=shape)
        with torch.device("meta"):
            parameters = sum(p.numel() for p in new().parameters())
        at_once = min(TOGETHER, max(LEAST, -(-len(group) // threads)), max(1, PARAMETERS // parameters))
        work += [(new, group[start : start + at_once]) for start in range(0, len(group), at_once)]

    def train(new: Callable[[], Network], some: list[int]) -> list[T]:
        networks = train_together(
            new,
            [tasks[i] for i in some],
            bench.corpus.label,
            settings=training,
            learning_rates=[places[i].candidate.learning_rate for i in some],
            device=bench.device,
        )
        return [use(i, network, tasks[i].data) for i, network in zip(some, networks, strict=True)]

    try:
        results = side_by_side(train, work, threads)
    except UserError as error:
        raise UserError(f"{row.name}: {error}") from error
    by_place = {
        i: result for (_, some), of in zip(work, results, strict=True) for i, result in zip(some, of, strict=True)
    }
    return [by_place[i] for i in range(len(places))]


Validation = list[tuple[np.ndarray, np.ndarray]]
"""For every fold, positions (clips,) and logits (clips, classes) of the inner folds' validation clips."""


def validate(bench: Bench, row: Row, candidates: Sequence[Candidate]) -> list[Validation]:
    """Predictions of each candidate's networks for the inner folds' validation clips."""
    seed = bench.settings.seeds[0] * MEMBER_SEEDS
    inner = [
        (c, held, Place(i, train, seed, candidate))
        for c, candidate in enumerate(candidates)
        for i, part in enumerate(bench.parts)
        for train, held in part.inner
    ]

    def logits(i: int, network: Network, data: Mapping[Modality, Reduced]) -> np.ndarray:
        _, held, _ = inner[i]
        return predict(network, data, held)[0].numpy()

    found: list[list[list]] = [[[] for _ in bench.parts] for _ in candidates]
    predicted = train_row(bench, row, [place for *_, place in inner], logits)
    for (c, held, place), of in zip(inner, predicted, strict=True):
        found[c][place.fold].append((held, of))
    return [[tuple(map(np.concatenate, zip(*fold, strict=True))) for fold in of] for of in found]


@dataclass(frozen=True)
class InnerScores:
    """A candidate on the inner validation clips of each fold."""

    temperature: np.ndarray  # (folds,) divides the logits
    loss: np.ndarray  # (folds,) mean cross-entropy in nats, calibrated
    accuracy: np.ndarray  # (folds,)


def inner_scores(bench: Bench, row: Row, validation: Validation) -> InnerScores:
    """Calibrate a candidate on the inner validation clips of each fold that have the modalities of the row.

    `predict` asks a model about no other clips; where a fold has only others, all count.
    """
    label = bench.corpus.label.numpy()
    there = np.all([bench.corpus.has(m) for m in row.design.modalities], axis=0)
    found = []
    for held, logits in validation:
        some = there[held] if there[held].any() else np.full(len(held), True)
        right = logits.argmax(1) == label[held]
        found.append((*calibrate(logits[some], label[held][some]), right[some].mean()))
    return InnerScores(*np.array(found).T)


def calibrate(logits: np.ndarray, label: np.ndarray) -> tuple[float, float]:
    """The temperature that fits some clips, and their cross-entropy in nats at that temperature.

    It is fitted to smoothed targets, (n + 1) / (n + k) for the label and 1 / (n + k) for the other classes (n clips, k
    classes): without them, a few clips that are all predicted right would make the model certain of everything.

    Sources: Guo et al., "On Calibration of Modern Neural Networks", ICML 2017; the targets: Platt, "Probabilistic
    Outputs for Support Vector Machines", 1999.
    """
    n, k = logits.shape
    targets = (np.eye(k)[label] * n + 1) / (n + k)

    def loss(log_t: float, wanted: np.ndarray) -> float:
        return float(-(wanted * log_softmax(logits / np.exp(log_t), axis=1)).sum(1).mean())

    found = minimize_scalar(loss, args=(targets,), bounds=TEMPERATURES, method="bounded").x
    return float(np.exp(found)), loss(found, np.eye(k)[label])


def choose(bench: Bench, row: Row) -> Choice:
    """The `fusion.members` candidates with the lowest inner losses in each fold, each with its temperature.

    Several candidates are better than several networks of the best one, because inner folds of few speakers cannot
    tell the best from the next. If there are fewer candidates than members, they are taken in turn. Losses are compared
    after calibration, because calibrated networks predict: otherwise an overconfident candidate would lose to a
    weaker one.
    """
    candidates = [Candidate(*pair) for pair in product(bench.settings.learning_rates, bench.settings.axes)]
    found = validate(bench, row, candidates)
    scored = [inner_scores(bench, row, of) for of in found]
    folds = range(len(bench.parts))
    order = np.argsort([of.loss for of in scored], axis=0, kind="stable")  # (candidates, folds), the best first
    best = [[order[i % len(order), fold] for i in range(row.settings(bench.settings).members)] for fold in folds]
    return Choice(
        members=[[Member(candidates[i], float(scored[i].temperature[fold])) for i in best[fold]] for fold in folds],
        held=[found[0][fold][0] for fold in folds],
        probabilities=[
            np.mean([softmax(found[i][fold][1] / scored[i].temperature[fold], axis=1) for i in best[fold]], axis=0)
            for fold in folds
        ],
        curve=[
            {**vars(c), "loss": of.loss.tolist(), "accuracy": of.accuracy.tolist()}
            for c, of in zip(candidates, scored, strict=True)
        ],
    )


@dataclass(frozen=True)
class Tested:
    """Predictions of one model on the test clips of all folds."""

    probabilities: np.ndarray  # (seeds, clips, classes) calibrated; NaN for untested clips and seeds that the row lacks
    attention: dict[int, dict[Modality, np.ndarray]]  # position of a clip -> (L,) mean over seeds and members


def places_of(choice: Choice, fold: int, part: Part, seed: int) -> list[Place]:
    """The networks of one model, trained on all training clips of a fold."""
    return [
        Place(fold, part.train, seed * MEMBER_SEEDS + i, member.candidate)
        for i, member in enumerate(choice.members[fold])
    ]


Refine = Callable[[int, Candidate, int, Network], tuple[Network, Mapping[Modality, Reduced]]]
"""Fold, its candidate, seed, trained network -> a further trained network, with data of the test clips."""


def test(bench: Bench, row: Row, choice: Choice, refine: Refine | None = None, *, attention: bool = False) -> Tested:
    """Train the members of each fold on all its training clips, and predict its test clips.

    Args:
        bench: What all models share.
        row: The model.
        choice: Of every fold.
        refine: Further training of each network, see `end_to_end.refiner`.
        attention: Whether to return attention weights.
    """
    settings, corpus, seeds = row.settings(bench.settings), bench.corpus, bench.settings.seeds
    p = np.full((len(seeds), len(corpus.table), len(corpus.labels)), np.nan)
    attended: dict[int, dict[Modality, np.ndarray]] = {}
    share = 1 / (len(settings.seeds) * settings.members)
    places = [
        (seeds.index(seed), member, place)
        for i, part in enumerate(bench.parts)
        if part.test
        for seed in settings.seeds
        for member, place in zip(choice.members[i], places_of(choice, i, part, seed), strict=True)
    ]

    def answers(i: int, network: Network, data: Mapping[Modality, Reduced]) -> tuple[torch.Tensor, dict]:
        *_, place = places[i]
        if refine is not None:
            network, data = refine(place.fold, place.candidate, place.seed, network)
        return predict(network, data, bench.parts[place.fold].test)

    predicted = train_row(bench, row, [place for *_, place in places], answers)
    for (s, member, place), (logits, weights) in zip(places, predicted, strict=True):
        positions = bench.parts[place.fold].test
        probabilities = softmax(logits.numpy() / member.temperature, axis=1) / settings.members
        p[s, positions] = np.nan_to_num(p[s, positions]) + probabilities
        for m, of in weights.items() if attention else ():
            for position, alpha in zip(positions, of, strict=True):
                entry = attended.setdefault(position, {})
                entry[m] = entry.get(m, 0) + share * alpha.numpy()
    return Tested(p, attended)


def accuracy(probabilities: np.ndarray, corpus: Corpus) -> float:
    """Share of right predictions of (seeds, clips, classes), over the tested clips and all seeds."""
    tested = ~np.isnan(probabilities[..., 0])
    right = probabilities.argmax(2) == corpus.label.numpy()
    return float(right[tested].mean())


def sweep(bench: Bench, row: Row, what: str, values: Sequence, candidate: Candidate) -> list[dict]:
    """Inner loss and accuracy of a model over one setting, all others as configured."""
    curve = []
    for value in values:
        changed = replace(row, changes={**row.changes, what: value})
        of = inner_scores(bench, row, validate(bench, changed, [candidate])[0])
        curve.append({"value": value, "loss": of.loss.tolist(), "accuracy": of.accuracy.tolist()})
    return curve
