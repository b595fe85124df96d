"""Columns of a store that are computed row by row from its other columns."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import h5py
import numpy as np

from deepfusion.store import layout
from deepfusion.store.commit import Disk

ROWS = 1024  # computed at a time


@dataclass(frozen=True)
class Derived:
    """A column that is computed from others of its group.

    Attributes:
        name: Its name.
        needs: The columns that it is computed from.
        shape: Of one row.
        compute: Rows (l, ...) of each needed column -> (l, *shape); each row depends on the same row of the others
            only.
        attrs: units, axes, description, and whatever else a reader should know.
    """

    name: str
    needs: tuple[str, ...]
    shape: tuple[int, ...]
    compute: Callable[[Mapping[str, np.ndarray]], np.ndarray]
    attrs: Mapping[str, object] = field(default_factory=dict)

    def rows(self, columns: Mapping[str, np.ndarray | h5py.Dataset], first: int) -> np.ndarray:
        """(l, *shape) float32: at most `ROWS` rows from `first` on."""
        given = {name: columns[name][first : first + ROWS] for name in self.needs}
        return self.compute(given).astype(np.float32)


def write_derived(group: h5py.Group, column: Derived, disk: Disk) -> None:
    """Compute a column for all rows of a group."""
    length = len(group[column.needs[0]])
    target, digest = layout.create(group, column.name, (length, *column.shape), np.float32), hashlib.sha256()
    for first in range(0, length, ROWS):
        rows = column.rows(group, first)
        target[first : first + len(rows)] = rows
        digest.update(rows)
        disk.check()
    target.attrs.update({**column.attrs, "stage": "derived", "content_sha256": digest.hexdigest()})
