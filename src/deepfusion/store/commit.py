"""Writing an HDF5 file so that its name never stands for anything but a complete file.

An HDF5 file that is being appended to when its process is killed, or when the disk is full, can lose all it held
before. So a file is written beside its final name, closed, opened again and checked, forced to the disk, and only then
renamed.
"""

import os
import re
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from deepfusion.errors import UserError


@contextmanager
def committed(path: Path, *, check: Callable[[h5py.File], None]) -> Iterator[h5py.File]:
    """Give a new HDF5 file to write; it gets the name `path` when the block ends well.

    When the block raises, or the file does not pass the check, the new file is removed and what stood at `path` stays.
    What a killed process left beside `path` is removed at the start, so one process at a time may write a path (of two,
    the earlier raises FileNotFoundError, and the file stays whole).

    Args:
        path: Final name; its folder is made if need be.
        check: Raises when the file, closed and opened again, is not what it should be.

    Raises:
        UserError: The disk is full, or cannot be written for another reason of its own.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for stale in path.parent.iterdir():
        if stale.name.startswith(f"{path.name}.") and stale.name.endswith(".part"):
            stale.unlink(missing_ok=True)
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with h5py.File(part, "x") as file:
            yield file
        with h5py.File(part, "r") as file:
            check(file)
        _to_disk(part)
        part.replace(path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        # HDF5 hides a full disk in a page of text, and h5py raises OSError or RuntimeError depending on the moment.
        if failed := re.search(r"file write failed.*error message = '(.*?)'", str(error), re.DOTALL):
            raise UserError(f"{path} cannot be written: {failed[1]}; what was there before is untouched") from error
        raise
    _to_disk(path.parent)  # the new name itself


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
