"""Which clips there are: manifests, folders, adapters of public corpora, the demo corpus; folds and the guard."""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from deepfusion.corpora import adapters, folder
from deepfusion.corpora.columns import COLUMNS, unfit
from deepfusion.corpora.folds import Fold, folds, guard
from deepfusion.corpora.manifest import absolute, listed, missing_files, read_manifest, sha256, write_manifest
from deepfusion.corpora.needs import warn_of_numbers
from deepfusion.errors import UserError

__all__ = ["Corpus", "Fold", "complete", "folds", "guard", "kinds", "load", "read_manifest", "sha256", "write_manifest"]


# What a folder of clips can say besides which there are.
GIVEN = "classes: set corpus.labels: folders; speakers: write a manifest"


@dataclass(frozen=True)
class Corpus:
    """A corpus, ready to be worked on.

    Attributes:
        name: What it is called.
        labels: The classes, in the order that gives them their index; none if no clip has a label.
        clips: A row per clip: `columns.COLUMNS` first, paths absolute.
        origin: Where the clips are listed, as messages name it: "the manifest mine.csv", "the folder clips".
        manifest: The csv file that lists them, None if there is none.
        citation: What to cite, "" if unknown.
        licence: Terms of use, "" if unknown.
    """

    name: str
    labels: list[str]
    clips: pd.DataFrame
    origin: str
    manifest: Path | None = None
    citation: str = ""
    licence: str = ""

    def check_files(self) -> None:
        """Check that every media file is there (columns path and audio).

        Raises:
            UserError: Each file that is not, with its line in the manifest or its clip; all are counted.
        """
        if missing := missing_files(self.clips, manifest=self.manifest):
            raise UserError(listed(f"{self.manifest or self.origin} has", missing))


def kinds() -> list[str]:
    """What `load` takes as kind: "manifest", "folder", "demo" and the name of every adapter."""
    found = sorted(module.name for module in pkgutil.iter_modules(adapters.__path__))
    return ["manifest", "folder", "demo", *found]


def load(
    *,
    kind: str,
    name: str,
    path: Path,
    labels: Sequence[str] | Literal["folders"] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Corpus:
    """Say which clips a corpus has; no clip is opened.

    Args:
        kind: One of `kinds()`.
        name: What the corpus is called.
        path: The manifest; the folder of clips; the folder of an adapter's corpus; or that in which the demo corpus is
            generated.
        labels: The classes in the order wanted. Default: the adapter's or demo's own; for a manifest those that occur,
            in alphabetical order. Of a folder: "folders" makes the folders directly below it the classes, by name;
            default: no labels.
        settings: Of the demo corpus: keyword arguments of `demo.plan`.

    Raises:
        UserError: Unknown kind, no such file or folder, no clips in it, or faults of the manifest.
    """
    if kind not in kinds():
        raise UserError(f"unknown kind of corpus {kind!r}: known are {', '.join(kinds())}")
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
        source = importlib.import_module(f"deepfusion.corpora.adapters.{kind}")
        _check_folder(path, f"the clips of {kind}")
        clips = source.clips(path)
        if clips.empty:
            raise UserError(f"{path} holds no clips of {kind}")
    clips, labels = complete(clips, path), list(labels or source.LABELS)
    if unknown := sorted(set(_classes(clips)) - set(labels)):
        raise UserError(f"{name} has clips with labels that are not listed: {', '.join(unknown)}")
    return Corpus(name, labels, clips, f"the corpus {name} ({kind})", None, source.CITATION, source.LICENCE)


def _check_folder(path: Path, held: str) -> None:
    if not path.is_dir():
        raise UserError(f"{path}: there is no such folder; it should hold {held}")


def _classes(clips: pd.DataFrame) -> list[str]:
    """The labels that occur, in alphabetical order."""
    return sorted(set(clips["label"]) - {""})


def complete(clips: pd.DataFrame, root: Path) -> pd.DataFrame:
    """Give a table all `COLUMNS`, in order, absolute paths, and text as a manifest could hold it."""
    blank: dict[str, Any] = {**dict.fromkeys(COLUMNS, ""), "start": np.nan, "end": np.nan}
    clips = clips.assign(**{column: value for column, value in blank.items() if column not in clips})
    for column in ("path", "audio"):
        clips[column] = [absolute(root / file) if str(file) else "" for file in clips[column]]
    for column in (name for name in clips if not pd.api.types.is_numeric_dtype(clips[name])):
        if column not in ("path", "audio"):
            clips[column] = [str(text).strip() for text in clips[column]]
        for text in clips[column]:
            if fault := unfit(text):
                raise UserError(f"{root}: {column} {text!r} {fault}: rename it")
    if (twice := clips["id"].duplicated()).any():
        raise UserError(f"two clips have the id {clips['id'][twice].iloc[0]!r}: ids must be unique")
    return clips[[*COLUMNS, *clips.columns.difference(COLUMNS, sort=False)]].reset_index(drop=True)
