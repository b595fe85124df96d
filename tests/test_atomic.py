"""Atomic writes of all kinds of writers: whole or not at all, the umask's mode, and one line when the disk refuses."""

import os
import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from deepfusion.atomic import machine_reason, replacing, write_atomically
from deepfusion.errors import ClipError, MachineError, UserError


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_writes_whole_files_into_new_folders(tmp_path):
    path = tmp_path / "a" / "b" / "x.txt"
    write_atomically(path, lambda part: part.write_text("one"))
    write_atomically(path, lambda part: part.write_text("two"))
    assert path.read_text() == "two" and names(path.parent) == ["x.txt"]


@pytest.mark.parametrize(
    "error", [RuntimeError("no"), KeyboardInterrupt(), UserError("a"), ClipError("b"), OSError("c")]
)
def test_an_error_of_the_writer_is_its_own(tmp_path, error):
    path = tmp_path / "x"
    path.write_text("before")

    def write(part):
        part.write_text("half")
        raise error

    with pytest.raises(type(error)) as caught:
        write_atomically(path, write)
    assert caught.value is error and path.read_text() == "before" and names(tmp_path) == ["x"]


def test_a_missing_file_that_the_writer_reads_is_not_blamed_on_the_disk(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        write_atomically(tmp_path / "x", lambda part: part.write_bytes((tmp_path / "missing").read_bytes()))


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_the_mode_is_the_umasks(tmp_path, mask):
    from safetensors.numpy import save_file

    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "x.safetensors", lambda part: save_file({"a": np.zeros(3)}, part))
        write_atomically(tmp_path / "x.txt", lambda part: part.write_text("x"))
    finally:
        os.umask(before)
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o777 == 0o666 & ~mask, path


def test_two_writers_of_one_path(tmp_path):
    """The last one to finish wins; neither takes the other's file away."""
    with replacing(tmp_path / "x") as a:
        with replacing(tmp_path / "x") as b:
            a.write_text("a")
            b.write_text("b")
        assert (tmp_path / "x").read_text() == "b"
    assert (tmp_path / "x").read_text() == "a" and names(tmp_path) == ["x"]


def test_a_temporary_file_that_was_taken_away(tmp_path):
    with (
        pytest.raises(MachineError, match="another process is writing the same file"),
        replacing(tmp_path / "x") as part,
    ):
        part.unlink()
    assert names(tmp_path) == []


# One process for all writers, because of the time that their packages take to import.
WRITERS = """
    import json, resource, sys
    from pathlib import Path
    import numpy as np
    import pandas as pd
    import torch
    from safetensors.numpy import save_file
    from deepfusion.atomic import write_atomically
    from deepfusion.errors import MachineError
    folder, limit = Path(sys.argv[1]), int(sys.argv[2])
    big = torch.zeros(200_000)
    writers = {
        "text": lambda part: part.write_text("x" * 500_000),
        "csv": lambda part: pd.DataFrame({"a": np.arange(100_000)}).to_csv(part, index=False),
        "npz": lambda part: np.savez(part.open("wb"), a=np.zeros(100_000)),
        "safetensors": lambda part: save_file({"a": np.zeros(200_000)}, part, {"progress": json.dumps([1])}),
        "torch": lambda part: torch.save({"a": big, "b": [big + 1]}, part),
    }
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    for name, write in writers.items():
        try:
            write_atomically(folder / name, write)
        except MachineError as error:
            print(error)
"""
NAMES = ["text", "csv", "npz", "safetensors", "torch"]


def run(folder, limit=0):
    """What each writer prints."""
    command = [sys.executable, "-c", textwrap.dedent(WRITERS), str(folder), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout.splitlines()


def test_limit_of_file_size(tmp_path):
    for name in NAMES:
        (tmp_path / name).write_text("before")
    refused = "cannot be written: File too large; the earlier file is untouched"
    assert run(tmp_path, 100_000) == [f"{tmp_path / name} {refused}" for name in NAMES]
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(NAMES, "before")


@pytest.fixture(params=["size=1m", "ro"])
def disk(tmp_path, request):
    """A disk of 1 MB that is nearly full, or one that is read-only."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", request.param, "tmpfs", folder]
    if (done := subprocess.run(command, capture_output=True, text=True)).returncode:
        pytest.skip(f"no right to mount a small disk: {done.stderr.strip()}")
    if request.param != "ro":
        (folder / "others").write_bytes(bytes(900_000))
    yield folder, "Read-only file system" if request.param == "ro" else "no space left on the disk \\(0.. MB free\\)"
    subprocess.run(["umount", folder], check=True)


def test_full_and_read_only_disk(disk):
    folder, reason = disk
    before = names(folder)
    lines = run(folder)
    assert len(lines) == len(NAMES)
    for name, line in zip(NAMES, lines, strict=True):
        refused = f"{folder / name} cannot be written: "
        assert line.startswith(refused)
        assert re.fullmatch(f"{reason}; the earlier file is untouched", line.removeprefix(refused))
    assert names(folder) == before


def test_a_parent_that_is_a_file(tmp_path):
    (tmp_path / "a").write_text("x")
    with pytest.raises(MachineError, match=r"a/x cannot be written: (Not a directory|File exists)"):
        write_atomically(tmp_path / "a" / "x", lambda part: part.write_text("x"))


def test_reasons_of_the_machine():
    assert machine_reason(OSError(28, "No space left on device")) == "no space left on the disk"
    assert machine_reason(OSError(13, "Permission denied", "/x/y")) == "/x/y: Permission denied"
    assert machine_reason(OSError(30, "Read-only file system", "/x")) == "/x: Read-only file system"
    assert machine_reason(FileNotFoundError(2, "No such file or directory", "/x")) == "/x: No such file or directory"
    assert machine_reason(FileNotFoundError(2, "No such file or directory")) is None
    assert machine_reason(ConnectionResetError(104, "Connection reset by peer")) is None
    assert machine_reason(OSError("no number")) is None
