"""A process that reads media may crash, hang or grow: that costs the clip at hand."""

import gc
import os
import signal
import subprocess
import sys
from functools import partial
from multiprocessing import Pipe, get_context

import numpy as np
import pytest
from worker_jobs import begin, fail_to_begin

from deepfusion.config import LimitSettings
from deepfusion.errors import ClipError, MachineError, TransientError, UserError
from deepfusion.extract.workers import Workers, _serve


def workers(count=1, **limits):
    return Workers(begin, count=count, limits=LimitSettings(**limits))


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGABRT])
def test_a_death_costs_one_job(number):
    with workers() as processes:
        assert list(processes.stream(("count", 3))) == [0, 1, 2]
        dying = processes.stream(("die", number))
        assert next(dying) == "first"
        with pytest.raises(ClipError, match=signal.Signals(number).name) as error:
            next(dying)
        assert isinstance(error.value, TransientError) == (number == signal.SIGKILL)  # others crash by themselves
        assert list(processes.stream(("count", 2))) == [0, 1]


@pytest.mark.parametrize("fault", [signal.SIGKILL, OSError(5, "Input/output error"), TransientError("stale")], ids=str)
def test_a_fault_of_the_machine_is_tried_once_more_and_repeats_no_result(tmp_path, fault):
    with workers() as processes:
        assert list(processes.stream(("fail once", (str(tmp_path / "tried"), fault)))) == [0, 1, 2, 3]


@pytest.mark.parametrize("when", ["idle", "more", "drop"])
def test_a_process_killed_while_it_waits_costs_nothing(when):
    with workers() as processes:
        assert list(processes.stream(("count", 1))) == [0]
        stream = processes.stream(("count", 3))
        if when != "idle":
            assert next(stream) == 0
        process = processes._all[0]._process
        process.kill()
        process.join()
        if when == "drop":
            stream.close()
            assert list(processes.stream(("count", 3))) == [0, 1, 2]
        else:
            assert list(stream) == [0, 1, 2][0 if when == "idle" else 1 :]


def test_errors_keep_their_kind_and_their_message():
    with workers() as processes:
        for error, kind, message in [
            (ClipError("bad"), ClipError, "^bad$"),
            (UserError("usage"), UserError, "^usage$"),
            (MachineError("full"), MachineError, "^full$"),
            (KeyError("x"), ClipError, "^KeyError: 'x'$"),
            (OSError(5, "disk"), TransientError, r"^OSError: \[Errno 5\] disk$"),
        ]:
            with pytest.raises(kind, match=message):
                list(processes.stream(("raise", error)))
        assert list(processes.stream(("count", 1))) == [0]


def test_too_much_memory_and_too_much_time_are_reasons():
    with workers(memory_mb=500) as processes:
        with pytest.raises(ClipError, match=r"\(limits\.memory_mb: 500 in config\.yaml\)$"):
            list(processes.stream(("grow", 200_000_000)))
        assert list(processes.stream(("grow", 10))) == [10]
    with workers(cpu_s=1) as processes:
        with pytest.raises(ClipError, match=r"more than 1 s of CPU time \(limits\.cpu_s: 1 in config\.yaml\)$"):
            list(processes.stream(("spin", None)))
        assert list(processes.stream(("grow", 10))) == [10]


def test_the_parents_garbage_does_not_raise_the_limit_of_memory():
    cycle = [np.ones(100_000_000)]
    cycle.append(cycle)
    gc.disable()
    try:
        del cycle
        with workers(memory_mb=500) as processes, pytest.raises(ClipError, match=r"limits\.memory_mb"):
            list(processes.stream(("collect and grow", 100_000_000)))
    finally:
        gc.enable()
        gc.collect()


def test_a_job_given_up_leaves_the_process_to_the_next():
    with workers() as processes:
        given_up = processes.stream(("count", 1000))
        assert next(given_up) == 0
        given_up.close()
        assert list(processes.stream(("count", 2))) == [0, 1]


def test_a_process_that_cannot_start_is_no_failure_of_a_clip():
    with (
        Workers(partial(fail_to_begin, UserError("no predictor")), limits=LimitSettings()) as processes,
        pytest.raises(UserError, match="no predictor"),
    ):
        next(processes.stream(("count", 1)))
    with (
        Workers(partial(os._exit, 3), limits=LimitSettings()) as processes,
        pytest.raises(MachineError, match="did not start"),
    ):
        next(processes.stream(("count", 1)))


@pytest.mark.parametrize("start", [begin, partial(fail_to_begin, UserError("no predictor"))], ids=["ready", "failed"])
def test_a_parent_that_is_gone_before_the_process_began_is_no_error(start):
    ours, theirs = Pipe()
    process = get_context("fork").Process(target=_serve, args=(theirs, start, LimitSettings(), ours))
    ours.close()
    process.start()
    process.join(60)
    assert process.exitcode == 0


SCRIPT = """
import threading, time
threading.Thread(target=time.sleep, args=(60,), daemon=True).start()  # with a second thread, processes are spawned
from deepfusion.extract.pictures import read_pictures
from types import SimpleNamespace
print("once", list(read_pictures(SimpleNamespace(path="clip.mkv"), [0.0, 0.2], 64)))
"""


def test_a_users_script_needs_no_guard(tmp_path):
    from mediafiles import Video, numbered, write

    write(tmp_path / "clip.mkv", Video(numbered(10)))
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == "once [0.0, 0.2]\n", done.stderr
