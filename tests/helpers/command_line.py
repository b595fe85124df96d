"""Run the command line inside the test process, which imports torch once instead of once per command."""

import contextlib
import io
import logging
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from deepfusion import cli


@dataclass(frozen=True)
class Done:
    """Exit status and output of a command."""

    returncode: int
    stdout: str
    stderr: str


def deepfusion(*arguments: str, cwd: Path) -> Done:
    """Run `deepfusion ARGUMENTS` in a folder; log handlers and signal handlers are restored afterwards."""
    log = logging.getLogger("deepfusion")
    engines = logging.getLogger("deepfusion.networks.engines")  # `predict` makes it quiet
    levels, handlers = {of: of.level for of in (log, engines)}, list(log.handlers)
    signals = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGALRM)}
    out, err, status = io.StringIO(), io.StringIO(), 0
    log.handlers.clear()
    with (
        contextlib.chdir(cwd),
        mock.patch.object(sys, "argv", ["deepfusion", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as end:
            status = end.code or 0
        finally:
            for handler in set(log.handlers) - set(handlers):
                handler.close()
            log.handlers[:] = handlers
            for of, level in levels.items():
                of.setLevel(level)
            for number, action in signals.items():
                signal.signal(number, action)
    return Done(status, out.getvalue(), err.getvalue())
