"""Ctrl-C, by a real signal to a real process: status 130, one line, and no partial file."""

import inspect
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import deepfusion
from mediafiles import Video, write
from small_corpus import portrait, voice

from deepfusion import cli
from deepfusion.cli.interrupt import Interrupted, unwind

DEEPFUSION = str(Path(sys.executable).with_name("deepfusion"))
NETWORKS = {"EF-A": {"network": "dlib-resnet29"}}


def manifest(folder, clips):
    """So many clips that no command is done before it is interrupted; all are one file."""
    if not (folder / "a.mp4").exists():
        write(folder / "a.mp4", Video(portrait(25), options={"preset": "ultrafast"}), voice(1.0))
    rows = [f"c{i},a.mp4,happy,anna" for i in range(clips)]
    (folder / "m.csv").write_text("\n".join(["id,path,label,speaker", *rows]) + "\n")
    return folder / "m.csv"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A short and a long manifest, and what the later stages read of the short one."""
    made = tmp_path_factory.mktemp("interrupted")
    manifest(made, 12).rename(made / "few.csv")
    manifest(made, 300).rename(made / "many.csv")
    for command, clips in (("faces", "few.csv"), ("spectrogram", "many.csv")):
        subprocess.run([DEEPFUSION, command, "--clips", clips, "--out", f"{command}.h5"], cwd=made, check=True)
    return made


def interrupted(arguments, folder, begun):
    """Run a command until `begun`, send it Ctrl-C, and check what it leaves; its errors."""
    with (folder / "errors.txt").open("w+") as errors, (folder / "shown.txt").open("w") as shown:
        process = subprocess.Popen([DEEPFUSION, *arguments], cwd=folder, stdout=shown, stderr=errors)
        deadline = time.monotonic() + 300
        while not begun():
            assert process.poll() is None and time.monotonic() < deadline, (folder / "errors.txt").read_text()
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == 130, (folder / "errors.txt").read_text()
    text = (folder / "errors.txt").read_text()
    assert "Traceback" not in text
    assert text.splitlines()[-1] == "E interrupted: no partial file is left; the same command resumes"
    assert not list(folder.rglob("*.part"))
    return text


@pytest.mark.parametrize(
    "arguments",
    [
        ["faces", "--clips", "few.csv", "--workers", "2"],
        ["spectrogram", "--clips", "many.csv"],
        ["networks", "--clips", "few.csv", "--tracks", "faces.h5", "--settings", json.dumps(NETWORKS)],
        ["audio-encoder", "--spectrograms", "spectrogram.h5"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_an_extraction_leaves_nothing_half_written(folder, arguments):
    out = f"out/{arguments[0]}.h5"
    where = [out] if arguments[0] == "networks" else ["--out", out]
    interrupted([*arguments, *where], folder, lambda: list((folder / "out").glob("*.part")))
    assert not (folder / out).exists()


def test_predictions_that_were_made_are_kept(folder):
    (folder / "clips").mkdir()
    for i in range(40):
        (folder / f"clips/{i}.mp4").symlink_to(folder / "a.mp4")
    interrupted(["predict", "clips", "--out", "answers"], folder, lambda: list((folder / "answers").rglob("*.json")))
    assert not (folder / "answers/predictions.csv").exists()


class Disk:
    """Called like the file that HDF5 writes to."""

    def write(self):
        unwind(signal.SIGINT, inspect.currentframe())


def test_hdf5_is_never_interrupted_while_it_writes(monkeypatch):
    later = []
    monkeypatch.setattr(signal, "setitimer", lambda *arguments: later.append(arguments))
    monkeypatch.setattr(signal, "signal", lambda *arguments: None)
    monkeypatch.setattr(Interrupted, "raised", False)  # and again after the test
    Disk().write()
    assert len(later) == 1
    with pytest.raises(Interrupted):
        unwind(signal.SIGINT, inspect.currentframe())


def test_an_interrupt_that_a_library_replaces_by_its_own_error_is_still_one(monkeypatch, tmp_path):
    def replaced():
        Interrupted.raised = True  # as `unwind` leaves it
        raise TypeError("of h5py")

    monkeypatch.setattr(Interrupted, "raised", False)
    monkeypatch.setattr(cli, "app", replaced)
    done = deepfusion("info", cwd=tmp_path)
    assert done.returncode == 130 and done.stderr == ""
