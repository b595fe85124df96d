"""Atomic file writes: a file name never refers to incomplete contents, whatever ends the process or fills the disk."""

import errno
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from deepfusion.errors import ClipError, MachineError, UserError

PROBE_BYTES = 1 << 20
REFUSALS = {errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write(temporary path)`, flush the file to disk, then rename it to `path`.

    Missing folders are created; the file has the mode that the umask gives.

    Raises:
        MachineError: Cannot write: full disk, read-only folder, no permission. The earlier file is untouched.
    """
    with replacing(path) as part:
        try:
            write(part)
        except (UserError, MachineError, ClipError):
            raise
        except Exception as error:
            if reason := _write_error(error, part):
                raise refused(path, reason) from error
            raise


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield an empty temporary file next to `path`; it is renamed to `path` if the block ends without an error.

    Any number of processes may write the same path in this way: the last one to finish wins.

    Raises:
        MachineError: The file cannot be created, flushed or renamed. The earlier file is untouched.
    """
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}.part")
    try:
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            part.touch(exist_ok=False)
            mode = stat.S_IMODE(part.stat().st_mode)
        yield part
        with _explained(path):
            if stat.S_IMODE(part.stat().st_mode) != mode:  # safetensors makes a new file, with mode 0600
                part.chmod(mode)
            to_disk(part)
            part.replace(path)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    with suppress(OSError):  # the file is complete; some file systems cannot flush a folder
        to_disk(path.parent)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files that killed processes left next to `path`; a process that still writes it fails."""
    with _explained(path):
        if path.parent.is_dir():
            for stale in path.parent.iterdir():
                if stale.name.startswith(f"{path.name}.") and stale.name.endswith(".part"):
                    stale.unlink(missing_ok=True)


def to_disk(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refused(path: Path, error: OSError) -> MachineError:
    """The error to raise when `path` could not be written: one line with the reason."""
    reason = error.strerror or str(error)
    if error.errno == errno.ENOSPC:
        reason = f"no space left on the disk{_free_space(path)}"
    if error.errno == errno.ENOENT:
        reason = "another process is writing the same file; do not run two at once"
    return MachineError(f"{path} cannot be written: {reason}; the earlier file is untouched")


def _free_space(path: Path) -> str:
    with suppress(OSError):
        return f" ({shutil.disk_usage(path.parent).free / 1e6:.1f} MB free)"
    return ""


def machine_reason(error: OSError) -> str | None:
    """One line for an error of the machine, not of the program: full disk, no permission, missing file.

    Returns:
        The file, if known, and the reason; None for any other error.
    """
    where = f"{error.filename}: " if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"{where}no space left on the disk{_free_space(Path(error.filename)) if where else ''}"
    if error.errno in REFUSALS or (error.errno == errno.ENOENT and error.filename):
        return f"{where}{error.strerror}"
    return None


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise refused(path, error) from error


def _write_error(error: Exception, part: Path) -> OSError | None:
    """The operating system's error that caused a writer's exception; None if the writer itself failed."""
    if isinstance(error, OSError) and error.errno:
        return error if error.filename in (None, str(part), part) else None
    # HDF5 and Rust's standard library write the number into the text.
    if found := re.search(r"(?:errno = |os error )(\d+)", str(error)):
        return OSError(int(found[1]), os.strerror(int(found[1])))
    # torch reports only that writing failed: ask the file system.
    try:
        with part.open("ab") as file:
            file.write(bytes(PROBE_BYTES))
            file.flush()
            os.fsync(file.fileno())
    except OSError as found:
        return found
    return None
