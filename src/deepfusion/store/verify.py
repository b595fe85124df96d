"""Checks stores and shards for damage: the whole file first, then every chunk, to name affected datasets and clips.

A damaged HDF5 file can crash the library, so it is inspected in another process (this module, run as a script).
"""

import dataclasses
import hashlib
import json
import math
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np

from deepfusion.errors import MachineError, UserError
from deepfusion.store import layout
from deepfusion.store.checksum import check_whole, is_sealed
from deepfusion.store.faults import DamagedError, unreadable
from deepfusion.store.opening import check_self_contained, check_version, open_hdf5

SECONDS = 60  # time to inspect damaged files, plus their size by BYTES_PER_SECOND
BYTES_PER_SECOND = 5e6
LISTED = 20  # clips named in a line
CHECKS = {layout.STORE: layout.check_store, layout.SHARD: layout.check_shard}
ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, IndexError, MemoryError, UserError, MachineError)


@dataclasses.dataclass(frozen=True)
class Problem:
    """A problem of a file.

    Attributes:
        dataset: Its name, "video/EF-A" for example; "" if it is the file as a whole.
        reason: What is wrong.
        clips: Ids of the affected clips; none if unknown.
    """

    dataset: str
    reason: str
    clips: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of checking a file.

    Attributes:
        path: The file.
        problems: Empty if the file is intact.
        damaged: The contents are not what was written; False if it could not be read at all or has another version.
    """

    path: Path
    problems: tuple[Problem, ...]
    damaged: bool


def verify(paths: Sequence[str | os.PathLike]) -> Iterator[Report]:
    """Check stores and shards, also those in folders; yields one report per file, in order.

    Args:
        paths: Files, or folders in which every *.h5 that is a store or a shard is checked.

    Raises:
        UserError: There is no such file or folder, or no store or shard in it.
    """
    files = list(dict.fromkeys(file for path in paths for file in find_files(path)))
    suspects: list[tuple[Path, Problem]] = []
    for file in files:
        try:
            check_whole(file)
        except DamagedError as error:
            suspects.append((file, Problem("", error.reason)))
            continue
        except (UserError, MachineError) as error:
            yield from _look_into(suspects)
            suspects = []
            yield Report(file, (Problem("", _line(error)),), damaged=False)
            continue
        yield from _look_into(suspects)
        suspects = []
        found = tuple(inspect(file))
        yield Report(file, found, damaged=bool(found))
    yield from _look_into(suspects)


def lines(report: Report) -> str:
    """A report as text: a line for the file, and an indented one for every problem."""
    if not report.problems:
        return f"{report.path}: ok"
    out = [f"{report.path}: {'damaged' if report.damaged else 'not checked'}"]
    for problem in report.problems:
        more = f" and {len(problem.clips) - LISTED} more" if len(problem.clips) > LISTED else ""
        clips = f"; clips {', '.join(problem.clips[:LISTED])}{more}" if problem.clips else ""
        out.append(f"  {problem.dataset or 'file'}: {problem.reason}{clips}")
    return "\n".join(out)


def find_files(path: str | os.PathLike) -> list[Path]:
    """The file itself, or every store and shard below a folder; unreadable HDF5 files count, other layouts do not.

    Raises:
        UserError: There is no such file or folder, or no store or shard in it.
    """
    path = Path(path)
    if not path.is_dir():
        if not path.exists():
            raise UserError(f"{path}: there is no such file or folder")
        return [path]
    found = sorted(file for file in path.rglob("*.h5") if file.is_file() and _is_ours(file))
    if not found:
        raise UserError(f"{path}: there is no store and no shard in this folder")
    return found


def _is_ours(path: Path) -> bool:
    try:
        if is_sealed(path):
            return True
        with h5py.File(path, "r") as file:
            return file.attrs.get("layout") in CHECKS
    except ERRORS:
        return True  # it is reported with the reason


def inspect(path: str | os.PathLike) -> Iterator[Problem]:
    """Read every chunk of a store or shard and yield what is wrong; may crash the process if the file is damaged.

    The whole-file checksum is not compared: `verify` does that.
    """
    try:
        file = open_hdf5(path)
    except (UserError, MachineError) as error:
        yield Problem("", _line(error))
        return
    with file:
        try:
            check = CHECKS.get(str(file.attrs.get("layout")))
            if check:
                check_version(file, file.attrs["layout"])
            check_self_contained(file)
            names = [thing.name.lstrip("/") for thing in layout.objects(file) if isinstance(thing, h5py.Dataset)]
        except ERRORS as error:
            yield Problem("", f"its structure cannot be read: {_line(error)}")
            return
        intact = True
        for name in names:
            for problem in _check_dataset(file, name):
                intact = False
                yield problem
        try:
            layout.check_attributes(file)
            if intact and check:
                check(file)
        except ERRORS as error:
            yield Problem("", _line(error))


def _check_dataset(file: h5py.File, name: str) -> Iterator[Problem]:
    """Read a dataset chunk by chunk, and compare it with the digest of its contents if it has one."""
    digest, bad, reason = hashlib.sha256(), [], ""
    try:
        data = file[name]
        expected = data.attrs.get("content_sha256")
        for first, last in _blocks(data):
            try:
                digest.update(np.ascontiguousarray(data[first:last]))
            except OSError as error:
                bad.append((first, last))
                reason = _line(unreadable(file.filename, error))
        if not bad and data.chunks and data.id.get_num_chunks() != _chunks(data):
            yield Problem(name, f"{_chunks(data) - data.id.get_num_chunks()} of {_chunks(data)} chunks are missing")
    except ERRORS as error:
        yield Problem(name, f"cannot be read: {_line(error)}")
        return
    if bad:
        rows = ", ".join(f"{first}:{last}" for first, last in _merged(bad))
        yield Problem(name, f"rows {rows}: {reason}", _clips(file, name, bad))
    elif expected is not None and digest.hexdigest() != expected:
        yield Problem(name, "its contents differ from content_sha256")


def _blocks(data: h5py.Dataset) -> Iterator[tuple[int, int]]:
    """First row and row after the last of every chunk."""
    if not data.shape:
        raise ValueError("it is a single value")
    step = data.chunks[0] if data.chunks else max(1, layout.BLOCK_BYTES // max(1, data.dtype.itemsize))
    for first in range(0, len(data), step):
        yield first, min(first + step, len(data))


def _chunks(data: h5py.Dataset) -> int:
    """How many chunks a dataset must have."""
    return math.prod(-(-size // chunk) for size, chunk in zip(data.shape, data.chunks, strict=True))


def _merged(rows: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Neighbouring ranges as one."""
    found = [rows[0]]
    for first, last in rows[1:]:
        if first == found[-1][1]:
            found[-1] = found[-1][0], last
        else:
            found.append((first, last))
    return found


