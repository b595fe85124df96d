"""A copy of a feature store with one more stream: features of another tool. The store itself is never changed."""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from deepfusion.store import layout
from deepfusion.store.build import store_key
from deepfusion.store.commit import Disk, committed
from deepfusion.store.opening import open_layout

Rows = Callable[[int], tuple[np.ndarray, np.ndarray]]
"""Number of a clip -> its features (L, D) and their times (L,) s, on the clock of `video/time`."""


def extend(path: Path, out: Path, *, name: str, width: int, rows: Rows, attrs: Mapping[str, Any]) -> None:
    """Write a copy of a store with a further stream.

    Args:
        path: The store.
        out: The copy.
        name: "EF-..." becomes video/EF-..., a row per frame. "AX-..." becomes the group audio/AX-... with `offsets`,
            `time` and `features`.
        width: D, numbers of a row.
        rows: Features of each clip; for video one row per frame.
        attrs: Of the new dataset: description, licence, citation, ...

    Raises:
        UserError, DamagedError, MachineError: The store cannot be read, or the new one cannot be written.
    """
    with open_layout(path, layout.STORE) as source, committed(out, check=layout.check_store) as (file, disk):
        for group in source:
            source.copy(group, file)
            disk.check()
        file.attrs.update({key: value for key, value in source.attrs.items() if key != layout.DIGEST})
        if name.startswith(layout.IMPORTED_AUDIO):
            _write_stream(file["audio"].create_group(name), len(file["clips/id"]), width, rows, attrs, disk)
        else:
            offsets = file["video/offsets"][:]
            data = layout.create(file["video"], name, (int(offsets[-1]), width), np.float32)
            digest = hashlib.sha256()
            for i in np.flatnonzero(np.diff(offsets)):
                values, _ = rows(int(i))
                data[offsets[i] : offsets[i + 1]] = values
                digest.update(np.ascontiguousarray(values, np.float32))
                disk.check()
            _describe(data, digest, attrs, axes="frame feature", units="")
        file.attrs["key"] = store_key(file, layout.read_table(file["clips"]), list(file.attrs["labels"]))
        layout.seal_attributes(file)


def _write_stream(group: h5py.Group, clips: int, width: int, rows: Rows, attrs: Mapping[str, Any], disk: Disk) -> None:
    """The rows of an audio stream, clip after clip."""
    features = layout.create_growing(group, "features", (width,), np.float32)
    time = layout.create_growing(group, "time", (), np.float64)
    digests, ends = (hashlib.sha256(), hashlib.sha256()), [0]
    for i in range(clips):
        values, when = rows(i)
        ends.append(ends[-1] + len(values))
        for data, digest, part in zip((features, time), digests, (values, when), strict=True):
            data.resize(ends[-1], axis=0)
            data[ends[-2] : ends[-1]] = part
            digest.update(np.ascontiguousarray(part, data.dtype))
        disk.check()
    offsets = layout.write(group, "offsets", np.array(ends, np.int64))
    _describe(features, digests[0], attrs, axes="row feature", units="")
    _describe(time, digests[1], {"description": "centre of the row, on the clock of video/time"}, axes="row", units="s")
    what = {"description": "clip i has rows offsets[i]:offsets[i + 1]"}
    _describe(offsets, hashlib.sha256(np.array(ends, np.int64)), what, axes="clip", units="row")


def _describe(data: h5py.Dataset, digest: Any, attrs: Mapping[str, Any], *, axes: str, units: str) -> None:
    data.attrs.update({**attrs, "stage": "import", "axes": axes, "units": units, "content_sha256": digest.hexdigest()})
