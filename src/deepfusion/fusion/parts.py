"""The clips of a fold: training clips, test clips, and inner folds for hyperparameter selection."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from deepfusion.corpora import guard
from deepfusion.corpora.folds import DECLARE, Fold
from deepfusion.corpora.inner_folds import inner_folds as divide
from deepfusion.corpora.needs import need
from deepfusion.errors import UserError


@dataclass(frozen=True)
class Part:
    """One fold: positions of clips."""

    name: str
    train: list[int]
    test: list[int]
    inner: list[tuple[list[int], list[int]]]  # (train, validation), both of training clips
    note: str = ""  # caveat on the inner folds for result tables
    speakers_known: bool = True  # of the training clips; False if the split replaces them, as in AFEW


def part(clips: pd.DataFrame, fold: Fold, *, inner_folds: int) -> Part:
    """Positions of a fold's clips, and its inner folds.

    A fold without test clips, for the final model, trains on all clips including validation clips.

    Args:
        clips: The store's table of clips.
        fold: Test and validation clips.
        inner_folds: Inner folds by speaker, at most; by clip where no training clip has a speaker.

    Raises:
        UserError: An unknown speaker or split, too few clips to train on, or leakage between both sides.
    """
    need(clips.reset_index(), fold.by, purpose=f"fold {fold.name}", origin="the store")
    if unknown := sorted({*fold.test, *fold.choose} - set(clips[fold.by])):
        raise UserError(f"the store has no {fold.by} {', '.join(unknown)}")
    tested, choosing = (np.flatnonzero(clips[fold.by].isin(who)).tolist() for who in (fold.test, fold.choose))
    # A clip without audio and face is not trained on; as a test clip it is still predicted.
    empty = np.flatnonzero(clips["audio_status"].ne("ok") & clips["faces"].eq(0)).tolist()
    if len(empty) == len(clips):
        raise UserError("no clip has audio or a face: there is nothing to train on; `deepfusion info` has the reasons")
    train = sorted({*range(len(clips))} - {*tested, *choosing, *empty})
    if not train:
        raise UserError(f"fold {fold.name}: no clip is left to train on")
    # The video's hash; the audio's where the video is missing. Without either, no file was read: the clip is empty.
    hashes = clips["sha256"].where(clips["sha256"].ne(""), clips.get("audio_sha256", ""))
    hashed = hashes.ne("").to_numpy()
    who = clips["speaker"]
    if fold.by != "speaker" and who.eq("").all():
        if fold.by == "fold" and not fold.shared_speakers:
            raise UserError(f"fold {fold.name}: no speaker is known, so the published folds may share some; {DECLARE}")
        who = clips[fold.by]  # without speakers, the split of the corpus is trusted to separate them
    guard(
        clips.assign(speaker=who, sha256=hashes)[hashed].reset_index(),
        train=clips.index[[i for i in sorted({*train, *choosing}) if hashed[i]]],
        test=clips.index[[i for i in tested if hashed[i]]],
        shared_speakers=fold.shared_speakers,
    )
    speakers = clips["speaker"].to_numpy()[train]
    # AFEW does not name speakers: its column speaker has the split.
    named = not (fold.by == "split" and len(set(speakers)) == 1)
    if choosing:
        validation = sorted(set(choosing) - set(empty))
        if not validation:
            raise UserError(f"fold {fold.name}: no clip of {', '.join(fold.choose)} has audio or a face to choose by")
        wanted = train if fold.test else sorted({*train, *validation})
        return Part(fold.name, wanted, tested, [(train, validation)], speakers_known=named)
    inner, note = divide(speakers if named else np.full(len(train), ""), clips["label"].to_numpy()[train], inner_folds)
    if not inner:
        needed = "clips of a class" if note else "speakers"
        raise UserError(f"fold {fold.name}: inner folds need two training {needed} or more")
    pairs = [([train[i] for i in a], [train[i] for i in b]) for a, b in inner]
    known = not note
    if known and len(inner) < inner_folds:
        note = (
            f"{len(inner)} inner folds where fusion.inner_folds is {inner_folds}: the training clips of a fold have "
            f"{len(set(speakers))} speakers, so the selected hyperparameters are uncertain"
        )
    return Part(fold.name, train, tested, pairs, note, speakers_known=known)
