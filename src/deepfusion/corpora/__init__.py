"""Which clips there are: manifests, adapters of public corpora, the demo corpus; folds and the leakage guard."""

import importlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepfusion.corpora import adapters
from deepfusion.corpora.folds import Fold, folds, guard
from deepfusion.corpora.manifest import COLUMNS, absolute, read_manifest, sha256, write_manifest
from deepfusion.errors import UserError

__all__ = ["Corpus", "Fold", "folds", "guard", "kinds", "load", "read_manifest", "sha256", "write_manifest"]


@dataclass(frozen=True)
class Corpus:
    """A corpus, ready to be worked on.

    Attributes:
        name: What it is called.
        labels: The classes, in the order that gives them their index.
        clips: A row a clip: `manifest.COLUMNS` first, paths absolute.
        citation: What to cite, "" if unknown.
        licence: Terms of use, "" if unknown.
    """

    name: str
    labels: list[str]
    clips: pd.DataFrame
    citation: str = ""
    licence: str = ""


def kinds() -> list[str]:
    """What `load` takes as kind: "manifest", "demo" and the name of every adapter."""
    return ["manifest", "demo", *sorted(module.name for module in pkgutil.iter_modules(adapters.__path__))]


def load(
    *, kind: str, name: str, path: Path, labels: list[str] | None = None, settings: Mapping[str, Any] | None = None
) -> Corpus:
    """Say which clips a corpus has; no clip is opened.

    Args:
        kind: One of `kinds()`.
        name: What the corpus is called.
        path: The manifest; or the folder of an adapter's corpus; or that in which the demo corpus is generated.
        labels: The classes in the order wanted. Default: the adapter's or demo's own; for a manifest those that occur,
            in alphabetical order.
        settings: Of the demo corpus: keyword arguments of `demo.plan`.

    Raises:
        UserError: Unknown kind, no such file or folder, no clips in it, or faults of the manifest.
    """
    if kind not in kinds():
        raise UserError(f"unknown kind of corpus {kind!r}: known are {', '.join(kinds())}")
    if kind == "manifest":
        clips = read_manifest(path, labels=labels)
        return Corpus(name, labels or sorted(set(clips["label"])), clips)
    if kind == "demo":
        from deepfusion.corpora import demo as source  # heavier than the rest

        clips = source.plan(**(settings or {}))
    else:
        source = importlib.import_module(f"deepfusion.corpora.adapters.{kind}")
        if not path.is_dir():
            raise UserError(f"{path}: there is no such folder; it should hold the clips of {kind}")
        clips = source.clips(path)
        if clips.empty:
            raise UserError(f"{path} holds no clips of {kind}")
    labels = labels or source.LABELS
    if unknown := sorted(set(clips["label"]) - set(labels)):
        raise UserError(f"{name} has clips with labels that are not listed: {', '.join(unknown)}")
    return Corpus(name, labels, _complete(clips, path), source.CITATION, source.LICENCE)


def _complete(clips: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """Give an adapter's table all `COLUMNS`, in order, and absolute paths."""
    blank = {"split": "", "start": np.nan, "end": np.nan}
    clips = clips.assign(**{column: value for column, value in blank.items() if column not in clips})
    clips["path"] = [absolute(folder / path) for path in clips["path"]]
    if (twice := clips["id"].duplicated()).any():
        raise UserError(f"two clips have the id {clips['id'][twice].iloc[0]!r}: ids must be unique")
    return clips[[*COLUMNS, *clips.columns.difference(COLUMNS, sort=False)]].reset_index(drop=True)
