"""Why a file cannot be read: damaged, in use, no permission, no locks. Only a file that was read is called damaged."""

import errno
import os
import re
from pathlib import Path

from deepfusion.errors import MachineError, UserError

NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
IN_USE = {errno.EAGAIN, errno.EWOULDBLOCK}
MEND = "`deepfusion repair` recomputes what is damaged"


class DamagedError(MachineError):
    """A file's contents are not what was written.

    Attributes:
        path: The file.
        reason: What is wrong, without the file's name.
    """

    def __init__(self, message: str, path: str | os.PathLike = "", reason: str = ""):
        super().__init__(message)
        self.path, self.reason = Path(path), reason


def damaged(path: str | os.PathLike, reason: str) -> DamagedError:
    """The error to raise for a damaged file."""
    return DamagedError(f"{path} is damaged: {reason}; {MEND}", path, reason)


def unreadable(path: str | os.PathLike, error: Exception, what: str = "") -> UserError | MachineError:
    """The error that says why a file, or `what` in it, could not be opened or read.

    Args:
        path: The file.
        error: What Python or h5py raised.
        what: The part of the file that was read, "video/EF-A of clip 'a'" for example.
    """
    number = _errno(error)
    if number == errno.ENOENT and not what:
        return UserError(f"{path}: there is no such file")
    if number == errno.EISDIR:
        return UserError(f"{path} is a folder, not a file")
    if number in IN_USE:
        return MachineError(f"{path} is in use by another process that writes it: wait, or stop that process")
    if number in NO_LOCKS:
        return no_locks(path)
    if number:
        return MachineError(f"{path} cannot be read: {os.strerror(number)}")
    line = " ".join(str(error).split())
    if "already open for write" in line:
        return MachineError(
            f"{path} is in use by another process that writes it, or that process was killed: wait, or stop that "
            "process; after a kill, `h5clear --status` makes the file readable"
        )
    if "filter returned failure" in line:
        return damaged(path, f"{what}: the checksum is wrong" if what else "the checksum is wrong")
    return damaged(path, f"{what or 'it'} cannot be read ({line})")


def no_locks(path: str | os.PathLike) -> MachineError:
    """The error to raise on a file system without locks."""
    return MachineError(f"{path}: this file system has no locks: set HDF5_USE_FILE_LOCKING=FALSE")


def _errno(error: Exception) -> int | None:
    """The operating system's number, from the exception or from the text of HDF5's message."""
    if isinstance(error, OSError) and error.errno:
        return error.errno
    found = re.search(r"errno = (\d+)", str(error))
    return int(found[1]) if found else None
