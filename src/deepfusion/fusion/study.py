"""The fusion study: every way to join sound and faces, on the same features, folds, seeds and budget.

A fold's choices (learning rate, length of the windows of sound, weights of late fusion) are made on inner folds of its
training speakers; its test speakers are judged once.
"""

import json
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from deepfusion.atomic import write_atomically
from deepfusion.config import HeadSettings, StudySettings
from deepfusion.corpora import guard
from deepfusion.corpora.folds import Fold
from deepfusion.corpora.needs import doubts, need
from deepfusion.errors import UserError
from deepfusion.fusion import classical
from deepfusion.fusion.absent import EXPLAINED, absence, absent_rows, missing_modalities
from deepfusion.fusion.attention_file import write_attention_file
from deepfusion.fusion.evaluate import predictions_table
from deepfusion.fusion.heads import JOINS, Design, Head
from deepfusion.fusion.late import mean, product_of, weight_of, weighted
from deepfusion.fusion.study_corpus import LANDMARKS, Corpus, read_corpus
from deepfusion.fusion.together import Task, judge, train_together
from deepfusion.fusion.tokens import Normalisation, Tokens, joined, normalise, principal

log = logging.getLogger(__name__)

EF = "EF"  # the face features of all networks, joined
ALL = "all"  # both
LATE = ("late_mean", "late_product", "late_learned")
ENSEMBLE = "fbp_ensemble"


def designs(slots: Sequence[str]) -> dict[str, tuple[Design, str]]:
    """Name of each trained head -> what it is made of, and the face features it sees."""
    kinds = (*slots, EF, LANDMARKS)
    heads = {"audio": (Design("sound"), slots[0])}
    heads |= {kind: (Design("faces"), kind) for kind in kinds}
    heads |= {"video": (Design("faces"), ALL)}
    heads |= {f"video_{pooling}": (Design("faces", pooling=pooling), ALL) for pooling in ("mean", "max")}
    heads |= {join: (Design("both", join), ALL) for join in JOINS}
    heads |= {f"fbp_{pooling}": (Design("both", "fbp", pooling), ALL) for pooling in ("mean", "max")}
    heads |= {f"fbp_{kind}": (Design("both", "fbp"), kind) for kind in kinds}
    return heads


@dataclass(frozen=True)
class Candidate:
    """What the inner folds choose among."""

    window: float  # s
    learning_rate: float

    def settings(self, head: HeadSettings) -> HeadSettings:
        """The head's settings with this learning rate."""
        return head.model_copy(update={"learning_rate": self.learning_rate})


@dataclass(frozen=True)
class Part:
    """One fold: positions of clips."""

    name: str
    train: list[int]
    test: list[int]
    inner: list[tuple[list[int], list[int]]]  # (learning, choosing), both of training clips


def part(corpus: Corpus, fold: Fold, *, inner_folds: int) -> Part:
    """Positions of a fold's clips, and its inner folds.

    Raises:
        UserError: An unknown speaker or split, nobody left to train on, or leakage between both sides.
    """
    clips = corpus.table
    need(clips.reset_index(), fold.by, purpose=f"fold {fold.name}", origin="the store")
    if unknown := sorted({*fold.test, *fold.choose} - set(clips[fold.by])):
        raise UserError(f"the store has no {fold.by} {', '.join(unknown)}")
    tested, choosing = (np.flatnonzero(clips[fold.by].isin(who)).tolist() for who in (fold.test, fold.choose))
    # A clip without audio and without any face teaches nothing; it is predicted all the same where it is tested.
    empty = np.flatnonzero(clips["audio_status"].ne("ok") & clips["faces"].eq(0)).tolist()
    train = sorted({*range(len(clips))} - {*tested, *choosing, *empty})
    speakers = np.array(corpus.speakers)[train]
    if len(empty) == len(clips):
        raise UserError(
            "no clip has audio or a face, so there is nothing to study: `deepfusion info` lists the reasons"
        )
    if not train or (not choosing and len(set(speakers)) < 2):
        raise UserError(f"fold {fold.name}: a study needs two training speakers or more, one of them to choose on")
    known = clips["sha256"].ne("").to_numpy()
    guard(
        clips[known].reset_index(),
        train=clips.index[[i for i in sorted({*train, *choosing}) if known[i]]],
        test=clips.index[[i for i in tested if known[i]]],
    )
    if choosing:
        return Part(fold.name, train, tested, [(train, choosing)])
    inner = [
        ([train[i] for i in learning], [train[i] for i in held])
        for learning, held in classical.inner_folds(speakers, inner_folds)
    ]
    return Part(fold.name, train, tested, inner)


