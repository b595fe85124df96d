"""What shards and stores have in common: names, version, tables of clips, ragged arrays and their check."""

import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from deepfusion.errors import UserError

SHARD = "deepfusion-shard"
STORE = "deepfusion-feature-store"
VERSION = 1

TEXT = h5py.string_dtype("utf-8")


def open_layout(path: str | os.PathLike, layout: str) -> h5py.File:
    """Open a shard or a store for reading.

    Args:
        path: The file.
        layout: `SHARD` or `STORE`.

    Raises:
        UserError: There is no such file, it is damaged, or it is something else or of another version.
    """
    if not Path(path).is_file():
        raise UserError(f"{path}: there is no such file")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise UserError(f"{path} is damaged or not an HDF5 file ({error}); remove it and make it again") from error
    try:
        if file.attrs.get("layout") != layout:
            raise UserError(f"{path} is not a {layout} but {file.attrs.get('layout', 'some other HDF5 file')!r}")
        if file.attrs.get("layout_version") != VERSION:
            raise UserError(
                f"{path} has version {file.attrs.get('layout_version')} of the {layout} layout and this program reads "
                f"version {VERSION}: use the program that wrote it, or make the file again"
            )
    except UserError:
        file.close()
        raise
    return file


def attributes(of: h5py.Group | h5py.Dataset) -> dict[str, Any]:
    """The attributes of a group or dataset as plain Python values."""
    return {name: value.tolist() if hasattr(value, "tolist") else value for name, value in of.attrs.items()}


def write_texts(attrs: h5py.AttributeManager, name: str, texts: list[str]) -> None:
    """Write a list of strings, possibly empty, as an attribute."""
    attrs.create(name, np.array(texts, dtype=object), dtype=TEXT)


def write_table(group: h5py.Group, table: pd.DataFrame) -> None:
    """Write every column of a table as a dataset of the group: numbers as they are, all else as UTF-8 text."""
    for name, column in table.items():
        if pd.api.types.is_numeric_dtype(column):
            group.create_dataset(name, data=column.to_numpy())
        else:
            group.create_dataset(name, data=column.to_numpy(dtype=object), dtype=TEXT)


def read_table(group: h5py.Group) -> pd.DataFrame:
    """Read what `write_table` wrote."""
    columns = {
        name: data.asstr()[:] if h5py.check_string_dtype(data.dtype) else data[:] for name, data in group.items()
    }
    return pd.DataFrame(columns)


def check_ragged(group: h5py.Group, columns: list[str], *, clips: int) -> None:
    """Check that `offsets` and the columns of a group belong together.

    Args:
        group: Holds `offsets` (clips + 1,) and the columns (offsets[-1], ...).
        columns: Names of the columns that must be there.
        clips: How many clips there are.

    Raises:
        UserError: They do not; the line says which dataset is wrong.
    """
    where = f"{group.file.filename}:{group.name}"
    if missing := [name for name in ["offsets", *columns] if name not in group]:
        raise UserError(f"{where} is damaged: {', '.join(missing)} missing; remove the file and make it again")
    offsets = group["offsets"][:]
    if len(offsets) != clips + 1 or offsets[0] != 0 or (np.diff(offsets) < 0).any():
        raise UserError(f"{where}/offsets does not describe {clips} clips; remove the file and make it again")
    for name in columns:
        if len(group[name]) != offsets[-1]:
            raise UserError(
                f"{where}/{name} has {len(group[name])} rows where offsets say {offsets[-1]}; "
                "remove the file and make it again"
            )
