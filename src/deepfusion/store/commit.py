"""Atomic writing of HDF5 files: a name always refers to a complete file.

Appending to an HDF5 file can destroy it if the process is killed or the disk is full. So a file is written under a
temporary name, closed, reopened and checked, given its checksum, flushed to the disk, and only then renamed.
"""

import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from deepfusion.atomic import refused, remove_leftovers, replacing
from deepfusion.store import faults
from deepfusion.store.checksum import USER_BLOCK, seal
from deepfusion.store.opening import open_hdf5

FORMAT = ("v110", "v110")  # its metadata have checksums


class Disk(io.RawIOBase):
    """The file that HDF5 writes to; it hides failed writes from HDF5.

    After a failed write HDF5 cannot close the file: it crashes the process then or when Python exits. So the first
    failure is kept for `check`, and later writes go to memory.

    Args:
        file: Opened unbuffered, for reading and writing; HDF5 may still write to it after it was closed.
        path: Named in the error.
    """

    def __init__(self, file: io.RawIOBase, path: Path):
        self._file, self._path = file, path
        self._error: OSError | None = None
        self._after: list[tuple[int, bytes]] = []  # offset and bytes of what was written after the failure
        self._at = self._end = 0

    def check(self) -> None:
        """Raise MachineError if a write has failed; call it after every larger write."""
        if self._error:
            raise refused(self._path, self._error) from self._error

    def _lost(self) -> bool:
        """Whether writes go to memory: one has failed, or an interrupt closed the file before HDF5 was done."""
        return self._error is not None or self._file.closed

    def readable(self) -> bool:
        """See io.IOBase."""
        return True

    def writable(self) -> bool:
        """See io.IOBase."""
        return True

    def seekable(self) -> bool:
        """See io.IOBase."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """See io.IOBase."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._end}[whence]
        return self._at

    def tell(self) -> int:
        """See io.IOBase."""
        return self._at

    def write(self, data) -> int:
        """Write all of it, to memory after a failure."""
        data = bytes(data)
        if not self._lost():
            try:
                self._file.seek(self._at)
                rest = memoryview(data)
                while rest:
                    rest = rest[self._file.write(rest) :]
            except OSError as error:
                self._error = error
        if self._lost():
            self._after.append((self._at, data))
        self._at += len(data)
        self._end = max(self._end, self._at)
        return len(data)

    def readinto(self, buffer) -> int:
        """Read what was written, zeros where nothing was."""
        size = len(buffer)
        written = b""
        if not self._file.closed:
            self._file.seek(self._at)
            written = self._file.read(size) or b""
        found = bytearray(written.ljust(size, b"\0"))
        for at, data in self._after:
            first, last = max(at, self._at), min(at + len(data), self._at + size)
            if first < last:
                found[first - self._at : last - self._at] = data[first - at : last - at]
        buffer[:] = bytes(found)
        self._at += size
        return size

    def truncate(self, size: int | None = None) -> int:
        """Set the length; a failure is kept."""
        self._end = self._at if size is None else size
        if not self._lost():
            try:
                self._file.truncate(self._end)
            except OSError as error:
                self._error = error
        return self._end


@contextmanager
def committed(path: Path, *, check: Callable[[h5py.File], None]) -> Iterator[tuple[h5py.File, Disk]]:
    """Open a new HDF5 file, and its disk; the file is renamed to `path` when the block ends without an error.

    If the block raises or the check fails, the new file is removed and `path` stays as it was. Leftovers of killed
    processes are removed first, so only one process at a time may write a path (of two, the earlier raises
    MachineError, and the file stays intact).

    Args:
        path: Final name; missing folders are created.
        check: Raises if the file, closed and reopened, is not valid.

    Raises:
        MachineError: The disk is full, the folder is read-only, the file system has no locks, ...
    """
    remove_leftovers(path)
    with replacing(path) as part:
        with part.open("r+b", buffering=0) as raw:
            _check_locks(raw.fileno(), path)
            disk = Disk(raw, path)
            with h5py.File(disk, "w", libver=FORMAT, userblock_size=USER_BLOCK) as file:
                yield file, disk
            disk.check()
        with open_hdf5(part) as file:
            check(file)
        try:
            with part.open("r+b", buffering=0) as raw:
                seal(raw)
        except OSError as error:
            raise refused(path, error) from error


def _check_locks(descriptor: int, path: Path) -> None:
    """Fail before the work, not after it, if the file could not be reopened for lack of locks."""
    if os.name != "posix" or os.environ.get("HDF5_USE_FILE_LOCKING") in ("FALSE", "0", "BEST_EFFORT"):
        return
    import fcntl  # imported here, because Windows lacks it but must be able to read stores

    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    except OSError as error:
        if error.errno in faults.NO_LOCKS - {errno.ENOSYS}:  # many builds of HDF5 do without locks after ENOSYS
            raise faults.no_locks(path) from error
