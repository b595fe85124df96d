"""A store in use, and a file system without locks: said as they are, never called damaged."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

NO_LOCKS = """
#include <errno.h>
int flock(int file, int operation) { errno = %s; return -1; }
"""
WRITE = """
import sys
from deepfusion.errors import MachineError
from deepfusion.store import ShardWriter
try:
    with ShardWriter(sys.argv[1], stage="t") as shard:
        shard.begin("a")
        shard.end()
except MachineError as error:
    print(error)
"""


@pytest.fixture(params=["ENOLCK", "EOPNOTSUPP"])
def no_locks(request, tmp_path):
    """Environment in which there are no locks."""
    if not shutil.which("gcc"):
        pytest.skip("no gcc to build a file system without locks")
    (tmp_path / "nolock.c").write_text(NO_LOCKS % request.param)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "nolock.so", tmp_path / "nolock.c"], check=True)
    return {"LD_PRELOAD": str(tmp_path / "nolock.so")}


@pytest.fixture
def writer(corpus):
    """A process that has the store open for writing; killed at the end."""
    script = "import h5py, sys, time; f = h5py.File(sys.argv[1], 'r+'); print('open', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", script, str(corpus.path)], stdout=subprocess.PIPE)
    process.stdout.readline()
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_in_use(corpus, writer, deepfusion):
    done = deepfusion("info", corpus.path)
    assert done.returncode == 1
    assert done.stderr == f"E {corpus.path} is in use by another process that writes it: wait, or stop that process\n"
    done = deepfusion("info", corpus.path, env={"HDF5_USE_FILE_LOCKING": "FALSE"})
    assert (
        done.returncode == 1
        and "is in use by another process that writes it, or that process was killed" in done.stderr
    )
    writer.kill()
    writer.wait()
    done = deepfusion("info", corpus.path)
    assert done.returncode == 1 and "`h5clear --status` makes the file readable" in done.stderr
    assert "damaged" not in done.stderr


def test_no_locks(corpus, no_locks, deepfusion, tmp_path):
    done = deepfusion("info", corpus.path, env=no_locks)
    hint = "this file system has no locks: set HDF5_USE_FILE_LOCKING=FALSE\n"
    assert done.returncode == 1 and done.stderr == f"E {corpus.path}: {hint}"
    assert deepfusion("info", corpus.path, env={**no_locks, "HDF5_USE_FILE_LOCKING": "FALSE"}).returncode == 0
    command, path = [sys.executable, "-c", WRITE], tmp_path / "new" / "s.h5"
    for env, wanted in (no_locks, f"{path}: {hint}"), ({**no_locks, "HDF5_USE_FILE_LOCKING": "FALSE"}, ""):
        done = subprocess.run([*command, path], capture_output=True, text=True, env={**os.environ, **env})
        assert (done.stdout, done.stderr) == (wanted, "")
        assert [p.name for p in Path(path).parent.iterdir()] == ([] if wanted else ["s.h5"])
