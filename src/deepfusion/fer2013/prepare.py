"""Read and align FER2013 into one file, the input of every training."""

import logging
import zipfile
import zlib
from dataclasses import fields
from pathlib import Path

import numpy as np

from deepfusion.atomic import write_atomically
from deepfusion.errors import UserError
from deepfusion.fer2013 import duplicates
from deepfusion.fer2013.align import Alignment, align
from deepfusion.fer2013.data import Fer2013
from deepfusion.fer2013.read import read

log = logging.getLogger(__name__)


def prepare(path: Path, out: Path, *, votes: Path | None = None, threads: int = 1) -> None:
    """Read FER2013 in any of its formats, find the landmarks of every image, and write both.

    Args:
        path: a csv, a folder or an npz file: see `read`.
        out: the .npz file to write.
        votes: FER+'s csv.
        threads: CPU threads.
    """
    data = read(path, votes)
    found = align(data.images, threads=threads)
    strong, some = np.mean(found.score >= 0), np.mean(np.isfinite(found.score))
    log.info(
        "%d images; dlib finds the face in %.1f %% (%.1f %% with a score of 0 or more), elsewhere the usual box",
        len(data.images), 100 * some, 100 * strong,
    )  # fmt: skip
    log.info("equal images: %s", duplicates.across(data))
    arrays = {name: value for part in (data, found) for name, value in vars(part).items() if value is not None}
    write_atomically(out, lambda part: _write(part, arrays))


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:  # given only a name, numpy would add .npz
        np.savez(file, **arrays)


def load(path: Path) -> tuple[Fer2013, Alignment]:
    """Read a file that `prepare` has written.

    Raises:
        UserError: it is not such a file.
    """
    try:
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files}
        data, found = ({field.name: arrays.get(field.name) for field in fields(kind)} for kind in (Fer2013, Alignment))
        if any(value is None for name, value in (data | found).items() if name != "votes"):
            raise ValueError("a part is missing")
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(f"{path}: not FER2013 as `deepfusion prepare-fer2013` writes it: {error}") from error
    return Fer2013(**data), Alignment(**found)
