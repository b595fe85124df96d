"""Decode every clip of the manifest once: spectrograms of all clips in one HDF5 file, 8 bits per value."""

import json
import logging
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from deepfusion import media
from deepfusion import spectrogram as spectrograms
from deepfusion.atomic import write_atomically
from deepfusion.config import SpectrogramSettings
from deepfusion.errors import ClipError, UserError
from deepfusion.progress import track
from deepfusion.speech.manifest import COLUMNS

log = logging.getLogger(__name__)

STEP_DB = 0.5  # of the stored integers; value = floor_db + STEP_DB * integer
FORMAT = "deepfusion-speech-1"


@dataclass(frozen=True)
class Prepared:
    """Spectrograms of a speech corpus.

    Attributes:
        clips: One row per clip: the columns of the manifest.
        levels: (sum of T, F) uint8 levels of all clips, concatenated; dB = floor_db + STEP_DB * value.
        offsets: (clips + 1,) int64: clip i has the rows offsets[i] to offsets[i + 1].
        settings: Of the spectrogram.
    """

    clips: pd.DataFrame
    levels: np.ndarray
    offsets: np.ndarray
    settings: SpectrogramSettings

    def decibels(self, index: int, first: int = 0, last: int | None = None) -> np.ndarray:
        """(T, F) float32 dB of a clip, or of its frames from `first` to `last`."""
        start, end = self.offsets[index : index + 2]
        rows = self.levels[start:end][first:last]
        return np.float32(self.settings.floor_db) + np.float32(STEP_DB) * rows

    def levels_on(self, device: torch.device) -> Tensor:
        """The levels on a device: all in the memory of a GPU; on the CPU they stay on disk, read-only."""
        with warnings.catch_warnings(action="ignore"):  # the memory map is read-only
            return torch.from_numpy(self.levels).to(device)

    def lengths(self) -> np.ndarray:
        """(clips,) int64 frames per clip."""
        return np.diff(self.offsets)


def prepare(clips: pd.DataFrame, out: Path, *, settings: SpectrogramSettings, workers: int) -> None:
    """Compute the spectrogram of every clip. A clip that cannot be read is logged and left out.

    Memory and file: one byte per value, 72 MB per hour of audio at the default settings.

    Args:
        clips: From `manifest.read`.
        out: The file to write.
        settings: Of the spectrogram.
        workers: Processes.

    Raises:
        UserError: No clip can be read.
    """
    work = partial(_levels, settings)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        levels = pool.map(work, clips["path"], chunksize=32)
        found = [next(levels) for _ in track(range(len(clips)), "spectrograms", unit="clips")]
    for path, value in zip(clips["path"], found, strict=True):
        if isinstance(value, str):
            log.warning("%s is left out: %s", path, value)
    read = [isinstance(value, np.ndarray) for value in found]
    if not any(read):
        raise UserError("none of the clips of pretrain_audio.manifest can be read")
    arrays = [value for value in found if isinstance(value, np.ndarray)]
    del found
    write_atomically(out, lambda part: _write(part, clips[read], arrays, settings))


def _levels(settings: SpectrogramSettings, path: str) -> np.ndarray | str:
    """(T, F) uint8 levels of a clip, or the reason why there are none."""
    try:
        audio = media.read_audio(path, rate=settings.rate)
        decibels = spectrograms.spectrogram(audio.samples, **settings.model_dump())
    except ClipError as error:
        return str(error)
    return ((decibels - settings.floor_db) / STEP_DB).round().clip(0, 255).astype(np.uint8)


def _write(path: Path, clips: pd.DataFrame, arrays: list[np.ndarray], settings: SpectrogramSettings) -> None:
    with h5py.File(path, "w") as file:
        file.attrs["format"] = FORMAT
        file.attrs["spectrogram"] = settings.model_dump_json()
        offsets = np.cumsum([0, *map(len, arrays)])
        file["offsets"] = offsets
        values = file.create_dataset("spectrogram", (offsets[-1], settings.bins), np.uint8)
        values.attrs.update(units="dB", step_db=STEP_DB, floor_db=settings.floor_db)
        for first, array in zip(offsets, arrays, strict=False):
            values[first : first + len(array)] = array
        for name in COLUMNS:
            file.create_dataset(f"clips/{name}", data=clips[name].to_list(), dtype=h5py.string_dtype())


def load(path: Path) -> Prepared:
    """Read the file that `prepare` writes; the spectrograms stay on disk (a memory map).

    Raises:
        UserError: The file is missing, damaged, or something else.
    """
    try:
        with h5py.File(path) as file:
            if file.attrs.get("format") != FORMAT:
                raise UserError(f"{path}: not a file of prepared speech")
            clips = pd.DataFrame({name: file[f"clips/{name}"].asstr()[:] for name in COLUMNS})
            settings = SpectrogramSettings(**json.loads(file.attrs["spectrogram"]))
            values, offsets = file["spectrogram"], file["offsets"][:]
            place, shape = values.id.get_offset(), values.shape
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"{path}: not a whole file of prepared speech ({error}): delete it and run again") from error
    return Prepared(clips, np.memmap(path, np.uint8, "r", place, shape), offsets, settings)
