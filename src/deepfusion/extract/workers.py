"""Processes that read media: a crash, or a kill for memory or time, affects only the current clip."""

import gc
import logging
import math
import re
import resource
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from deepfusion.config import LimitSettings
from deepfusion.errors import ClipError, MachineError, TransientError, UserError
from deepfusion.media.limits import named

log = logging.getLogger(__name__)

# Takes a job, which is plain data, and yields its results.
Work = Callable[[Any], Iterator]

# Sent to a worker after each part of a job: continue, or drop the job.
MORE, DROP = "more", "drop"
# Signals that others send, such as the kernel when memory runs out; a crash of the process has a signal of its own.
FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM)


class Workers:
    """Some processes, each for one job at a time; one that dies is replaced.

    Create them before files are opened for writing and before other threads start: on Linux the first ones are forked,
    which is fast.

    Args:
        begin: Called in each process when it starts; returns the function that does the jobs.
        count: Processes.
        limits: Limits per job.
    """

    def __init__(self, begin: Callable[[], Work], *, count: int = 1, limits: LimitSettings):
        self._idle: SimpleQueue[_Worker] = SimpleQueue()
        self._all = [_Worker(begin, limits) for _ in range(count)]
        method = "fork" if sys.platform == "linux" and threading.active_count() == 1 else "spawn"
        with _without_opencv_threads():
            for worker in self._all:
                worker.start(method)
                self._idle.put(worker)

    def stream(self, job: Any) -> Iterator:
        """The results of a job, each computed when it is asked for; after a TransientError it is tried once more.

        Raises:
            ClipError: What the work raised, or how the process died.
            TransientError: The second attempt failed by a fault of the machine as well.
            UserError: Raised by the work, or when a process started.
            MachineError: Likewise.
        """
        worker = self._idle.get()
        try:
            count = 0
            try:
                with closing(worker.stream(job)) as results:
                    for result in results:
                        count += 1
                        yield result
                return
            except TransientError as error:
                log.warning("%s: tried once more", error)
            with closing(worker.stream(job)) as results:
                yield from islice(results, count, None)
        finally:
            self._idle.put(worker)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_) -> None:
        for worker in self._all:
            worker.stop()


@contextmanager
def _without_opencv_threads() -> Iterator[None]:
    """A fork lacks OpenCV's threads and would wait for them forever."""
    cv2 = sys.modules.get("cv2")
    if cv2 is None:
        yield
        return
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide the user's script from spawned processes, which would run it again and start processes in turn."""
    main = sys.modules["__main__"]
    file, spec = main.__dict__.pop("__file__", None), main.__spec__
    main.__spec__ = None
    try:
        yield
    finally:
        main.__spec__ = spec
        if file is not None:
            main.__file__ = file


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Block Ctrl-C in processes that start now, even during imports: this process handles it and ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Worker:
    """One process, and the pipe to it."""

    def __init__(self, begin: Callable[[], Work], limits: LimitSettings):
        self._begin, self._limits = begin, limits
        self._process = None
        self._ready = False

    def start(self, method: str) -> None:
        context = get_context(method)
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve,
            args=(theirs, self._begin, self._limits, self._pipe if method == "fork" else None),
            daemon=True,
        )
        with _without_main(), _without_interrupts():
            self._process.start()
        self._ready = False
        theirs.close()

    def stream(self, job: Any) -> Iterator:
        self._send_job(job)
        asked = False  # whether the process waits for the next instruction
        try:
            while True:
                kind, value = self._receive()
                if kind == "end":
                    return
                asked = True
                yield value
                asked = False
                with suppress(ConnectionError):  # it is dead: `_receive` says how
                    self._pipe.send(MORE)
        finally:
            if asked and self._process is not None:
                with suppress(ConnectionError):  # it is dead: the next job replaces it
                    self._pipe.send(DROP)

    def _send_job(self, job: Any) -> None:
        """Send a job to the process, which is replaced if it is dead."""
        if self._process is not None and self._ready:
            try:
                return self._pipe.send(job)
            except ConnectionError:  # it died while it was idle
                self._reap()
        if self._process is None:
            self.start("spawn")  # a fork would share the shard that is open by now
        if not self._ready:
            self._wait_until_ready()
        self._pipe.send(job)

    def _reap(self) -> int:
        """Forget a process that is dead; returns its exit code."""
        self._pipe.close()
        self._process.join()
        code, self._process = self._process.exitcode, None
        return code

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        if self._process is None:
            return
        self._pipe.close()
        self._process.kill()  # it has no state to save
        self._process.join()
        self._process = None

    def _wait_until_ready(self) -> None:
        try:
            self._receive()
        except TransientError:
            raise
        except ClipError as error:
            raise MachineError(f"a process that reads media did not start: {error}") from error
        self._ready = True

    def _receive(self) -> tuple[str, Any]:
        try:
            kind, value = self._pipe.recv()
        except (EOFError, ConnectionError):
            raise _death(self._reap(), self._limits) from None
        if kind == "error":
            error, details = value
            if details:
                log.debug("unforeseen: %s\n%s", error, details)
            raise error
        return kind, value


