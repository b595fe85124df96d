"""The checksum of a whole file, kept in its HDF5 user block: readable text before the HDF5 file proper begins."""

import hashlib
import os
from typing import BinaryIO

from deepfusion.errors import UserError
from deepfusion.store.faults import damaged, unreadable

USER_BLOCK = 512  # bytes; HDF5 readers skip it by themselves
TITLE = "deepfusion: SHA-256 of all bytes from byte 512, where the HDF5 file begins:\n"
HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
READ_BYTES = 1 << 20


def seal(file: BinaryIO) -> None:
    """Write the checksum of a finished file, open for reading and writing, into its user block."""
    block = _user_block(file)
    file.seek(0)
    file.write(block)


def is_sealed(path: str | os.PathLike) -> bool:
    """Whether the file begins with such a user block, right or wrong."""
    with open(path, "rb") as file:  # noqa: PTH123
        return file.read(len(TITLE)) == TITLE.encode()


def check_whole(path: str | os.PathLike) -> None:
    """Read the whole file and compare it with its checksum: about a second for a gigabyte.

    Raises:
        DamagedError: A byte differs from what was written, or the file is truncated.
        MachineError: It cannot be read for another reason (permission, vanished, ...).
        UserError: There is no such file, or it has no checksum (written by version 1, or by another program).
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            block = file.read(USER_BLOCK)
            if block.startswith(HDF5_SIGNATURE):
                raise UserError(
                    f"{path} has no checksum: an earlier version or another program wrote it; extract it again"
                )
            expected = _user_block(file)
    except OSError as error:
        raise unreadable(path, error) from error
    if block != expected:
        raise damaged(path, "its bytes differ from its checksum")


def _user_block(file: BinaryIO) -> bytes:
    digest = hashlib.sha256()
    file.seek(USER_BLOCK)
    while block := file.read(READ_BYTES):
        digest.update(block)
    return f"{TITLE}{digest.hexdigest()}\n".encode().ljust(USER_BLOCK, b"\0")
