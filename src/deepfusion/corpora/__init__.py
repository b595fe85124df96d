"""Sources of clips (manifest, folder, public corpora, demo), cross-validation folds and the leakage guard."""

import importlib
import logging
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from deepfusion.corpora import adapters, folder
from deepfusion.corpora.columns import COLUMNS, NAMES, composed, unfit
from deepfusion.corpora.folds import Fold, folds, guard
from deepfusion.corpora.manifest import absolute, listed, missing_files, read_manifest, write_manifest
from deepfusion.corpora.needs import warn_of_numbers
from deepfusion.errors import UserError

log = logging.getLogger(__name__)

__all__ = ["Corpus", "Fold", "complete", "folds", "guard", "kinds", "load", "read_manifest", "write_manifest"]


# How to add what a plain folder lacks.
GIVEN = "classes: set corpus.labels: folders; speakers: write a manifest"
LISTED = 5  # ids shown per reason


@dataclass(frozen=True)
class Corpus:
    """A corpus: its clips and classes.

    Attributes:
        name: Its name.
        labels: The classes, in the order that gives them their index; none if no clip has a label.
        clips: One row per clip: `columns.COLUMNS` first, paths absolute.
        origin: Source of the clips in messages: "the manifest mine.csv", "the folder clips".
        manifest: The csv file, None if there is none.
        citation: What to cite, "" if unknown.
        licence: Terms of use, "" if unknown.
        left_out: Reason -> ids of the clips that the adapter leaves out.
    """

    name: str
    labels: list[str]
    clips: pd.DataFrame
    origin: str
    manifest: Path | None = None
    citation: str = ""
    licence: str = ""
    left_out: dict[str, list[str]] = field(default_factory=dict)

    @property
    def left_out_text(self) -> str:
        """One line per reason; "" if no clip is left out."""
        return "\n".join(
            f"{len(ids)} clip{'s' * (len(ids) > 1)} left out, {reason}: {', '.join(ids[:LISTED])}"
            + (f" and {len(ids) - LISTED} more" if len(ids) > LISTED else "")
            for reason, ids in self.left_out.items()
        )

    def check_files(self) -> None:
        """Check that every media file is there and can be read (columns path and audio).

        Raises:
            UserError: The missing and unreadable files, each with its manifest line or clip id, and their number.
        """
        if missing := missing_files(self.clips, manifest=self.manifest):
            raise UserError(listed(f"{self.manifest or self.origin} has", missing))


def public() -> list[str]:
    """The names of all adapters."""
    return sorted(module.name for module in pkgutil.iter_modules(adapters.__path__))


def adapter(name: str) -> Any:
    """The module of an adapter: LABELS, CITATION, LICENCE, OWNER, TREE, OPTIONS where it has any, clips."""
    return importlib.import_module(f"deepfusion.corpora.adapters.{name}")


def kinds() -> list[str]:
    """Values of `kind` in `load`: "manifest", "folder", "demo" and the name of every adapter."""
    return ["manifest", "folder", "demo", *public()]


