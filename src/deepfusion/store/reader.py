"""Reading a feature store, with numpy, h5py and pandas alone."""

import difflib
import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from deepfusion import costs
from deepfusion.errors import UserError
from deepfusion.store import layout
from deepfusion.store.faults import unreadable
from deepfusion.store.opening import open_layout
from deepfusion.versions import ENCODER


class FeatureStore:
    """A feature store, open for reading.

        with FeatureStore("features.h5") as store:
            clip = store["clip-1"]
            faces = clip["EF-A"][clip["valid"]]  # (frames with a face, 128)

    Iterating gives the clips in the order of the store. It can be pickled, so that workers open the file themselves.

    Args:
        path: The file.

    Attributes:
        path: The file.
        attrs: Root attributes: config (JSON text), code_version, corpus, key (changes with any content), ...
        labels: The classes, in the order that gives them their index.
        keys: Names of every clip's arrays: "time", "valid", "EF-A", "spectrogram", "audio_time", ... "AF" and "AF_time"
            only where the store has positions of the audio encoder.
        groups: Group -> its keys, which share their times: "video" (a row per frame), "audio" (per window of the
            spectrogram), and streams with times of their own, such as "audio/AF".
        networks: Face feature -> its attributes (network, weights' sha256, licence, ...), "EF-A" for example.

    Raises:
        UserError: There is no such file, it is not a store that this version reads, or it refers to other files.
        DamagedError: It is damaged; later reads of damaged data raise it, too.
        MachineError: It is in use, or cannot be read for another reason.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        self._file = open_layout(path, layout.STORE)
        try:
            layout.check_attributes(self._file)
            layout.check_store(self._file)
            self._survey()
        except BaseException:
            self._file.close()
            raise

    def _survey(self) -> None:
        """Index the file without reading features."""
        self.attrs: dict[str, Any] = layout.attributes(self._file)
        if "labels" not in self.attrs:
            raise UserError(f"{self.path} has no attribute labels: it is not a store as docs/store.md describes it")
        self.labels: list[str] = self.attrs["labels"]
        self._data = {name: self._file["video"][name] for name in layout.columns(self._file["video"])}
        for name in layout.columns(self._file["audio"]):
            self._data["audio_time" if name == "time" else name] = self._file["audio"][name]
        for name, group in layout.streams(self._file["audio"]).items():
            rows = "positions" if name == ENCODER else "features"
            self._data |= {name: group[rows], f"{name}_time": group["time"]}
        self.keys: list[str] = list(self._data)
        self.networks = {name: self.attributes(name) for name in self.keys if name.startswith("EF-")}
        # Plain numbers and dictionaries: a lookup in numpy or pandas takes as long as a short read.
        self.groups: dict[str, list[str]] = {}
        for name, data in self._data.items():
            self.groups.setdefault(data.parent.name.lstrip("/"), []).append(name)
        offsets = {group: self._file[group]["offsets"][:].tolist() for group in self.groups}
        self._offsets: dict[str, list[int]] = {name: offsets[of] for of, names in self.groups.items() for name in names}
        self._flags: dict[str, np.ndarray] = {}

    @cached_property
    def clips(self) -> pd.DataFrame:
        """Index clip id; label, speaker, path, video_status, frames, faces, ... (docs/store.md), one row per clip."""
        return layout.read_table(self._file["clips"]).set_index("id")

    @cached_property
    def _place(self) -> dict[str, int]:
        """Clip id -> its row in the table of clips."""
        return {clip_id: i for i, clip_id in enumerate(self.clips.index)}

    @cached_property
    def ledger(self) -> pd.DataFrame:
        """Costs of the features, one row per shard and part of the work (docs/store.md); no rows: not measured."""
        return layout.read_table(self._file["ledger"]) if "ledger" in self._file else costs.empty()

    def attributes(self, key: str) -> dict[str, Any]:
        """Attributes of "EF-A", "spectrogram", "AF", ...: units, axes, description, settings, licence.

        Those of "AF" include `frequency`: (F',) Hz, the centre of each of its bands.
        """
        return layout.attributes(self._dataset(key))

    def shape(self, key: str) -> tuple[int, ...]:
        """Shape of one row: (128,) of "EF-A", () of "time"."""
        return self._dataset(key).shape[1:]

    def dtype(self, key: str) -> np.dtype:
        """Type of its numbers."""
        return self._dataset(key).dtype

    def iter(self) -> Iterator["Clip"]:
        """The clips, in the order of the store."""
        for clip_id in self.clips.index:
            yield self[clip_id]

    __iter__ = iter

    def __len__(self) -> int:
        return len(self.clips)

    def __contains__(self, clip_id: str) -> bool:
        return clip_id in self._place

    def __getitem__(self, clip_id: str) -> "Clip":
        if clip_id not in self._place:
            raise UserError(f"{self.path} has no clip {clip_id!r}{_nearest(clip_id, self.clips.index)}")
        return Clip(self, clip_id, self._place[clip_id])

    def _dataset(self, key: str):
        if key not in self._data:
            raise UserError(f"{self.path} has no {key!r}{_nearest(key, self.keys)}; it has {', '.join(self.keys)}")
        return self._data[key]

    def _read(self, place: int, key: str) -> np.ndarray:
        data, (first, last) = self._dataset(key), self._offsets[key][place : place + 2]
        try:
            if data.dtype != bool:
                return data[first:last]
            # h5py reads flags slowly, so all of them are cached: one byte per frame.
            if key not in self._flags:
                self._flags[key] = data[:]
        except OSError as error:
            where = f"{data.name.lstrip('/')} of clip {self.clips.index[place]!r}"
            raise unreadable(self.path, error, where) from error
        return self._flags[key][first:last].copy()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> "FeatureStore":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def __reduce__(self):
        return FeatureStore, (self.path,)


class Clip:
    """One clip of a store; its arrays are read from the file on access.

    clip["EF-A"], clip["box"], ... have one row per frame (L, ...), clip["spectrogram"] and clip["audio_time"] one row
    per window (T, ...), clip["AF"] (R, F', C) and clip["AF_time"] (R,) one row per time position of the audio encoder.
    Rows of a frame without a face (`valid` False) are NaN in the face features.

    Attributes:
        id: Its id.
    """

    def __init__(self, store: FeatureStore, clip_id: str, place: int):
        self.id = clip_id
        self._store, self._place = store, place

    def keys(self) -> list[str]:
        """Names of its arrays; dict(clip) reads all of them."""
        return self._store.keys

    def __getitem__(self, key: str) -> np.ndarray:
        return self._store._read(self._place, key)


def _nearest(name: Any, names: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(name), list(names), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""
