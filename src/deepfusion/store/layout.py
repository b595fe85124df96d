"""Shared by shards and stores: names, version, datasets, tables of clips, ragged arrays, attributes."""

import hashlib
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import pandas as pd

from deepfusion.errors import UserError
from deepfusion.store.faults import damaged, unreadable
from deepfusion.versions import ENCODER

SHARD = "deepfusion-shard"
STORE = "deepfusion-feature-store"
VERSION = 2

# A chunk is read and checked as a whole: larger chunks slow down short clips, smaller ones long clips.
CHUNK_BYTES = 1 << 15
GROWING_CHUNK_ROWS = 1024  # narrow columns of a shard would waste most of a chunk
TEXT_CHUNK_BYTES = 1 << 18
BLOCK_BYTES = 1 << 22  # maximum read at once, so that memory does not grow with the length of a clip

DIGEST = "attributes_sha256"

FOUND = "found"  # optional group of video/: all faces in the searched frames, with offsets of its own
# Of the optional group audio/AF: positions of the audio encoder, with offsets of its own.
ENCODER_COLUMNS = ["time", "positions"]
# Of an optional group audio/AX-...: features of another tool, with offsets of their own.
STREAM_COLUMNS = ["time", "features"]
IMPORTED_AUDIO = "AX-"


def attributes(of: h5py.Group | h5py.Dataset) -> dict[str, Any]:
    """The attributes of a group or dataset as plain Python values."""
    return {name: value.tolist() if hasattr(value, "tolist") else value for name, value in of.attrs.items()}


def write_texts(attrs: h5py.AttributeManager, name: str, texts: list[str]) -> None:
    """Write a list of strings, possibly empty, as an attribute."""
    attrs.create(name, np.array(texts, dtype=object), dtype=h5py.string_dtype("utf-8"))


