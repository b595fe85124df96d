"""A shard: the results of one stage for one block of clips, in one HDF5 file.

clips/id, clips/status, clips/reason, clips/<field>     (n,)      one value per clip
offsets                                                 (n + 1,)  rows offsets[i]:offsets[i + 1] are clip i
<column>                                                (sum of lengths, ...)
<table>/offsets, <table>/<column>                       likewise, a table whose clips have other lengths; optional
ledger/<field>                                          its cost, one row per part of the work; optional
"""

import os
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd

from deepfusion import costs
from deepfusion.store import layout
from deepfusion.store.commit import committed
from deepfusion.store.faults import unreadable
from deepfusion.store.opening import open_layout

STATUSES = ("ok", "absent", "failed")


class ShardWriter:
    """Writes one shard, clip by clip, straight to the disk; it appears at `path` complete or not at all.

        with ShardWriter(path, stage="EF-A", attrs={"sha256": weights}) as shard:
            shard.column("EF-A", (128,), np.float32, units="1", axes="frame, feature")
            shard.begin("clip-1")
            shard.append("EF-A", rows)  # (l, 128), any number of times
            shard.end(video_start=0.0)

    Misuse (a clip twice, columns of unequal length, ...) raises ValueError: it is a bug in the caller. A full disk
    and the like raise MachineError, at the latest when the `with` block ends.

    Args:
        path: The shard. An existing complete shard stays until the new one is complete.
        stage: Name of the stage, "faces" or "EF-A" for example.
        key: Cache key of what the shard depends on (clips, settings, code), to check whether it is up to date.
        attrs: What the stage's result depends on (settings, weights' sha256, licence, ...), the same in all shards of a
            stage: strings, numbers or arrays. They become attributes of the stage's datasets in the store.
    """

    def __init__(self, path: str | os.PathLike, *, stage: str, key: str = "", attrs: dict[str, Any] | None = None):
        self.path, self.stage = Path(path), stage
        own = {"stage": stage, "key": key, "layout": layout.SHARD, "layout_version": layout.VERSION}
        self._attrs = {**(attrs or {}), **own}
        self._columns: dict[str, h5py.Dataset] = {}
        self._clips: dict[str, dict[str, Any]] = {}  # id -> what is written in clips/
        self._costs: list[dict[str, Any]] = []  # rows of ledger/
        self._offsets = {"": [0]}  # table -> its offsets
        self._open: str | None = None  # the clip between begin() and end()

    def __enter__(self) -> "ShardWriter":
        with ExitStack() as stack:
            self._file, self._disk = stack.enter_context(committed(self.path, check=layout.check_shard))
            self._file.attrs.update(self._attrs)
            stack.push(self._finish)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error) -> None:
        self._stack.__exit__(*error)

    def column(self, name: str, shape: tuple[int, ...] = (), dtype: Any = np.float32, **attrs: Any) -> None:
        """Declare a column, before the first clip.

        Args:
            name: Its name in the shard and in the store; "found/time" is the column `time` of the table `found`.
            shape: Shape of one row.
            dtype: Type of its values.
            **attrs: units, axes, description, and whatever else a reader should know.
        """
        if name in ("clips", "offsets", "ledger") or self._clips or self._open is not None:
            raise ValueError(f"column {name!r}: declared after the first clip, or a reserved name")
        column = layout.create_growing(self._file, name, shape, dtype)
        column.attrs.update(attrs)
        self._columns[name] = column
        self._offsets.setdefault(_table(name), [0])

    def begin(self, clip_id: str) -> None:
        """Start a clip."""
        if self._open is not None:
            raise ValueError(f"clip {clip_id!r} begins before {self._open!r} ended")
        if clip_id in self._clips:
            raise ValueError(f"clip {clip_id!r} is in the shard already")
        self._open = clip_id

    def append(self, name: str, rows: np.ndarray) -> None:
        """Append rows (l, *shape) to a column of the open clip."""
        if self._open is None:
            raise ValueError("begin a clip before appending to it")
        column, rows = self._columns[name], np.asarray(rows)
        if rows.shape[1:] != column.shape[1:]:
            raise ValueError(f"rows of {name} have shape {rows.shape[1:]}, declared is {column.shape[1:]}")
        length = len(column)
        column.resize(length + len(rows), axis=0)
        column[length:] = rows
        self._disk.check()

    def end(self, *, status: str = "ok", reason: str = "", **fields: float | int | str) -> None:
        """Complete the clip.

        Args:
            status: "ok", or "absent" when the file has no such modality; then there must be no rows.
            reason: Why it is not "ok".
            **fields: Further facts about the clip, one value each (video_start=0.04): they reach the store's table of
                clips. A field that another clip of the shard lacks is NaN or "" there.
        """
        if status not in STATUSES or (status == "ok") != (reason == ""):
            raise ValueError(f"status {status!r} with reason {reason!r}: one of {STATUSES}, a reason unless ok")
        lengths = {name: len(column) - self._offsets[_table(name)][-1] for name, column in self._columns.items()}
        if len({(_table(name), length) for name, length in lengths.items()}) > len(self._offsets):
            raise ValueError(f"columns of clip {self._open!r} differ in length: {lengths}")
        if status != "ok" and any(lengths.values()):
            raise ValueError(f"clip {self._open!r} is {status} and has rows: {lengths}")
        self._close_clip(status, reason, fields)

    def fail(self, reason: str, **fields: float | int | str) -> None:
        """Record the clip as failed with its reason, and remove its rows."""
        for name, column in self._columns.items():
            column.resize(self._offsets[_table(name)][-1], axis=0)
        self._close_clip("failed", reason or "no reason given", fields)

    @property
    def clips(self) -> int:
        """Clips that are complete."""
        return len(self._clips)

    @property
    def rows(self) -> int:
        """Rows of the complete clips."""
        return self._offsets[""][-1]

    def seconds(self) -> float:
        """Duration of the complete clips, s, by the column `time`; 0 without one."""
        return _seconds(self._columns, np.array(self._offsets[""]))

    def cost(self, **fields: float | str) -> None:
        """Add a row to the shard's ledger: fields of `deepfusion.costs.COLUMNS`, in any number of rows."""
        self._costs.append(fields)

    def _close_clip(self, status: str, reason: str, fields: dict[str, Any]) -> None:
        if self._open is None:
            raise ValueError("no clip was begun")
        if wrong := {"id", "status", "reason"} & fields.keys():
            raise ValueError(f"fields cannot be called {wrong}")
        fields = {name: _text(value) if isinstance(value, str) else value for name, value in fields.items()}
        self._clips[self._open] = {"status": status, "reason": _text(reason), **fields}
        for table, offsets in self._offsets.items():
            lengths = [len(column) for name, column in self._columns.items() if _table(name) == table]
            offsets.append(max(lengths, default=0))
        self._open = None

    def _finish(self, kind: type | None, *_) -> None:
        if kind is not None:
            return
        if self._open is not None:
            raise ValueError(f"clip {self._open!r} was begun and not ended")
        names = dict.fromkeys(["status", "reason", *(name for clip in self._clips.values() for name in clip)])
        table = {name: _values([clip.get(name) for clip in self._clips.values()]) for name in names}
        table = pd.DataFrame({"id": pd.Series(list(self._clips), dtype=object), **table})
        layout.write_table(self._file.create_group("clips", track_order=True), table)
        if self._costs:
            layout.write_table(self._file.create_group("ledger", track_order=True), pd.DataFrame(self._costs))
        for group, offsets in self._offsets.items():
            layout.write(self._file[f"/{group}"], "offsets", np.array(offsets, dtype=np.int64))
        layout.write_texts(self._file.attrs, "columns", list(self._columns))


