"""Runs a network on crops in full batches, across the borders of clips, and writes one shard in order."""

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from deepfusion.store.shard import ShardWriter


class _Rows:
    """Successive rows of a clip; NaN where there is no face, or the feature is not computed yet."""

    def __init__(self, count: int, dimension: int, faces: int):
        self.values = np.full((count, dimension), np.nan, np.float32)
        self.faces = self.missing = faces


class Batches:
    """Takes clips one after another and writes rows once their last crop is computed.

    A batch may have crops of several clips: a failed clip does not affect its neighbours, and its pending rows are
    dropped. Memory has the rows of one batch, however long a clip is.

    Args:
        features: The network: (N, S, S, 3) uint8 -> (N, D) float32.
        batch: N of every call but the last.
        shard: Receives the clips; its column is declared.
        column: Name of that column.
        dimension: D.
        dtype: float32 or float16, of the stored features.
    """

    def __init__(
        self,
        features: Callable[[np.ndarray], np.ndarray],
        *,
        batch: int,
        shard: ShardWriter,
        column: str,
        dimension: int,
        dtype: str,
    ):
        self._features, self._batch, self._shard = features, batch, shard
        self._column, self._dimension, self._dtype = column, dimension, dtype
        self._crops: list[np.ndarray] = []
        self._places: list[tuple[_Rows, int]] = []  # where the feature of each crop goes
        self._steps: deque[tuple[str, Any]] = deque()  # pending calls on the shard, in order
        self._wrong = ""  # why the clip that is being written failed

    def begin(self, clip_id: str) -> None:
        """Start a clip."""
        self._steps.append(("begin", clip_id))

    def rows(self, valid: np.ndarray, crops: list[np.ndarray]) -> None:
        """Append rows to the clip.

        Args:
            valid: (l,) bool, the rows that have a face.
            crops: (S, S, 3) uint8 of each of them.
        """
        rows = _Rows(len(valid), self._dimension, len(crops))
        self._steps.append(("rows", rows))
        self._crops += crops
        self._places += [(rows, i) for i in np.flatnonzero(valid)]
        while len(self._crops) >= self._batch:
            self._compute()
        self._write()

    def end(self, **how: str) -> None:
        """Complete the clip; status and reason where it is not "ok"."""
        self._steps.append(("end", how))
        self._write()

    def fail(self, reason: str) -> None:
        """Record the clip as failed."""
        self._steps.append(("fail", reason))
        self._write()

    def finish(self) -> None:
        """Compute the last batch, which may not be full."""
        if self._crops:
            self._compute()
        self._write()

    def _compute(self) -> None:
        crops, self._crops = self._crops[: self._batch], self._crops[self._batch :]
        places, self._places = self._places[: self._batch], self._places[self._batch :]
        for (rows, i), feature in zip(places, self._features(np.stack(crops)), strict=True):
            rows.values[i] = feature
            rows.missing -= 1

    def _write(self) -> None:
        while self._steps:
            kind, value = self._steps[0]
            if kind == "rows" and value.missing:
                return
            self._steps.popleft()
            match kind:
                case "begin":
                    self._wrong = ""
                    self._shard.begin(value)
                case "rows":
                    self._append(value)
                case "end" if not self._wrong:
                    self._shard.end(**value)
                case "end":
                    self._shard.fail(self._wrong)
                case "fail":
                    self._shard.fail(value)

    def _append(self, rows: _Rows) -> None:
        with np.errstate(over="ignore"):  # beyond float16: reported below
            values = rows.values.astype(self._dtype)
        if np.isfinite(values).all(1).sum() != rows.faces:
            self._wrong = f"{self._column}: a feature is not a finite {self._dtype}: use float32 (store.dtype)"
        if not self._wrong:
            self._shard.append(self._column, values)
