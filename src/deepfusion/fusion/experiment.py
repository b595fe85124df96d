"""Nested cross-validation of several models: selection on inner folds, then each test clip once; result files."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from deepfusion.atomic import write_atomically
from deepfusion.config import FusionSettings
from deepfusion.corpora.folds import Fold
from deepfusion.corpora.needs import cautions, doubts
from deepfusion.errors import UserError
from deepfusion.evaluation.attention import effective_share
from deepfusion.evaluation.metrics import predictions_table
from deepfusion.evaluation.summary import summary
from deepfusion.fusion.attention_file import write_attention_file
from deepfusion.fusion.corpus import Corpus, reduce_folds
from deepfusion.fusion.missing_modality import EXPLAINED, absence, absent_rows, missing_modalities
from deepfusion.fusion.parts import Part, part
from deepfusion.fusion.search import Bench, Choice, Refine, Row, Tested, accuracy, choose, test
from deepfusion.fusion.streams import MODALITIES, Modality, is_per_clip
from deepfusion.progress import track

log = logging.getLogger(__name__)

# Maximum bytes of reduced rows in memory: folds of large corpora are processed in groups.
HELD = 1_000_000_000


@dataclass
class Findings:
    """The results of each model.

    Attributes:
        corpus: The corpus.
        parts: Its folds.
        settings: The configuration.
        absent: Models that cannot be trained -> reason.
        probabilities: Model -> (seeds, clips, classes), calibrated; NaN where a clip is tested in no fold.
        choices: Model -> hyperparameters selected per fold.
        notes: Caveats for result tables, on speakers and on single models.
        attention: Of `EXPLAINED` models: position of a clip -> modality -> (L,) weights, mean over all networks.
        explained: The model whose attention is written; "" if there is none of `EXPLAINED`.
    """

    corpus: Corpus
    parts: list[Part]
    settings: FusionSettings
    explained: str
    absent: dict[str, str] = field(default_factory=dict)
    probabilities: dict[str, np.ndarray] = field(default_factory=dict)
    choices: dict[str, Choice] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    attention: dict[str, dict[int, dict[Modality, np.ndarray]]] = field(default_factory=dict)

    def add(self, row: Row, choice: Choice, tested: Tested) -> None:
        """Add the results of a model from some of the folds."""
        if row.name not in self.choices:
            self.choices[row.name], self.probabilities[row.name] = choice, tested.probabilities
        else:
            self.choices[row.name] = self.choices[row.name].extended(choice)
            known = self.probabilities[row.name]
            self.probabilities[row.name] = np.where(np.isnan(known), tested.probabilities, known)
        self.attention.setdefault(row.name, {}).update(tested.attention)


def prepare(
    corpus: Corpus, folds: Sequence[Fold], rows: Sequence[Row], settings: FusionSettings
) -> tuple[Findings, list[Row]]:
    """The folds of an experiment, and the models that the corpus allows.

    Args:
        corpus: The corpus.
        folds: Folds; one without test clips, for a model of all clips, comes last.
        rows: Requested models.
        settings: The configuration.

    Raises:
        UserError: See `part`; no model is left.
    """
    parts = [part(corpus.table, fold, inner_folds=settings.inner_folds) for fold in folds]
    tested = [fold for fold in folds if fold.test]
    notes = cautions(corpus.table, tested)
    for doubt in (*doubts(corpus.table, tested), *notes):
        log.warning("%s", doubt)
    for note in {p.note for p in parts if p.note}:
        log.warning("%s", note)
    reasons = missing_modalities(
        {m: corpus.has(m).tolist() for m in MODALITIES},
        {p.name: p.train for p in parts},
        {"audio": "audio", "video": "a face"},
    )
    absent = absent_rows({row.name: row.design.modalities for row in rows}, reasons)
    for sentence in absence(absent):
        log.warning("%s", sentence)
    left = [row for row in rows if row.name not in absent]
    if not left:
        raise UserError(f"there is nothing to train: {'; '.join(absence(absent))}")
    names = {row.name for row in left}
    explained = next((name for name in EXPLAINED if name in names), "")
    return Findings(corpus, parts, settings, explained, absent, notes=notes), left


def groups(corpus: Corpus, parts: Sequence[Part], settings: FusionSettings) -> Iterator[list[Part]]:
    """Groups of folds whose reduced streams fit into memory together."""
    _, a_fold = corpus.fold_type(max(settings.axes))
    at_once = max(1, HELD // max(1, a_fold))
    for start in range(0, len(parts), at_once):
        yield list(parts[start : start + at_once])


def bench(corpus: Corpus, parts: Sequence[Part], settings: FusionSettings, device: torch.device) -> Bench:
    """Some folds with their reduced streams; the store is read once."""
    trains = [p.train for p in parts]
    data = reduce_folds(corpus, trains, axes=max(settings.axes), by=settings.normalisation)
    return Bench(corpus, parts, data, settings, device)


Refiners = Mapping[str, Callable[[Bench, Row], Refine]]
"""Name of a model -> what trains its networks further, see `end_to_end.refiner`."""
After = Callable[[Bench, Mapping[str, Choice]], None]
"""Called with some folds and their choice for each model, before their reduced streams are freed."""


def run(
    found: Findings,
    rows: Sequence[Row],
    device: torch.device,
    *,
    refiners: Refiners | None = None,
    after: After | None = None,
) -> None:
    """Choose, train and test all models on all folds."""
    for some in groups(found.corpus, found.parts, found.settings):
        made = bench(found.corpus, some, found.settings, device)
        choices = run_group(found, rows, made, refiners or {})
        if after is not None:
            after(made, choices)
        del made  # free memory before the next folds are reduced
    answer_by_the_rest(found, [row.name for row in rows if len(row.design.modalities) > 1])
    for row in rows:
        log.info("%s: accuracy %.3f", row.name, accuracy(found.probabilities[row.name], found.corpus))


def run_group(found: Findings, rows: Sequence[Row], made: Bench, refiners: Refiners) -> dict[str, Choice]:
    """`run` for some folds; returns their choices by model."""
    choices = {}
    tested = sum(bool(part.test) for part in made.parts)
    final = " and the final model" if tested < len(made.parts) else ""
    for row in track(rows, f"{tested} folds{final}", unit="models"):
        log.info("model %s", row.name)
        choice = choices[row.name] = choose(made, row)
        refine = refiners[row.name](made, row) if row.name in refiners else None
        found.add(row, choice, test(made, row, choice, refine, attention=row.name in EXPLAINED))
    return choices


ALONE: Mapping[Modality, str] = {"audio": "audio", "video": "video"}
"""Modality -> the network that predicts from it alone."""


def answer_by_the_rest(found: Findings, models: Iterable[str], alone: Mapping[Modality, str] = ALONE) -> None:
    """Clips without audio or without a face are predicted by the model of the other modality, as `predict` does it.

    Args:
        found: Changed in place, probabilities and attention.
        models: Models of both modalities.
        alone: Modality -> the model that predicts from it alone.
    """
    has = {m: found.corpus.has(m) for m in MODALITIES}
    for lacking, other in (("audio", "video"), ("video", "audio")):
        clips = ~has[lacking] & has[other]
        for name in models:
            if alone[other] in found.probabilities:
                own = found.probabilities[name][:, clips]
                rest = np.where(np.isnan(own), np.nan, found.probabilities[alone[other]][:, clips])
                found.probabilities[name][:, clips] = rest
            attention = found.attention.get(name, {})
            for i in attention.keys() & set(np.flatnonzero(clips).tolist()):
                attention[i] = found.attention[alone[other]][i]


def write(found: Findings, rows: Sequence[Row], folder: Path, *, extra: Mapping[str, object] | None = None) -> dict:
    """Write `predictions.csv`, `choices.json`, `attention.h5` and `metrics.json`.

    Args:
        found: What was found.
        rows: The models that were trained.
        folder: Where the files go.
        extra: Further entries of `choices.json`.

    Returns:
        The metrics, see `evaluation.summary.summary`.
    """
    corpus, settings = found.corpus, found.settings
    folder.mkdir(parents=True, exist_ok=True)
    tables = [
        predictions_table(
            corpus.table.iloc[p.test], probabilities[s, p.test], corpus.labels, fold=p.name, seed=seed, model=name
        )
        for name, probabilities in found.probabilities.items()
        for s, seed in enumerate(settings.seeds)
        for p in found.parts
        # Skip the fold of the final model (no test clips), and seeds that a costly model lacks.
        if p.test and not np.isnan(probabilities[s, p.test]).all()
    ]
    table = pd.concat(tables)
    write_atomically(folder / "predictions.csv", lambda part: table.to_csv(part, index=False))
    choices = {
        "normalisation": settings.normalisation,
        "store_key": corpus.key,
        "seeds": list(settings.seeds),
        "folds": [p.name for p in found.parts],
        "settings": settings.model_dump(mode="json", by_alias=True),
        "chosen": {
            name: [[{**vars(of.candidate), "temperature": of.temperature} for of in fold] for fold in choice.members]
            for name, choice in found.choices.items()
        },
        "curves": {name: choice.curve for name, choice in found.choices.items()},
        **(extra or {}),
    }
    metrics = {
        "normalisation": settings.normalisation,
        **summary(table),
        "notes": [*absence(found.absent), *sorted({p.note for p in found.parts if p.note}), *found.notes],
        "attention": {"model": found.explained, **attention_shares(found)},
    }
    for name, content in (("choices.json", choices), ("metrics.json", metrics)):
        text = json.dumps(content, indent=1) + "\n"
        write_atomically(folder / name, lambda part, text=text: part.write_text(text))
    explained = next(row for row in rows if row.name == found.explained)
    write_attention(folder / "attention.h5", found, explained)
    return metrics


def attention_shares(found: Findings) -> dict[str, dict[str, float]]:
    """`effective_share` of the tested clips, mean and 5 % quantile, by modality; clips with one row are left out."""
    shares: dict[str, dict[str, float]] = {}
    for m in MODALITIES:
        weights = [of[m] for of in found.attention[found.explained].values() if m in of and len(of[m]) > 1]
        if weights:
            each = [effective_share(w) for w in weights]
            shares[m] = {"effective_share": float(np.mean(each)), "least": float(np.quantile(each, 0.05))}
    return shares


def write_attention(path: Path, found: Findings, row: Row) -> None:
    """The attention weights of the tested clips, mean over seeds and members, with times."""
    corpus, attention = found.corpus, found.attention[row.name]
    clips = sorted(attention)
    attended = {m: next(name for name in names if not is_per_clip(name)) for m, names in row.streams.items()}
    kinds: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for m, name in attended.items():
        for i in clips:
            time = corpus.time[name][i]
            weight = attention[i].get(m, np.zeros(0))[: len(time)]  # a clip without the modality may have one row
            kinds.setdefault(m, []).append((weight, time))
    hz = corpus.frequency.get(attended.get("audio", ""))
    ids = [str(corpus.table.index[i]) for i in clips]
    write_attention_file(path, ids, kinds, frequency=hz and [hz[i] for i in clips], model=row.name)
