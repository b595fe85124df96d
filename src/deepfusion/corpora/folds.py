"""Training and test clips: folds by speaker, the corpus' own split or folds, and the leakage guard."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from deepfusion.errors import UserError

SPLITS = ("train", "val", "test")
DECLARE = "if the partition is published like this, set protocol.shared_speakers: declared; every table then says so"


@dataclass(frozen=True)
class Fold:
    """One division of the clips; clips that are neither in `test` nor in `choose` are training clips."""

    name: str  # "fold01", ...: always valid as a file name
    test: tuple[str, ...]  # values of the column `by`
    choose: tuple[str, ...] = ()  # of the validation clips; (): inner folds of the training clips
    by: str = "speaker"  # or "split", "fold"
    shared_speakers: bool = False  # declared: the corpus' own partition may have speakers in training and test


def folds(speakers: Iterable[str], *, protocol: str, k: int = 5, seed: int = 0) -> list[Fold]:
    """Divide speakers into folds; every speaker is tested once.

    Args:
        speakers: Speaker of every clip.
        protocol: "loso" (one fold per speaker) or "kfold" (k folds of about equally many clips).
        k: Number of folds of "kfold".
        seed: Orders speakers with equally many clips in "kfold".

    Raises:
        UserError: Unknown protocol, fewer than two speakers, or k that does not fit their number.
    """
    clips = Counter(speakers)
    if len(clips) < 2:
        raise UserError(f"folds need two speakers or more, and the corpus has {len(clips)}: {', '.join(clips)}")
    if protocol == "loso":
        return loso(clips)
    if protocol == "kfold":
        return kfold(clips, k=k, seed=seed)
    raise UserError(f"unknown protocol {protocol!r}: it is loso or kfold")


def loso(clips: dict[str, int]) -> list[Fold]:
    """Leave one speaker out: one fold per speaker, sorted by name. `clips` is speaker -> number of clips."""
    return _named([[speaker] for speaker in sorted(clips)])


def kfold(clips: dict[str, int], *, k: int, seed: int) -> list[Fold]:
    """Make k folds: each speaker, largest first, goes to the fold with the fewest clips so far."""
    if not 2 <= k <= len(clips):
        raise UserError(
            f"k = {k} folds do not fit {len(clips)} speakers: set protocol.k in config.yaml to 2 to {len(clips)}, or "
            "protocol.folds: loso"
        )
    names = sorted(clips)
    # Permute indices, not names: numpy strings lose trailing NUL characters.
    speakers = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    tests: list[list[str]] = [[] for _ in range(k)]
    for speaker in sorted(speakers, key=clips.__getitem__, reverse=True):
        min(tests, key=lambda test: sum(clips[other] for other in test)).append(speaker)
    return _named(tests)


def by_split(clips: pd.DataFrame, *, shared_speakers: bool = False) -> Fold:
    """Use the corpus' own split: train on `train`, validate on `val`, test on `test`.

    Without test clips, `val` is the test set and inner folds of `train` validate.

    Args:
        clips: Columns id and split.
        shared_speakers: Whether its parts may share speakers, as declared.

    Raises:
        UserError: Clips of no split or one of another name, none to train on, or none to test on.
    """
    strange = clips[~clips["split"].isin(SPLITS)]
    if len(strange):
        named = [f"{row.id} ({row.split or 'none'})" for row in strange[["id", "split"]].itertuples()]
        raise UserError(
            f"protocol split: every clip needs the split {', '.join(SPLITS)}, and these differ: {_some(named)}"
        )
    there = [split for split in SPLITS if clips["split"].eq(split).any()]
    if there[:1] != ["train"] or len(there) < 2:
        raise UserError(
            f"protocol split: clips of train, and of val or test, are needed; the corpus has only {', '.join(there)}"
        )
    return Fold("fold01", test=(there[-1],), choose=tuple(there[1:-1]), by="split", shared_speakers=shared_speakers)


def by_published(clips: pd.DataFrame, *, shared_speakers: bool = False) -> list[Fold]:
    """Use the published folds: each value of column `fold` is the test set once.

    Args:
        clips: Columns speaker and fold.
        shared_speakers: Whether speakers may be in two folds, or be unknown.

    Raises:
        UserError: Fewer than two folds; or, unless it is declared, a speaker in two of them, or no speaker known.
    """
    values = sorted(set(clips["fold"]), key=lambda value: (len(value), value) if value.isdecimal() else (0, value))
    if len(values) < 2:
        raise UserError(f"protocol published: two folds or more are needed; the column fold has {', '.join(values)}")
    if shared_speakers:
        return _named([[value] for value in values], by="fold", shared_speakers=True)
    if clips["speaker"].eq("").all():
        raise UserError(f"no speaker is known, so the published folds may share some; {DECLARE}")
    of = clips.groupby("speaker")["fold"].unique()
    if shared := [f"{speaker} ({' and '.join(sorted(where)[:2])})" for speaker, where in of.items() if len(where) > 1]:
        raise UserError(f"leakage: the published folds share speakers: {_some(shared)}; {DECLARE}")
    return _named([[value] for value in values], by="fold")


def _named(tests: list[list[str]], **settings: Any) -> list[Fold]:
    return [Fold(f"fold{i:02d}", tuple(sorted(test)), **settings) for i, test in enumerate(tests, start=1)]


def shared_clips(clips: pd.DataFrame, made: Iterable[Fold]) -> tuple[int, int]:
    """Number of test clips whose speaker is also among the training clips of their fold, and number of test clips.

    Args:
        clips: Columns speaker and those by which the folds divide.
        made: The folds.
    """
    shared = tested = 0
    for fold in made:
        test = clips[fold.by].isin(fold.test)
        tested += int(test.sum())
        shared += int(clips["speaker"][test].isin(set(clips["speaker"][~test])).sum())
    return shared, tested


def guard(clips: pd.DataFrame, *, train: Iterable[str], test: Iterable[str], shared_speakers: bool = False) -> None:
    """Refuse a fold with leakage from test to training clips.

    Args:
        clips: Columns id, speaker, sha256 (of the file), start and end (s, NaN if the file's).
        train: Ids of the training and validation clips.
        test: Ids of the test clips.
        shared_speakers: Whether speakers may be on both sides, as declared.

    Raises:
        UserError: A clip, a speaker, or the same stretch of byte-identical files is on both sides; or a clip has no
            speaker or no hash, so that leakage cannot be ruled out.
    """
    table = clips.set_index("id")
    trained, tested = table.loc[list(train)], table.loc[list(test)]
    if both := sorted(set(trained.index) & set(tested.index)):
        raise UserError(f"leakage: clips both trained and tested on: {_some(both)}")
    used = pd.concat([trained, tested])
    if not shared_speakers and len(tested) and (unknown := used["speaker"].eq("")).any():
        raise UserError(f"no speaker, so leakage cannot be ruled out: {_some(used.index[unknown])}")
    if not shared_speakers and (both := sorted(set(trained["speaker"]) & set(tested["speaker"]))):
        firsts = [[side.index[side["speaker"] == speaker][0] for side in (trained, tested)] for speaker in both]
        named = [f"{speaker} ({' and '.join(clips)})" for speaker, clips in zip(both, firsts, strict=True)]
        raise UserError(f"leakage: speakers both trained and tested on: {_some(named)}")
    if (unknown := used["sha256"].isna() | used["sha256"].eq("")).any():
        raise UserError(f"no sha256, so copies cannot be detected: {_some(used.index[unknown])}")
    # Only these columns: the corpus' own may be named alike, and a merge of all takes much memory.
    sides = [side[["sha256", "start", "end"]].reset_index() for side in (trained, tested)]
    pairs = sides[0].merge(sides[1], on="sha256", suffixes=("_train", "_test"))
    starts = pairs[["start_train", "start_test"]].fillna(0.0).max(axis=1)
    ends = pairs[["end_train", "end_test"]].fillna(np.inf).min(axis=1)
    same = pairs[starts < ends]
    if len(same):
        copies = [f"{row.id_train} = {row.id_test}" for row in same.itertuples()]
        raise UserError(
            f"leakage: the same file is trained and tested on, under two speakers: {_some(copies)}; "
            "remove one of each pair from the manifest"
        )


def _some(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