def attributes_digest(file: h5py.File) -> str:
    """SHA-256 of all attributes of a file except itself: HDF5 has no checksums of their text."""
    digest = hashlib.sha256()
    for thing in (file, *objects(file)):
        for name, value in sorted(attributes(thing).items()):
            if (thing.name, name) != ("/", DIGEST):
                digest.update(f"{thing.name} {name} {value!r}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def seal_attributes(file: h5py.File) -> None:
    """Write the digest of all attributes; nothing must be written afterwards."""
    file.attrs[DIGEST] = attributes_digest(file)


def check_attributes(file: h5py.File) -> None:
    """Compare the attributes with their digest, if the file has one.

    Raises:
        DamagedError: They differ.
    """
    try:
        same = file.attrs.get(DIGEST) in (None, attributes_digest(file))
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise unreadable(file.filename, error, "an attribute") from error
    if not same:
        raise damaged(file.filename, "its attributes are not those that were written")


def objects(group: h5py.Group) -> Iterator[h5py.Group | h5py.Dataset]:
    """All groups and datasets below a group, by name."""
    for _, thing in sorted(group.items()):
        yield thing
        if isinstance(thing, h5py.Group):
            yield from objects(thing)


def chunk_rows(shape: tuple[int, ...], dtype: Any) -> int:
    """Rows of this shape in a chunk."""
    return max(1, CHUNK_BYTES // max(1, np.dtype(dtype).itemsize * int(np.prod(shape))))


def create_growing(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: Any) -> h5py.Dataset:
    """Create an empty dataset that can be extended; `shape` is that of one row."""
    rows = min(GROWING_CHUNK_ROWS, chunk_rows(shape, dtype))
    chunks = (rows, *(max(1, n) for n in shape))
    return group.create_dataset(name, (0, *shape), dtype, maxshape=(None, *shape), chunks=chunks, fletcher32=True)


def create(group: h5py.Group, name: str, shape: tuple[int, ...], dtype: Any) -> h5py.Dataset:
    """Create a dataset of this shape, rows first, in chunks of whole rows with checksums."""
    if not np.prod(shape):
        return group.create_dataset(name, shape, dtype)  # empty: HDF5 cannot chunk it
    chunks = (min(shape[0], chunk_rows(shape[1:], dtype)), *shape[1:])
    return group.create_dataset(name, shape, dtype, chunks=chunks, fletcher32=True)


def write(group: h5py.Group, name: str, values: np.ndarray) -> h5py.Dataset:
    """Write a dataset of numbers."""
    data = create(group, name, values.shape, values.dtype)
    data[...] = values
    return data


def write_table(group: h5py.Group, table: pd.DataFrame) -> None:
    """Write every column of a table as a dataset of the group: numbers as they are, all else as UTF-8 text."""
    for name, column in table.items():
        if pd.api.types.is_numeric_dtype(column):
            write(group, name, column.to_numpy())
        else:
            _write_column_of_texts(group, name, [str(text) for text in column])


def _write_column_of_texts(group: h5py.Group, name: str, texts: list[str]) -> None:
    """Write texts of fixed length, padded with NUL: HDF5 has no checksums of variable-length texts."""
    if wrong := next((text for text in texts if "\0" in text), None):
        raise ValueError(f"{group.name}/{name}: {wrong!r} has a NUL character")
    encoded = [text.encode() for text in texts]
    width = max([1, *map(len, encoded)])
    dtype = h5py.string_dtype("utf-8", width)
    if not encoded:
        group.create_dataset(name, (0,), dtype)
        return
    rows = min(len(encoded), max(1, TEXT_CHUNK_BYTES // width))
    data = group.create_dataset(
        name, (len(encoded),), dtype, chunks=(rows,), compression="gzip", shuffle=True, fletcher32=True
    )
    for i in range(0, len(encoded), rows):  # all of them padded may not fit in memory
        data[i : i + rows] = np.array(encoded[i : i + rows], dtype=dtype)


def read_table(group: h5py.Group) -> pd.DataFrame:
    """Read what `write_table` wrote.

    Raises:
        DamagedError: A column cannot be read.
        UserError: It is not UTF-8 text.
    """
    columns = {}
    for name, data in group.items():
        try:
            columns[name] = _read_texts(data) if h5py.check_string_dtype(data.dtype) else data[:]
        except UnicodeDecodeError as error:
            raise UserError(f"{group.file.filename}:{data.name} is not UTF-8 text") from error
        except OSError as error:
            raise unreadable(group.file.filename, error, data.name.lstrip("/")) from error
    return pd.DataFrame(columns)


def _read_texts(data: h5py.Dataset) -> np.ndarray:
    texts = np.empty(len(data), dtype=object)
    rows = max(1, BLOCK_BYTES // data.dtype.itemsize)
    for i in range(0, len(data), rows):
        texts[i : i + rows] = data.asstr()[i : i + rows]
    return texts


def check_store(file: h5py.File) -> None:
    """Check that the groups of a store are consistent.

    Raises:
        UserError: They are not.
        DamagedError: Data needed for this check are damaged.
    """
    for name in ("clips", "video", "audio"):
        if not isinstance(file.get(name), h5py.Group):
            raise UserError(f"{file.filename} has no group {name}: it is not a store as docs/store.md describes it")
    clips = check_clips(file["clips"])
    for name in ("video", "audio"):
        check_ragged(file[name], columns(file[name]), clips=clips)
    if FOUND in file["video"]:
        found = file["video"][FOUND]
        check_ragged(found, columns(found), clips=clips)
    for name, group in streams(file["audio"]).items():
        if name == ENCODER:
            check_encoder(file["audio"], clips=clips)
        else:
            check_ragged(group, STREAM_COLUMNS, clips=clips)


def columns(group: h5py.Group) -> list[str]:
    """Names of the ragged columns of a group: its datasets except `offsets`. Groups in it have offsets of their own."""
    return [name for name, thing in group.items() if isinstance(thing, h5py.Dataset) and name != "offsets"]


def streams(audio: h5py.Group) -> dict[str, Any]:
    """Members of the group audio with their own times, by name: `AF`, and imported streams."""
    return {name: thing for name, thing in audio.items() if name == ENCODER or _imported(name, thing)}


def _imported(name: str, thing: Any) -> bool:
    return name.startswith(IMPORTED_AUDIO) and isinstance(thing, h5py.Group)


def check_encoder(audio: h5py.Group, *, clips: int) -> None:
    """Check that the datasets of audio/AF are consistent.

    Args:
        audio: The group audio.
        clips: Number of clips.

    Raises:
        UserError: They are not; the line names the dataset.
        DamagedError: `offsets` cannot be read.
    """
    where = f"{audio.file.filename}:{audio.name}/{ENCODER}"
    group = audio[ENCODER]
    if not isinstance(group, h5py.Group):
        raise UserError(f"{where} is not a group; extract the file again")
    check_ragged(group, ENCODER_COLUMNS, clips=clips)
    frequency, positions = group.get("frequency"), group["positions"]
    if positions.ndim != 3 or getattr(frequency, "shape", None) != positions.shape[1:2]:
        raise UserError(f"{where}/frequency does not fit positions {positions.shape}; extract the file again")


def check_shard(file: h5py.File) -> None:
    """Check that the datasets of a shard are consistent.

    Raises:
        UserError: They are not.
        DamagedError: Data needed for this check are damaged.
    """
    if "columns" not in file.attrs or not isinstance(file.get("clips"), h5py.Group):
        raise UserError(f"{file.filename} has no attribute columns or no group clips: it is not a shard")
    clips = check_clips(file["clips"])
    tables: dict[str, list[str]] = {"": []}
    for name in file.attrs["columns"]:
        table, _, column = name.rpartition("/")
        tables.setdefault(table, []).append(column)
    for table, names in tables.items():
        if not isinstance(file.get(f"/{table}"), h5py.Group):
            raise UserError(f"{file.filename}:/{table} is missing; extract the file again")
        check_ragged(file[f"/{table}"], names, clips=clips)


def check_clips(group: h5py.Group) -> int:
    """Check that the columns of the table of clips are equally long; returns how many clips there are."""
    where = f"{group.file.filename}:{group.name}"
    if "id" not in group or not h5py.check_string_dtype(group["id"].dtype):
        raise UserError(f"{where} has no column id of text")
    lengths = {name: data.shape for name, data in group.items() if isinstance(data, h5py.Dataset)}
    if len(set(lengths.values())) != 1 or len(group["id"].shape) != 1 or len(lengths) != len(group):
        raise UserError(f"{where}: its columns are not equally long: {lengths}")
    return len(group["id"])


def check_ragged(group: h5py.Group, columns: list[str], *, clips: int) -> None:
    """Check that `offsets` and the columns of a group are consistent.

    Args:
        group: Holds `offsets` (clips + 1,) and the columns (offsets[-1], ...).
        columns: Names of the columns that must be there.
        clips: How many clips there are.

    Raises:
        UserError: They are not; the line names the dataset.
        DamagedError: `offsets` cannot be read.
    """
    where = f"{group.file.filename}:{group.name}".rstrip("/")
    for name in ("offsets", *columns):
        if not isinstance(group.get(name), h5py.Dataset):
            raise UserError(f"{where}/{name} is missing; extract the file again")
    data = group["offsets"]
    if data.shape != (clips + 1,) or data.dtype.kind not in "iu":
        raise UserError(f"{where}/offsets does not describe {clips} clips; extract the file again")
    try:
        offsets = data[:].astype(np.int64)
    except OSError as error:
        raise unreadable(group.file.filename, error, data.name.lstrip("/")) from error
    if offsets[0] != 0 or (np.diff(offsets) < 0).any():
        raise UserError(f"{where}/offsets does not describe {clips} clips; extract the file again")
    for name in columns:
        rows = group[name].shape[:1]
        if rows != (offsets[-1],):
            raise UserError(
                f"{where}/{name} has {rows[0] if rows else 'no'} rows where offsets say {offsets[-1]}; "
                "extract the file again"
            )