def _table(name: str) -> str:
    """The table of a column, "" for the shard's own."""
    return name.rpartition("/")[0]


def _text(text: str) -> str:
    """Text that HDF5 can store, without lone surrogates and NUL: a reason may quote file names or messages."""
    return text.replace("\0", "").encode(errors="backslashreplace").decode()


def _values(values: list) -> pd.Series:
    if not values or any(isinstance(value, str) for value in values):
        return pd.Series(["" if value is None else value for value in values], dtype=object)
    return pd.Series([np.nan if value is None else value for value in values])


def _seconds(columns: dict[str, h5py.Dataset], offsets: np.ndarray) -> float:
    """Sum over clips of the time between first and last row, plus the duration of one row."""
    if "time" not in columns or not offsets[-1]:
        return 0.0
    times, lengths = columns["time"][:], np.diff(offsets)
    first, last = offsets[:-1][lengths > 1], offsets[1:][lengths > 1] - 1
    lengths = lengths[lengths > 1]
    return float(((times[last] - times[first]) * lengths / (lengths - 1)).sum())


@dataclass(frozen=True)
class Shard:
    """An open shard; close it, or use it in a `with` statement.

    Attributes:
        path: Its file.
        stage: Which stage wrote it.
        key: Cache key given by its writer.
        attrs: What the stage's result depends on.
        clips: Index clip id; status ("ok", "absent", "failed"), reason, and the stage's fields.
        offsets: (n + 1,) int64; rows offsets[i]:offsets[i + 1] are clip i.
        tables: Names of the tables that have offsets of their own: `read_shard` opens them.
        columns: The datasets, read when sliced.
        ledger: Its cost (`deepfusion.costs`); no rows if not measured.
    """

    path: Path
    stage: str
    key: str
    attrs: dict[str, Any]
    clips: pd.DataFrame
    offsets: np.ndarray
    tables: list[str]
    columns: dict[str, h5py.Dataset]
    ledger: pd.DataFrame
    file: h5py.File

    def seconds(self) -> float:
        """Duration of its clips, s, by the column `time`; 0 without one."""
        return _seconds(self.columns, self.offsets)

    def __getitem__(self, clip_id: str) -> dict[str, np.ndarray]:
        """All columns of one clip: name -> (L, ...).

        Raises:
            DamagedError: They cannot be read.
        """
        i = self.clips.index.get_loc(clip_id)
        first, last = self.offsets[i : i + 2]
        return {name: self.rows(name, first, last) for name in self.columns}

    def rows(self, name: str, first: int, last: int) -> np.ndarray:
        """Rows first:last of a column; raises DamagedError if they cannot be read."""
        try:
            return self.columns[name][first:last]
        except OSError as error:
            raise unreadable(self.path, error, f"{name}, rows {first}:{last},") from error

    def __enter__(self) -> "Shard":
        return self

    def __exit__(self, *_) -> None:
        self.file.close()


