"""Requirements of training that extraction does not have: classes, speakers, folds with every class.

It is an error if training is impossible, a warning if its results are doubtful.
"""

import logging
import unicodedata
from collections.abc import Sequence

import pandas as pd

from deepfusion.corpora.folds import Fold, by_published, by_split, folds, shared_clips
from deepfusion.errors import UserError

log = logging.getLogger(__name__)

NEEDS = {
    "label": "a class for every clip",
    "speaker": "a speaker for every clip, since none may be in training and test",
    "split": "the split train, val or test of every clip (protocol.folds: split)",
    "fold": "the fold of every clip (protocol.folds: published)",
}
FRACTIONAL_CLASSES = 10  # more labels than this, with fractions such as 0.35, are measurements
SHOWN = 10  # warnings of one kind
UNLABELLED = "unlabelled"  # the split of clips without a label: for features and predictions only
SOURCE = "speaker_source"  # column with the origin of speakers that the corpus does not give


def need(clips: pd.DataFrame, column: str, *, purpose: str, origin: str) -> None:
    """Refuse clips that lack a column.

    Args:
        clips: Columns id and those of a manifest, in any number.
        column: A key of `NEEDS`.
        purpose: The command or setting that needs it, "train_fbp" for example.
        origin: Source of the clips, "the manifest mine.csv" for example.

    Raises:
        UserError: The column is missing, or empty for some clips.
    """
    empty = clips[column].eq("") if column in clips else pd.Series(True, index=clips.index)
    if empty.all():
        lacks = f"has no column {column!r}, or it is empty"
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
        UserError: One of these is the case.
    """
    need(clips, "label", purpose=purpose, origin=origin)
    classes = clips["label"].unique()
    if len(classes) < 2:
        raise UserError(f"{purpose} needs two classes or more: all clips of {origin} are {classes[0]!r}")
    if are_measurements(clips["label"]):
        raise UserError(
            f"{purpose} needs classes, and the labels of {origin} look like measured numbers ({len(classes)} different "
            f"ones for {len(clips)} clips, such as {classes[0]}): divide them into a few classes"
        )


def are_measurements(labels: pd.Series) -> bool:
    """Whether labels are measured numbers: distinct for most clips, or many with fractions."""
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


def labelled(clips: pd.DataFrame) -> pd.DataFrame:
    """The clips except those declared as unlabelled: split "unlabelled" and an empty label."""
    if "split" not in clips:
        return clips
    return clips[clips["split"].ne(UNLABELLED) | clips["label"].ne("")]


def divide(
    clips: pd.DataFrame, *, protocol: str, k: int, purpose: str, origin: str, shared_speakers: bool = False
) -> list[Fold]:
    """The folds of a protocol; logs `doubts` about their results.

    Without known speakers, the corpus' own split is accepted, because it probably separates people; published folds
    only with `shared_speakers`.

    Args:
        clips: Rows of a manifest; those of the split "unlabelled" are left out.
        protocol: "kfold", "loso", "split" or "published".
        k: Folds of "kfold".
        purpose: See `need`.
        origin: See `need`.
        shared_speakers: Whether speakers of the corpus' own split or folds may be on both sides, as declared.

    Raises:
        UserError: A column is missing, there is only one class or speaker, or k does not fit.
    """
    clips = labelled(clips)
    need_classes(clips, purpose=purpose, origin=origin)
    own = {"split": "split", "published": "fold"}.get(protocol)
    if own:
        need(clips, own, purpose=purpose, origin=origin)
    if not own or clips["speaker"].ne("").any():
        need(clips, "speaker", purpose=purpose, origin=origin)
    if protocol == "split":
        made = [by_split(clips, shared_speakers=shared_speakers)]
    elif protocol == "published":
        made = by_published(clips, shared_speakers=shared_speakers)
    else:
        made = folds(clips["speaker"], protocol=protocol, k=k)
    for warning in doubts(clips, made):
        log.warning("%s", warning)
    return made


def cautions(clips: pd.DataFrame, made: Sequence[Fold]) -> list[str]:
    """Caveats about the speakers for every result table, one sentence each.

    Args:
        clips: Columns speaker, those by which the folds divide, and `SOURCE` where there is one.
        made: The folds that are tested.
    """
    notes, unknown = [], clips["speaker"].eq("").all()
    if any(fold.shared_speakers for fold in made):
        shared, tested = shared_clips(clips, made)
        if unknown:
            notes.append("no speaker is known, and training and test may show the same people (declared)")
        elif shared:
            notes.append(
                f"training has the speakers of {100 * shared / tested:.1f} % of the test clips ({shared} of {tested}), "
                "as declared by protocol.shared_speakers: these figures do not hold for new speakers"
            )
    elif unknown:
        notes.append("no speaker is known: only the corpus' own split keeps people of training and test apart")
    if SOURCE in clips and (sources := sorted(set(clips[SOURCE]) - {""})):
        notes.append(f"speakers are not given by the corpus but {'; '.join(sources)}")
    return notes


def doubts(clips: pd.DataFrame, made: Sequence[Fold]) -> list[str]:
    """Reasons to doubt the results of folds, one line each: names alike, classes with too few speakers or clips.

    Args:
        clips: Columns label, speaker and those by which the folds divide.
        made: The folds.
    """
    alike = [
        f"{column}s {' and '.join(map(repr, names))} differ only in case or Unicode form: rename them if they are one"
        for column in ("speaker", "label")
        for names in _alike(clips[column])
    ]
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
    return [line for lines in (alike, alone, untaught, few) for line in _bounded(lines)]


def _alike(names: pd.Series) -> list[list[str]]:
    """Groups of different names that are equal without case, blanks around them and Unicode's variants of letters."""
    forms: dict[str, list[str]] = {}
    for name in sorted(set(names)):
        forms.setdefault(unicodedata.normalize("NFKC", name).casefold().strip(), []).append(name)
    return [group for group in forms.values() if len(group) > 1]


def _bounded(lines: list[str]) -> list[str]:
    more = len(lines) - SHOWN
    return [*lines[:SHOWN], f"... and {more} more warnings of this kind"] if more > 0 else lines