def _clips(file: h5py.File, name: str, bad: list[tuple[int, int]]) -> tuple[str, ...]:
    """Ids of the clips that have one of these rows; none if ids or offsets are damaged themselves."""
    group, _, column = name.rpartition("/")
    try:
        ids = file["clips/id"].asstr()[:]
        if group == "clips":
            offsets = np.arange(len(ids) + 1)
        elif column in ("offsets", "frequency") or group == "ledger":
            return ()
        else:
            offsets = file[f"{group}/offsets"][:]
        hit = [((offsets[:-1] < last) & (offsets[1:] > first)) for first, last in bad]
        return tuple(ids[np.logical_or.reduce(hit) & (np.diff(offsets) > 0)].tolist())
    except ERRORS:
        return ()


def _line(error: Exception) -> str:
    return " ".join((getattr(error, "reason", "") or str(error)).split()) or type(error).__name__


def _look_into(suspects: list[tuple[Path, Problem]]) -> Iterator[Report]:
    """Inspect damaged files in another process; after a crash, a new process inspects the remaining files."""
    while suspects:
        found = _child([path for path, _ in suspects])
        done = [(path, whole, problems) for (path, whole), problems in zip(suspects, found, strict=False)]
        for path, whole, problems in done:
            yield Report(path, tuple(problems) or (_nowhere(whole),), damaged=True)
        suspects = suspects[len(done) :]


def _nowhere(whole: Problem) -> Problem:
    return dataclasses.replace(whole, reason=f"{whole.reason}, but no dataset and no attribute is affected")


def _child(paths: list[Path]) -> list[list[Problem]]:
    """Problems of the files by another process, up to the first file that crashes it; one file at least."""
    seconds = SECONDS + sum(path.stat().st_size for path in paths) / BYTES_PER_SECOND
    command = [sys.executable, "-m", __name__, *map(str, paths)]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)
        output, end = ended.stdout, f"ends with status {ended.returncode}"
    except subprocess.TimeoutExpired as error:
        output = error.stdout.decode() if isinstance(error.stdout, bytes) else error.stdout or ""
        end = f"does not end within {seconds:.0f} s"
    found: dict[int, list[Problem]] = defaultdict(list)
    complete = 0
    for line in output.splitlines():
        entry = json.loads(line)
        if entry is None:
            complete += 1
        else:
            found[complete].append(Problem(entry["dataset"], entry["reason"], tuple(entry["clips"])))
    if complete < len(paths):
        found[complete].append(Problem("", f"its structure is damaged: reading it {end}"))
        complete += 1
    return [found[i] for i in range(complete)]


def _main(paths: list[str]) -> None:
    """Print a JSON object per problem, and null after each file."""
    for path in paths:
        for problem in inspect(path):
            print(json.dumps(dataclasses.asdict(problem)), flush=True)
        print("null", flush=True)


if __name__ == "__main__":
    _main(sys.argv[1:])