@dataclass
class Tables:
    """Tokens of one fold, fitted on its training clips."""

    sound: dict[float, Tokens]
    faces: dict[str, Tokens]  # by slot, `EF`, `LANDMARKS` and `ALL`


def tables(corpus: Corpus, part: Part, settings: StudySettings, *, by: Normalisation) -> Tables:
    """Normalise and reduce all clips by what a fold's training clips (or each speaker's own) are like."""

    def reduced(clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        if sum(len(clips[i]) for i in part.train) < 2:  # neither a deviation nor an axis: the modality is absent
            return [np.zeros((len(clip), 1), np.float32) for clip in clips]
        return principal(normalise(clips, corpus.speakers, part.train, by=by), part.train, size=settings.axes)

    def side_by_side(*kinds: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [np.concatenate(clip, axis=1) for clip in zip(*kinds, strict=True)]

    # What changes within a clip beside what is said of the whole clip; reduced apart, for the former is more restless.
    voice, courses, movements = reduced(corpus.voice), reduced(corpus.course), reduced(corpus.movement)
    faces = {slot: reduced(clips) for slot, clips in corpus.faces.items()}
    faces[EF] = side_by_side(*faces.values())
    faces[LANDMARKS] = beside(reduced(corpus.shape), courses, movements)
    faces[ALL] = side_by_side(faces[EF], faces[LANDMARKS])
    sound = {seconds: beside(reduced(clips), voice) for seconds, clips in corpus.sound.items()}
    return Tables(
        sound={seconds: joined(clips) for seconds, clips in sound.items()},
        faces={name: joined(clips) for name, clips in faces.items()},
    )


def beside(clips: Sequence[np.ndarray], *whole: Sequence[np.ndarray]) -> list[np.ndarray]:
    """(L, n) vectors of each clip, each with the clip's own (1, n') vectors beside it; L may be 0 where these are."""
    return [
        np.column_stack([clip, *(own.repeat(len(clip), 0) for own in others)])
        for clip, *others in zip(clips, *whole, strict=True)
    ]


@dataclass(frozen=True)
class Choice:
    """What the inner folds of each fold chose, and how it came about."""

    candidates: list[Candidate]  # one a fold
    said: list[list[tuple[list[int], np.ndarray]]]  # of the chosen candidate, about the inner folds' held-out clips
    curve: list[dict]


@dataclass
class Study:
    """A study under way: what every model needs, and what has been found."""

    corpus: Corpus
    parts: list[Part]
    tables: list[Tables]
    settings: StudySettings
    seeds: Sequence[int]
    device: torch.device
    absent: dict[str, str] = field(init=False)  # as of `absent_rows`
    designs: dict[str, tuple[Design, str]] = field(init=False)  # without the absent ones

    def __post_init__(self):
        made = designs(self.corpus.slots)
        needed = {name: design.modalities for name, (design, _) in made.items()}
        needed |= {**dict.fromkeys([*LATE, ENSEMBLE], "both"), **classical.MODELS}
        reasons = missing_modalities(
            {"sound": self.corpus.voice, "faces": self.corpus.face_time},
            {part.name: part.train for part in self.parts},
            {"sound": "audio", "faces": "a face"},
        )
        self.absent = absent_rows(needed, reasons)
        self.designs = {name: of for name, of in made.items() if name not in self.absent}

    @property
    def explained(self) -> str:
        """The head whose attention is kept."""
        return next(name for name in EXPLAINED if name in self.designs)

    def _heads(self, name: str, head: HeadSettings, tasks: Sequence[Task]) -> list[Head]:
        design, _ = self.designs[name]
        m, n = tasks[0].sound.vectors.shape[1], tasks[0].faces.vectors.shape[1]

        def new_head() -> Head:
            return Head(m, n, len(self.corpus.labels), design=design, settings=head)

        try:
            return train_together(new_head, tasks, self.corpus.label, settings=head, device=self.device)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error

    def _task(self, name: str, fold: int, window: float, train: Sequence[int], seed: int) -> Task:
        tables, (_, faces) = self.tables[fold], self.designs[name]
        return Task(tables.sound[window], tables.faces[faces], train, self.corpus.speakers, seed)

    def inner(self, name: str, head: HeadSettings, window: float) -> list[list[tuple[list[int], np.ndarray]]]:
        """What heads say of the inner folds' held-out speakers: for every fold, (positions, probabilities) of each."""
        places = [(i, learning, held) for i, part in enumerate(self.parts) for learning, held in part.inner]
        tasks = [self._task(name, i, window, learning, self.seeds[0]) for i, learning, _ in places]
        said: list[list[tuple[list[int], np.ndarray]]] = [[] for _ in self.parts]
        for trained, task, (i, _, held) in zip(self._heads(name, head, tasks), tasks, places, strict=True):
            said[i].append((held, judge(trained, task, held)[0].numpy()))
        return said

    def losses(self, said: list[list[tuple[list[int], np.ndarray]]]) -> tuple[np.ndarray, np.ndarray]:
        """Mean cross-entropy (nats) and accuracy over the inner held-out clips, a value each for every fold."""
        label = self.corpus.label.numpy()
        loss, right = [], []
        for fold in said:
            held = np.concatenate([positions for positions, _ in fold])
            p = np.concatenate([p for _, p in fold])
            loss.append(-np.log(p[range(len(held)), label[held]].clip(1e-12)).mean())
            right.append((p.argmax(1) == label[held]).mean())
        return np.array(loss), np.array(right)

    def candidates(self, name: str) -> list[Candidate]:
        """What is chosen among; a head that does not hear needs no choice of windows."""
        windows = self.settings.windows[:1] if self.designs[name][0].modalities == "faces" else self.settings.windows
        return [Candidate(*pair) for pair in product(windows, self.settings.learning_rates)]

    def choose(self, name: str) -> Choice:
        """The candidate with the least inner loss, for every fold."""
        candidates = self.candidates(name)
        said = [self.inner(name, c.settings(self.settings.head), c.window) for c in candidates]
        loss, right = (np.stack(values) for values in zip(*map(self.losses, said), strict=True))  # (candidates, folds)
        best = loss.argmin(0)
        return Choice(
            candidates=[candidates[i] for i in best],
            said=[said[i][fold] for fold, i in enumerate(best)],
            curve=[
                {**vars(c), "loss": loss[i].tolist(), "accuracy": right[i].tolist()} for i, c in enumerate(candidates)
            ],
        )

    def test(self, name: str, choice: Choice) -> tuple[np.ndarray, dict]:
        """Train on all training clips of every fold with what it chose, and judge its test clips.

        Returns:
            (seeds, clips, classes) probabilities, NaN where a clip is tested in no fold; and position of clip -> a
            mapping with window and the mean over the seeds of the attention weights.
        """
        p = np.full((len(self.seeds), len(self.corpus.table), len(self.corpus.labels)), np.nan)
        attention: dict[int, dict] = {}
        for candidate in dict.fromkeys(choice.candidates):
            folds = [i for i, chosen in enumerate(choice.candidates) if chosen == candidate]
            places = list(product(folds, range(len(self.seeds))))
            tasks = [self._task(name, i, candidate.window, self.parts[i].train, self.seeds[s]) for i, s in places]
            heads = self._heads(name, candidate.settings(self.settings.head), tasks)
            for trained, task, (i, s) in zip(heads, tasks, places, strict=True):
                positions = self.parts[i].test
                said, weights = judge(trained, task, positions)
                p[s, positions] = said.numpy()
                if name == self.explained:
                    _add_attention(attention, weights, task, positions, candidate.window, 1 / len(self.seeds))
        return p, attention

    def sweep(self, what: str, values: Sequence) -> list[dict]:
        """The inner folds' loss and accuracy of FBP over one setting, all others as configured."""
        curve = []
        for value in values:
            head = HeadSettings.model_validate({**self.settings.head.model_dump(by_alias=True), what: value})
            loss, right = self.losses(self.inner("fbp", head, self.settings.windows[0]))
            curve.append({"value": value, "loss": loss.tolist(), "accuracy": right.tolist()})
            log.info("sweep %s = %s: inner accuracy %.3f, loss %.3f", what, value, right.mean(), loss.mean())
        return curve


def _add_attention(attention: dict, weights: Mapping, task: Task, positions: list[int], window: float, share: float):
    for kind, alpha in weights.items():
        tokens: Tokens = getattr(task, kind)
        pieces = torch.split(alpha, tokens.lengths[positions].tolist())
        for position, piece in zip(positions, pieces, strict=True):
            entry = attention.setdefault(position, {"window": window})
            entry[kind] = entry.get(kind, 0) + share * piece.numpy()


def run_study(
    store: Path,
    folder: Path,
    folds: Sequence[Fold],
    *,
    by: Normalisation,
    seeds: Sequence[int],
    settings: StudySettings,
    device: torch.device,
) -> None:
    """Write `predictions.csv` of all models, `choices.json` and `attention.h5`.

    Args:
        store: The feature store.
        folder: Where the files go.
        folds: Folds, their speakers or splits.
        by: How tokens are normalised; "speaker" is transductive, see `tokens.normalise`.
        seeds: Seeds of initial weights and of what the steps draw.
        settings: The study.
        device: Where to compute.

    Raises:
        UserError: See `part`; clips lack a class or a speaker; a training diverged.
        MachineError: A feature in the store is NaN or infinite.
    """
    corpus = read_corpus(store, settings)
    parts = [part(corpus, fold, inner_folds=settings.inner_folds) for fold in folds]
    for doubt in doubts(corpus.table, folds):
        log.warning("%s", doubt)
    log.info("%d clips, %d folds, %d seeds, normalised by %s", len(corpus.table), len(parts), len(seeds), by)
    study = Study(corpus, parts, [tables(corpus, p, settings, by=by) for p in parts], settings, seeds, device)
    for sentence in absence(study.absent):
        log.warning("%s", sentence)
    if not study.designs:
        raise UserError(f"there is nothing to study: {'; '.join(absence(study.absent))}")
    found: dict[str, np.ndarray] = {}
    choices: dict[str, Choice] = {}
    attention: dict[int, dict] = {}
    for name in study.designs:
        choices[name] = study.choose(name)
        found[name], seen = study.test(name, choices[name])
        attention |= seen
        log.info("%s: accuracy %.3f", name, _accuracy(found[name], corpus))
    if ENSEMBLE not in study.absent:
        found |= late_fusions(study, found, choices)
        systems = ["fbp", *(f"fbp_{kind}" for kind in (*corpus.slots, LANDMARKS))]
        found[ENSEMBLE] = np.mean([found[name] for name in systems], axis=0)
    # Nothing in the classical models is drawn: they predict the same with every seed.
    classically, impossible = classical_models(corpus, parts, by=by, leave_out=set(study.absent))
    found |= {name: p.repeat(len(seeds), 0) for name, p in classically.items()}
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        predictions_table(
            corpus.table.iloc[p.test], probabilities[s, p.test], corpus.labels, fold=p.name, seed=seed, model=name
        )
        for name, probabilities in found.items()
        for s, seed in enumerate(seeds)
        for p in parts
    ]
    table = pd.concat(rows)
    write_atomically(folder / "predictions.csv", lambda part: table.to_csv(part, index=False))
    report = {
        "normalisation": by,
        "store_key": corpus.key,
        "seeds": list(seeds),
        "folds": [p.name for p in parts],
        "settings": settings.model_dump(mode="json", by_alias=True),
        "chosen": {name: [vars(c) for c in choice.candidates] for name, choice in choices.items()},
        "curves": {name: choice.curve for name, choice in choices.items()},
        "sweeps": {
            what: study.sweep(what, values) for what, values in settings.sweeps.items() if "fbp" in study.designs
        },
        "absent": study.absent | impossible,
    }
    text = json.dumps(report, indent=1) + "\n"
    write_atomically(folder / "choices.json", lambda part: part.write_text(text))
    write_attention(folder / "attention.h5", corpus, study.explained, attention)


def _accuracy(probabilities: np.ndarray, corpus: Corpus) -> float:
    tested = ~np.isnan(probabilities[0, :, 0])
    return float((probabilities[:, tested].argmax(2) == corpus.label.numpy()[tested]).mean())


def late_fusions(study: Study, found: Mapping[str, np.ndarray], choices: Mapping[str, Choice]) -> dict[str, np.ndarray]:
    """Mean and product of what `audio` and `video` say, and a product whose weight the inner folds choose."""
    audio, video = found["audio"], found["video"]
    learned = np.full_like(audio, np.nan)
    label = study.corpus.label.numpy()
    for i, p in enumerate(study.parts):
        heard, seen = choices["audio"].said[i], choices["video"].said[i]
        held = np.concatenate([positions for positions, _ in heard])
        weight = weight_of(*(np.concatenate([said for _, said in of]) for of in (heard, seen)), label[held])
        learned[:, p.test] = weighted(audio[:, p.test], video[:, p.test], weight)
    return {"late_mean": mean(audio, video), "late_product": product_of(audio, video), "late_learned": learned}


def classical_models(
    corpus: Corpus, parts: Sequence[Part], *, by: Normalisation, leave_out: Collection[str] = ()
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The classical reference.

    Returns:
        (1, clips, classes) probabilities of each model; and why a model is missing, by name.
    """
    speakers, label = np.array(corpus.speakers), corpus.label.numpy()
    features = corpus.classical
    if by == "speaker":
        features = {name: classical.per_speaker(x, speakers) for name, x in features.items()}
    found, impossible = {}, {}
    for name in (name for name in classical.MODELS if name not in leave_out):
        p = np.full((1, len(label), len(corpus.labels)), np.nan)
        try:
            for fold in parts:
                train, test = np.array(fold.train), np.array(fold.test)
                p[0, test] = classical.predict_fold(
                    name, features, label, speakers, train, test, classes=len(corpus.labels)
                )
        except classical.TooFewClipsError as error:
            impossible[name] = str(error)
            log.warning("%s is left out: %s", name, error)
            continue
        found[name] = p
        log.info("%s: accuracy %.3f", name, _accuracy(p, corpus))
    return found, impossible


def write_attention(path: Path, corpus: Corpus, model: str, attention: Mapping[int, Mapping]) -> None:
    """Where a model looked and listened in every tested clip, mean over the seeds."""
    kinds: dict[str, list] = {}
    for i, seen in sorted(attention.items()):
        for kind, time in (("sound", corpus.sound_time[seen["window"]][i]), ("faces", corpus.face_time[i])):
            if kind in seen:  # a clip without the modality has one stand-in token
                kinds.setdefault(kind, []).append((seen[kind][: len(time)], time))
    clips = [str(corpus.table.index[i]) for i in sorted(attention)]
    write_attention_file(path, clips, kinds, model=model)
