"""What training needs of a corpus and features do not: classes, speakers, folds that can teach every class.

What makes training impossible is an error; what makes its figures doubtful is a warning.
"""

import logging
from collections.abc import Sequence

import pandas as pd

from deepfusion.corpora.folds import Fold, by_published, by_split, folds
from deepfusion.errors import UserError

log = logging.getLogger(__name__)

NEEDS = {
    "label": "a class for every clip",
    "speaker": "a speaker for every clip, since none may be in training and test",
    "split": "the split train, val or test of every clip (protocol.folds: split)",
    "fold": "the fold of every clip (protocol.folds: published)",
}
FRACTIONAL_CLASSES = 10  # more classes than this that are fractions, such as 0.35, are measurements
SHOWN = 10  # warnings of one kind


def need(clips: pd.DataFrame, column: str, *, purpose: str, origin: str) -> None:
    """Refuse a purpose for which clips lack a column.

    Args:
        clips: Columns id and those of a manifest, in any number.
        column: A key of `NEEDS`.
        purpose: What needs it, "train_fbp" for example.
        origin: Where the clips are listed, "the manifest mine.csv" for example.

    Raises:
        UserError: The column is not there, or empty for some clips.
    """
    empty = clips[column].eq("") if column in clips else pd.Series(True, index=clips.index)
    if empty.all():
        lacks = f"has no column {column!r}, or nothing in it"
    elif empty.any():
        lacks = f"has {empty.sum()} clips without one, first {clips['id'][empty].iloc[0]} (column {column!r})"
    else:
        return
    raise UserError(f"{purpose} needs {NEEDS[column]}: {origin} {lacks}")


def need_classes(clips: pd.DataFrame, *, purpose: str, origin: str) -> None:
    """Refuse to train a classifier on clips without labels, with a single class, or with numbers for labels.

    Args:
        clips: Columns id and label.
        purpose: See `need`.
        origin: See `need`.

    Raises:
        UserError: One sentence.
    """
    need(clips, "label", purpose=purpose, origin=origin)
    classes = clips["label"].unique()
    if len(classes) < 2:
        raise UserError(f"{purpose} needs two classes or more: all clips of {origin} are {classes[0]!r}")
    if are_measurements(clips["label"]):
        raise UserError(
            f"{purpose} needs classes, and the labels of {origin} look like measured numbers ({len(classes)} different "
            f"ones for {len(clips)} clips, such as {classes[0]}): part them into a few classes"
        )


def are_measurements(labels: pd.Series) -> bool:
    """Whether labels are numbers of which there are (nearly) as many as clips, or many fractions: no classes."""
    labels = labels[labels.ne("")]
    numbers = pd.to_numeric(labels, errors="coerce")
    classes = labels.nunique()
    if classes < 3 or numbers.isna().any():
        return False
    return bool(2 * classes > len(labels) or (numbers.mod(1).any() and classes > FRACTIONAL_CLASSES))


def warn_of_numbers(clips: pd.DataFrame, origin: str) -> None:
    """Log a warning if the labels look like measured numbers; features can be extracted all the same."""
    if are_measurements(clips["label"]):
        log.warning(
            "the labels of %s look like measured numbers (%d different ones for %d clips): features can be extracted, "
            "but training, which needs classes, will refuse them",
            *(origin, clips["label"].nunique(), len(clips)),
        )


def divide(clips: pd.DataFrame, *, protocol: str, k: int, purpose: str, origin: str) -> list[Fold]:
    """The folds of a protocol for labelled clips; logs what makes their figures doubtful.

    Args:
        clips: As of a manifest.
        protocol: "kfold", "loso", "split" or "published".
        k: Folds of "kfold".
        purpose: See `need`.
        origin: See `need`.

    Raises:
        UserError: One sentence: a column is missing, there is one class or one speaker alone, or k does not fit.
    """
    need_classes(clips, purpose=purpose, origin=origin)
    for column in {"split": ("speaker", "split"), "published": ("speaker", "fold")}.get(protocol, ("speaker",)):
        need(clips, column, purpose=purpose, origin=origin)
    if protocol == "split":
        made = [by_split(clips)]
    elif protocol == "published":
        made = by_published(clips)
    else:
        made = folds(clips["speaker"], protocol=protocol, k=k)
    for warning in doubts(clips, made):
        log.warning("%s", warning)
    return made


def doubts(clips: pd.DataFrame, made: Sequence[Fold]) -> list[str]:
    """What makes the figures of a division doubtful, a line each: classes with too few speakers or clips.

    Args:
        clips: Columns label, speaker and those by which the folds divide.
        made: The folds.
    """
    by_class = clips.groupby("label")
    speakers, counts = by_class["speaker"].unique(), by_class.size()
    alone = [
        f"class {label!r} has a single speaker, {who[0]}: it cannot be both trained and tested"
        for label, who in speakers.items()
        if len(who) == 1
    ]
    untaught = [
        f"{fold.name} trains on no clip of class {label!r}, which it cannot predict"
        for fold in made
        for label in sorted(set(clips["label"]) - set(clips["label"][~clips[fold.by].isin([*fold.test, *fold.choose])]))
    ]
    few = [
        f"class {label!r} has {count} clips, fewer than the {len(made)} folds: some fold tests none"
        for label, count in counts.items()
        if count < len(made)
    ]
    return [line for lines in (alone, untaught, few) for line in _bounded(lines)]


def _bounded(lines: list[str]) -> list[str]:
    more = len(lines) - SHOWN
    return [*lines[:SHOWN], f"... and {more} more warnings of this kind"] if more > 0 else lines