def read_shard(path: str | os.PathLike, table: str = "") -> Shard:
    """Open a shard. Not all of it is read: `check_whole` does that.

    Args:
        path: Its file.
        table: One of its `tables`: offsets and columns are then those of the table.

    Raises:
        UserError: It is missing, not a shard, or of another version.
        DamagedError: Data needed to open it are damaged.
        MachineError: It cannot be read for another reason.
    """
    file = open_layout(path, layout.SHARD)
    try:
        layout.check_shard(file)
        attrs = layout.attributes(file)
        names = attrs.pop("columns")
        tables = list(dict.fromkeys(_table(name) for name in names if _table(name)))
        columns = {name.removeprefix(f"{table}/"): file[name] for name in names if _table(name) == table}
        del attrs["layout"], attrs["layout_version"]
        stage, key = attrs.pop("stage"), attrs.pop("key")
        clips, offsets = layout.read_table(file["clips"]).set_index("id"), file[f"{table}/offsets"][:]
        ledger = layout.read_table(file["ledger"]) if "ledger" in file else costs.empty()
        return Shard(Path(path), stage, key, attrs, clips, offsets, tables, columns, ledger, file)
    except (KeyError, OSError) as error:
        file.close()
        raise unreadable(path, error, "its structure") from error
    except BaseException:
        file.close()
        raise