def _death(code: int, limits: LimitSettings) -> ClipError:
    if code == -signal.SIGXCPU:
        return ClipError(f"took more than {limits.cpu_s} s of CPU time {named('cpu_s', limits.cpu_s)}")
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    hint = ": probably out of memory" if code == -signal.SIGKILL else ""
    kind = TransientError if -code in FROM_OUTSIDE else ClipError
    return kind(f"reading the file ended its process by {how}{hint}")


def _serve(pipe: Connection, begin: Callable[[], Work], limits: LimitSettings, parents: Connection | None) -> None:
    """The main loop of a worker, until the pipe is closed. `parents` is the other end of the pipe, if inherited."""
    if parents is not None:
        parents.close()  # else the worker would not notice that the parent is gone
    with suppress(EOFError, ConnectionError):  # the parent is gone, before the worker was ready or after
        _answer(pipe, begin, limits)


def _answer(pipe: Connection, begin: Callable[[], Work], limits: LimitSettings) -> None:
    try:
        work = begin()
        _limit_memory(limits)
    except Exception as error:
        pipe.send(("error", _plain(error, limits)))
        return
    pipe.send(("ready", None))
    while True:
        job = pipe.recv()
        _limit_time(limits)
        try:
            for part in work(job):
                pipe.send(("part", part))
                if pipe.recv() == DROP:
                    break
            else:
                pipe.send(("end", None))
        except (EOFError, ConnectionError):
            raise
        except Exception as error:
            pipe.send(("error", _plain(error, limits)))


def _plain(error: Exception, limits: LimitSettings) -> tuple[Exception, str]:
    """An error that can be pickled, with its traceback if it was unforeseen."""
    for kind in (TransientError, ClipError, UserError, MachineError):
        if isinstance(error, kind):
            return kind(str(error)), ""
    if isinstance(error, MemoryError):
        limit = named("memory_mb", limits.memory_mb)
        return ClipError(f"took more memory than available, or than the limit {limit}"), ""
    kind = TransientError if isinstance(error, OSError) else ClipError
    return kind(f"{type(error).__name__}: {error}"), traceback.format_exc()


def _limit_time(limits: LimitSettings) -> None:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(usage.ru_utime + usage.ru_stime) + limits.cpu_s, most))


def _limit_memory(limits: LimitSettings) -> None:
    """Limit what the process may allocate on top of what it has loaded (Linux only)."""
    gc.freeze()  # what it has loaded stays: a fork that released its parent's garbage could allocate as much again
    status = Path("/proc/self/status")
    if status.exists():
        loaded = int(re.search(r"VmData:\s+(\d+) kB", status.read_text())[1]) * 1024
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (loaded + limits.memory_mb * 1_000_000, most))
