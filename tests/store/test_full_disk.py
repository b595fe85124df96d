"""Full disks at many fill levels: one line, no crash at exit, the earlier file intact, no leftovers."""

import os
import subprocess
import sys
import textwrap

import pytest

# Every level is a process of its own that ends as Python does, which is when a broken HDF5 file crashes it.
COMMON = """
    import os, resource, sys
    from pathlib import Path
    import numpy as np
    from deepfusion.errors import MachineError
    from deepfusion.store import ShardWriter, build_store, check_whole
    import pandas as pd
    folder, shards = Path(sys.argv[1]), Path(sys.argv[2])

    def write(path, stage, generation=1):
        names = {"faces": {"time": (), "reason": ()}, "EF-A": {"EF-A": (256,)}}
        names["spectrogram"] = {"time": (), "spectrogram": (200,)}
        with ShardWriter(path, stage=stage, attrs={"settings": "s" * 300}) as shard:
            for name, shape in names[stage].items():
                shard.column(name, shape, np.float32, units="", axes="frame", description="d" * 100)
            for clip in range(8):
                shard.begin(f"clip {clip}")
                for name, shape in names[stage].items():
                    shard.append(name, np.full((40 + clip, *shape), generation, np.float32))
                shard.end()

    for stage in ("faces", "EF-A", "spectrogram"):
        write(shards / f"{stage}.h5", stage)
    manifest = pd.DataFrame({"id": [f"clip {i}" for i in range(8)], "path": "/x/a.mp4", "label": "l", "speaker": "s"})
    video = {"faces": [shards / "faces.h5"], "EF-A": [shards / "EF-A.h5"]}

    def join(path):
        audio = [shards / "spectrogram.h5"]
        build_store(path, manifest, video=video, audio=audio, labels=["l"], attrs={"config": "x" * 2000})

    WORK = {"shard": lambda path: write(path, "EF-A", 2), "store": join}

    def level(work, path):
        "In a child: exit 3 after the one line that is wanted, 0 if all could be written."
        pid = os.fork()
        if pid:
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        prepare()
        try:
            WORK[work](path)
        except MachineError as error:
            assert "\\n" not in str(error) and WANTED in str(error), error
            assert str(error).startswith(f"{path} cannot be written: ") and "untouched" in str(error), error
            sys.exit(3)
        sys.exit(0)
"""


def run(script, *arguments):
    command = [sys.executable, "-u", "-c", textwrap.dedent(COMMON) + textwrap.dedent(script), *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("work", ["shard", "store"])
def test_limit_of_file_size(tmp_path, work):
    (tmp_path / "shards").mkdir()
    (tmp_path / "out").mkdir()
    ends = run(
        """
        path, work, WANTED = folder / "x.h5", sys.argv[3], "File too large"
        WORK[work](path)
        before = path.read_bytes()
        for i in range(40):
            limit = len(before) * i // 40 + i % 3
            prepare = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            print(level(work, path))
            assert path.read_bytes() == before and [p.name for p in folder.iterdir()] == ["x.h5"], limit
        """,
        tmp_path / "out",
        tmp_path / "shards",
        work,
    )
    assert ends == ["3"] * 40


@pytest.fixture
def disk(tmp_path):
    """A disk of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no right to mount a small disk: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.parametrize("work", ["shard", "store"])
def test_full_disk(disk, tmp_path, work):
    (tmp_path / "shards").mkdir()
    ends = run(
        """
        path, work, WANTED = folder / "x.h5", sys.argv[3], "no space left on the disk (0.0 MB free)"
        prepare = lambda: None
        WORK[work](path)
        before = path.read_bytes()
        assert len(before) < 9e5
        for i in range(20):
            with (folder / "others").open("wb") as others:
                others.truncate(0)
                others.write(bytes(2 * 2**20 - len(before) - len(before) * i // 20 - 8192))
            print(level(work, path))
            assert path.read_bytes() == before and {p.name for p in folder.iterdir()} == {"x.h5", "others"}, i
        (folder / "others").unlink()
        print(level(work, path))
        check_whole(path)
        """,
        disk,
        tmp_path / "shards",
        work,
    )
    assert ends == ["3"] * 20 + ["0"]


def test_a_file_that_no_atomic_writer_makes(deepfusion):
    done = deepfusion("--log", "/proc/none/x.log", "list-networks", env={})  # here, pytest has the log
    assert done.returncode == 1 and done.stderr.splitlines()[-1].endswith("/proc/none: No such file or directory")
    assert "Traceback" not in done.stderr
