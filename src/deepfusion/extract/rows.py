"""Rows of one clip outside any shard, with the interface of a `ShardWriter`."""

import tempfile
from typing import Any

import numpy as np

# Bytes of a column that stay in memory; 16 MB are EF-VGG of 1,000 frames. More goes to a temporary file.
IN_MEMORY = 16_000_000


class Column:
    """Rows of one column; beyond `in_memory` bytes they are in a temporary file, so that memory stays flat."""

    def __init__(self, in_memory: int = IN_MEMORY):
        self._in_memory = in_memory
        self._blocks: list[np.ndarray] = []
        self._bytes = 0
        self._file = None
        self._like: np.ndarray | None = None
        self._length = 0

    def append(self, rows: np.ndarray) -> None:
        """Append rows (l, ...); all calls have the same dtype and shape of a row."""
        rows = np.ascontiguousarray(rows)
        self._like = rows[:0] if self._like is None else self._like
        self._blocks.append(rows)
        self._bytes += rows.nbytes
        self._length += len(rows)
        if self._bytes > self._in_memory:
            self._spill()

    def _spill(self) -> None:
        self._file = self._file or tempfile.TemporaryFile()  # noqa: SIM115  closed with the last array of it
        for block in self._blocks:
            self._file.write(block.data)
        self._blocks, self._bytes = [], 0

    def array(self) -> np.ndarray | None:
        """All rows, (L, ...); a memory map where they are in a file; None if nothing was appended."""
        if self._like is None:
            return None
        if self._file is None:
            self._blocks = [np.concatenate(self._blocks)] if len(self._blocks) > 1 else self._blocks
            return self._blocks[0]
        self._spill()
        self._file.flush()
        # Copy-on-write: torch warns of arrays that cannot be written.
        return np.memmap(self._file, self._like.dtype, "c", shape=(self._length, *self._like.shape[1:]))


class ClipRows:
    """The rows of one clip, filled by the calls that a stage makes on a `ShardWriter`.

    Attributes:
        status: "ok", "absent" or "failed", after `end` or `fail`.
        reason: Why it is not "ok".
        facts: Facts that the stage recorded about the clip.
    """

    def __init__(self) -> None:
        self.status, self.reason = "ok", ""
        self.facts: dict[str, Any] = {}
        self._columns: dict[str, Column] = {}

    def begin(self, clip_id: str) -> None:
        """Start the clip."""

    def append(self, name: str, rows: np.ndarray) -> None:
        """Append rows (l, ...) to a column."""
        self._columns.setdefault(name, Column()).append(rows)

    def end(self, *, status: str = "ok", reason: str = "", **facts: Any) -> None:
        """Complete the clip."""
        self.status, self.reason = status, reason
        self.facts |= facts

    def fail(self, reason: str, **facts: Any) -> None:
        """Record the clip as failed, without rows."""
        self._columns = {}
        self.end(status="failed", reason=reason, **facts)

    def adopt(self, other: "ClipRows") -> None:
        """Take over the columns of another one."""
        self._columns |= other._columns

    def arrays(self) -> dict[str, np.ndarray]:
        """Column -> (L, ...)."""
        return {name: column.array() for name, column in self._columns.items()}
