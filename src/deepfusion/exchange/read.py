"""Features of other tools: .csd files, and folders of .npy and .npz files.

Each reader gives a mapping: id of a clip -> (features (L, D), intervals (L, 2) s, or None if the file has no times).
"""

import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

import h5py
import numpy as np

from deepfusion.errors import UserError
from deepfusion.prediction.file_names import file_name

Found = tuple[np.ndarray, np.ndarray | None]


class Csd(Mapping):
    """A computational sequence of CMU-MultimodalSDK."""

    def __init__(self, path: Path):
        try:
            self._file = h5py.File(path, "r")
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error}") from None
        roots = [root for root in self._file.values() if isinstance(root, h5py.Group)]
        roots = [root for root in roots if isinstance(root.get("data"), h5py.Group)]
        if len(roots) != 1:
            raise UserError(f"{path} is not a computational sequence: it has no group <name>/data")
        self.path, self._data = path, roots[0]["data"]
        self._names = {unquote(name): name for name in self._data}

    def __contains__(self, clip: object) -> bool:
        return clip in self._names

    def __getitem__(self, clip: str) -> Found:
        group = self._data[self._names[clip]]
        held = dict(group) if isinstance(group, h5py.Group) else {}
        if missing := [name for name in ("features", "intervals") if not isinstance(held.get(name), h5py.Dataset)]:
            raise UserError(f"{self.path}: {clip} has no dataset {missing[0]!r}; it has {', '.join(held) or 'none'}")
        try:
            values, spans = held["features"][()], held["intervals"][()]
        except OSError as error:
            raise UserError(f"{self.path}: {clip} cannot be read ({error})") from None
        _check_numbers(f"{self.path}: {clip}", values, spans)
        if values.ndim != 2 or spans.shape != (len(values), 2):
            raise UserError(f"{self.path}: features {values.shape} and intervals {spans.shape} of {clip} do not fit")
        return values, spans

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Folder(Mapping):
    """`<id>.npy` (L, D), or `<id>.npz` with `features` (L, D) and `time` (L,) s, the centre of each row.

    Args:
        path: The folder.
        clips: Ids of the store; a file is named like its clip, or as `deepfusion export` names it.
    """

    def __init__(self, path: Path, clips: list[str]):
        self.path, self._files = path, {}
        for clip in clips:
            named = [path / f"{name}{suffix}" for name in (clip, file_name(clip)) for suffix in (".npy", ".npz")]
            if there := next((file for file in named if file.is_file()), None):
                self._files[clip] = there
        if not self._files:
            raise UserError(f"{path} has no file <id>.npy or <id>.npz of any clip of the store, such as {clips[0]}.npy")

    def __contains__(self, clip: object) -> bool:
        return clip in self._files

    def __getitem__(self, clip: str) -> Found:
        file = self._files[clip]
        try:
            held = np.load(file, allow_pickle=False)
            if isinstance(held, np.ndarray):
                return _rows(file, held), None
            with held:
                if missing := [name for name in ("features", "time") if name not in held]:
                    raise UserError(f"{file} has no array {missing[0]!r}; it has {', '.join(held)}")
                values, time = _rows(file, held["features"]), held["time"]
        except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            raise UserError(f"{file} is not a whole numpy file of numbers ({type(error).__name__}: {error})") from None
        _check_numbers(file, time)
        if time.shape != values.shape[:1]:
            raise UserError(f"{file}: features {values.shape} and time {time.shape} do not fit")
        return values, np.stack([time, time], axis=1)

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def _check_numbers(place: str | Path, *arrays: np.ndarray) -> None:
    for array in arrays:
        if array.dtype.kind not in "fiu":
            raise UserError(f"{place} has {array.dtype} of shape {array.shape}; expected numbers")


def _rows(file: Path, values: np.ndarray) -> np.ndarray:
    _check_numbers(file, values)
    if values.ndim not in (1, 2):
        raise UserError(f"{file}: shape {values.shape}; expected (rows, features)")
    return values.reshape(1, -1) if values.ndim == 1 else values


def read(path: Path, clips: list[str]) -> Mapping[str, Found]:
    """The features in a .csd file or in a folder.

    Args:
        path: The file or folder.
        clips: Ids of the store.

    Raises:
        UserError: It is neither, or holds no features of these clips.
    """
    if path.is_dir():
        return Folder(path, clips)
    if not path.is_file():
        raise UserError(f"{path}: there is no such file or folder")
    return Csd(path)