def load(
    *,
    kind: str,
    name: str,
    path: Path,
    labels: Sequence[str] | Literal["folders"] | None = None,
    settings: Mapping[str, Any] | None = None,
    options: Mapping[str, str] | None = None,
) -> Corpus:
    """List the clips of a corpus without opening them.

    Args:
        kind: One of `kinds()`.
        name: Name of the corpus.
        path: The manifest, the folder of clips, the folder of an adapter's corpus, or the folder for the demo corpus.
        labels: The classes, in order. Default: those of the adapter or demo; for a manifest, those that occur, in
            alphabetical order. For a folder, "folders" takes its direct subfolders as classes; default: no labels.
        settings: Demo corpus only: keyword arguments of `demo.plan`.
        options: Adapters only: published folds or label set (its OPTIONS; the first value is the default).

    Raises:
        UserError: Unknown kind or option, no such file or folder, no clips in it, or faults of the manifest.
    """
    if kind not in kinds():
        raise UserError(f"unknown kind of corpus {kind!r}: known are {', '.join(kinds())}")
    if labels and labels != "folders":
        labels = [composed(label) for label in labels]
    left_out: dict[str, list[str]] = {}
    chosen = _options(kind, options or {})
    if kind == "manifest":
        clips = read_manifest(path, labels=list(labels) if labels else None)
        warn_of_numbers(clips, origin := f"the manifest {path}")
        return Corpus(name, list(labels or _classes(clips)), clips, origin, manifest=path)
    if kind == "folder":
        _check_folder(path, "clips")
        clips = complete(folder.clips(path, classes=labels == "folders"), path)
        return Corpus(name, _classes(clips), clips, f"the folder {path} ({GIVEN})")
    if kind == "demo":
        source: Any = importlib.import_module("deepfusion.corpora.demo")  # heavier than the rest
        clips = source.plan(**(settings or {}))
    else:
        source = adapter(kind)
        _check_folder(path, f"the clips of {kind}")
        clips, left_out = _without(source.clips(path, **chosen))
        if clips.empty:
            raise UserError(f"{path} holds no clips of {kind}: `deepfusion corpora {kind}` lists the expected files")
    known = source.LABELS if isinstance(source.LABELS, list) else source.LABELS[chosen["classes"]]
    clips, labels = complete(clips, path), list(labels or known)
    if unknown := sorted(set(_classes(clips)) - set(labels)):
        raise UserError(f"{name} has clips with labels that are not listed: {', '.join(unknown)}")
    origin = f"the corpus {name} ({kind})"
    corpus = Corpus(name, labels, clips, origin, None, source.CITATION, source.LICENCE, left_out)
    if left_out:
        log.warning("%s: %s", origin, corpus.left_out_text)
    return corpus


def _options(kind: str, given: Mapping[str, str]) -> dict[str, str]:
    """The options of an adapter: the given values, else the first of each."""
    allowed = getattr(adapter(kind), "OPTIONS", {}) if kind in public() else {}
    for name, value in given.items():
        if name not in allowed:
            there = f"there are {', '.join(allowed)}" if allowed else "it has none"
            raise UserError(f"corpus.options: {kind} has no option {name!r}; {there}")
        if value not in allowed[name]:
            raise UserError(f"corpus.options.{name}: {value!r} is not one of {', '.join(allowed[name])}")
    return {name: given.get(name, values[0]) for name, values in allowed.items()}


def _without(clips: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """The clips without a reason in column `left_out`, and reason -> ids of the others."""
    if "left_out" not in clips:
        return clips, {}
    reasons = clips["left_out"]
    named = clips["id"].astype(str)[reasons.ne("")].groupby(reasons, sort=False).agg(list).to_dict()
    return clips[reasons.eq("")].drop(columns="left_out").reset_index(drop=True), named


def _check_folder(path: Path, held: str) -> None:
    if not path.is_dir():
        raise UserError(f"{path}: there is no such folder; it should hold {held}")


def _classes(clips: pd.DataFrame) -> list[str]:
    """The labels that occur, in alphabetical order."""
    return sorted(set(clips["label"]) - {""})


def complete(clips: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Add missing `COLUMNS` in order, make paths absolute, and strip, compose and check text."""
    blank: dict[str, Any] = {**dict.fromkeys(COLUMNS, ""), "start": np.nan, "end": np.nan}
    clips = clips.assign(**{column: value for column, value in blank.items() if column not in clips})
    for column in ("path", "audio"):
        clips[column] = [absolute(root / file) if str(file) else "" for file in clips[column]]
    for column in (name for name in clips if not pd.api.types.is_numeric_dtype(clips[name])):
        if column not in ("path", "audio"):
            clips[column] = [str(text).strip() for text in clips[column]]
        if column in NAMES:
            clips[column] = [composed(text) for text in clips[column]]
        for text in clips[column]:
            if fault := unfit(text):
                raise UserError(f"{root}: {column} {text!r} {fault}: rename it")
    if (twice := clips["id"].duplicated()).any():
        raise UserError(f"two clips have the id {clips['id'][twice].iloc[0]!r}: ids must be unique")
    return clips[[*COLUMNS, *clips.columns.difference(COLUMNS, sort=False)]].reset_index(drop=True)
