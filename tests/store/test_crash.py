"""Kills and full disks: what stands under its final name opens and is complete, always."""

import gc
import os
import subprocess
import sys
import textwrap

import h5py
import numpy as np

from deepfusion.store import read_shard
from deepfusion.store.commit import FORMAT, Disk

# Imports once; then forks a child for every kill, which is what makes hundreds of kills a matter of seconds.
COMMON = """
    import os, random, resource, signal, sys, time
    import numpy as np
    from pathlib import Path
    from deepfusion.errors import MachineError
    from deepfusion.store import ShardWriter, read_shard
    import deepfusion.atomic as atomic
    folder = Path(sys.argv[1])

    def write(path, generation, clips=4):
        with ShardWriter(path, stage="t", attrs={"generation": generation}) as shard:
            shard.column("x", (64,))
            shard.column("y")
            for clip in range(clips):
                shard.begin(str(clip))
                shard.append("x", np.full((300 + clip, 64), generation, np.float32))
                shard.append("y", np.full(300 + clip, generation, np.float32))
                if clip == 2:
                    shard.fail("no reason")
                else:
                    shard.end()

    def child(work):
        pid = os.fork()
        if pid == 0:
            try:
                work()
            finally:
                os._exit(1)
        return pid

    def check(path):
        "The file is one whole generation; returns which."
        with read_shard(path) as shard:
            assert shard.clips["status"].tolist() == ["ok", "ok", "failed", "ok"]
            assert np.diff(shard.offsets).tolist() == [300, 301, 0, 303]
            for name in ("x", "y"):
                assert (shard.columns[name][:] == shard.attrs["generation"]).all()
            return shard.attrs["generation"]
"""


def run(folder, script, *arguments):
    script = textwrap.dedent(COMMON) + textwrap.dedent(script)
    command = [sys.executable, "-c", script, str(folder), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_killed_at_random(tmp_path):
    out = run(
        tmp_path,
        """
        def forever():
            generation = 0
            while True:
                generation += 1
                write(folder / f"{generation % 3}.h5", generation)

        began = time.perf_counter()
        write(folder / "0.h5", 1)
        took = time.perf_counter() - began  # of a write on this machine, now
        dice, parts, checked = random.Random(1), set(), 0
        while len(parts) < 50:  # kills that hit a file half-written
            pid = child(forever)
            time.sleep(dice.uniform(0.2 * took, 3 * took))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            parts |= {path.name for path in folder.glob("*.part")}
            for path in folder.glob("*.h5"):
                checked += check(path) > 0
        for i in range(3):
            write(folder / f"{i}.h5", 1)
        assert not list(folder.glob("*.part")), "leftovers were not cleared"
        print(checked)
        """,
    )
    assert int(out) > 50


POINTS = ["begin", "append", "end", "fail", "_finish", "closed", "checked", "synced", "replaced"]


def test_killed_at_a_chosen_point(tmp_path):
    run(
        tmp_path,
        """
        path = folder / "s.h5"

        def die(*_, **__):
            os.kill(os.getpid(), signal.SIGKILL)

        def work(point):
            if point in ("begin", "append", "end", "fail", "_finish"):
                calls, real = [], getattr(ShardWriter, point)
                def second_or_last(self, *a, **k):
                    calls.append(1)
                    if len(calls) == 2 or point in ("fail", "_finish"):
                        die()
                    return real(self, *a, **k)
                setattr(ShardWriter, point, second_or_last)
            elif point == "closed":
                import deepfusion.store.layout as module
                module.check_shard = die
            elif point == "checked":
                atomic.to_disk = die
            elif point == "synced":
                Path.replace = die
            elif point == "replaced":
                real = atomic.to_disk
                atomic.to_disk = lambda p: die() if p == folder else real(p)
            write(path, 2)

        for point in sys.argv[2:]:
            for earlier in (None, 1):
                if earlier:
                    write(path, earlier)
                _, status = os.waitpid(child(lambda: work(point)), 0)
                assert os.WIFSIGNALED(status), (point, status)
                if point == "replaced":
                    assert check(path) == 2
                    path.unlink()
                else:
                    assert path.exists() == bool(earlier) and len(list(folder.glob("*.part"))) == 1, point
                    if earlier:
                        assert check(path) == earlier, point
            write(path, 3)
            assert check(path) == 3 and [p.name for p in folder.iterdir()] == ["s.h5"], point
            path.unlink()
        """,
        *POINTS,
    )


def test_full_disk(tmp_path):
    """A limit on file size makes the same write fail in the same place as a full disk does."""
    out = run(
        tmp_path,
        """
        path = folder / "s.h5"
        write(path, 1)
        size = path.stat().st_size
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

        def limited(limit):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            try:
                write(path, 2)
            except MachineError as error:
                assert "\\n" not in str(error) and "File too large; the earlier file" in str(error), error
                os._exit(3)
            os._exit(0)

        ends = []
        for share in (0.0, 0.001, 0.01, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99, 0.999):
            _, status = os.waitpid(child(lambda: limited(int(size * share))), 0)
            ends.append(os.waitstatus_to_exitcode(status))
            assert check(path) == 1 and [p.name for p in folder.iterdir()] == ["s.h5"], share
        print(*ends)
        """,
    )
    assert set(out.split()) == {"3"}
    with read_shard(tmp_path / "s.h5") as shard:
        assert len(shard.clips) == 4


def test_a_file_that_was_closed_before_hdf5_was_done(tmp_path, capfd):
    """An interrupt inside h5py.File leaves it to be closed after its file; HDF5 must not see an error then."""
    path = tmp_path / "s.h5"
    path.touch()
    with path.open("r+b", buffering=0) as raw:
        file = h5py.File(Disk(raw, path), "w", libver=FORMAT)
        file["x"] = np.arange(100)
    del file
    gc.collect()
    assert capfd.readouterr().err == ""
