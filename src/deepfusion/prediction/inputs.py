"""Inputs of `predict` (files, folders, manifests, a table) -> one table of clips."""

import difflib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from deepfusion import corpora
from deepfusion.corpora import folder, read_manifest
from deepfusion.corpora.columns import COLUMNS, file_of
from deepfusion.corpora.manifest import absolute
from deepfusion.errors import UserError

Inputs = str | os.PathLike | Sequence[str | os.PathLike] | pd.DataFrame


def clips_of(inputs: Inputs) -> pd.DataFrame:
    """The clips, one row each, with the columns of a manifest; no file is opened.

    Args:
        inputs: A media file, a folder (all media files below it), a manifest (.csv), a list of such, or a table with a
            column `path` and optionally the other columns of a manifest. Relative paths start at the working folder.

    Raises:
        UserError: There is no such file or folder, no clip in it, or a manifest is wrong.
    """
    if isinstance(inputs, pd.DataFrame):
        return _distinct([_of_table(inputs)])
    if isinstance(inputs, str | os.PathLike):
        inputs = [inputs]
    if not inputs:
        raise UserError("nothing to predict: give a media file, a folder or a manifest (.csv)")
    return _distinct([_of_path(Path(path)) for path in inputs])


def is_one_file(inputs: Inputs) -> bool:
    """Whether this is a single media file, which gives a `Prediction` instead of `Predictions`."""
    return isinstance(inputs, str | os.PathLike) and not Path(inputs).is_dir() and Path(inputs).suffix.lower() != ".csv"


def _of_path(path: Path) -> pd.DataFrame:
    if path.is_dir():
        root = Path(absolute(path))
        return corpora.complete(folder.clips(root, classes=False), root)[list(COLUMNS)]
    if not path.exists():
        raise UserError(f"{path}: there is no such file or folder{_nearest(path)}")
    if path.suffix.lower() == ".csv":
        return read_manifest(path, labels=None)[list(COLUMNS)]
    return corpora.complete(pd.DataFrame({"id": [path.stem], "path": [str(path)]}), Path.cwd())


def _of_table(table: pd.DataFrame) -> pd.DataFrame:
    if "path" not in table:
        raise UserError(f"the table has no column 'path'; it has {', '.join(map(str, table.columns))}")
    if table.empty:
        raise UserError("the table has no rows")
    known = table[[name for name in COLUMNS if name in table]].copy()
    if "id" not in known:
        known["id"] = [Path(file_of(str(path))).stem for path in known["path"]]
    for name in known.columns.difference(["start", "end"]):
        known[name] = known[name].fillna("").astype(str)
    known["id"] = _numbered(known["id"].tolist())
    return corpora.complete(known, Path.cwd())


def _distinct(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """All clips in one table; equal ids of different clips are numbered.

    A clip that several inputs contain is taken from the first. The rows of one manifest are all kept: each has its id.
    """
    table = pd.concat(tables, ignore_index=True)
    source = pd.Series(np.repeat(range(len(tables)), list(map(len, tables))))
    clip = [table[name] for name in ("path", "audio", "start", "end", "person")]
    table = table[source.eq(source.groupby(clip, dropna=False).transform("min"))].reset_index(drop=True)
    return table.assign(id=_numbered(table["id"].tolist()))


def _numbered(ids: list[str]) -> list[str]:
    """The ids made unique: repeated ones get "-2", "-3", ..."""
    taken, new = set(ids), []
    used: set[str] = set()
    for id_ in ids:
        name, count = id_, 1
        while name in used or (count > 1 and name in taken):
            count += 1
            name = f"{id_}-{count}"
        used.add(name)
        new.append(name)
    return new


def _nearest(path: Path) -> str:
    try:
        names = [other.name for other in path.parent.iterdir()]
    except OSError:
        return ""
    close = difflib.get_close_matches(path.name, names, n=1)
    return f"; did you mean {path.parent / close[0]}?" if close else ""
