"""The command line: one command per stage, which the rules of the workflow call, and commands for people."""

import signal
import sys

from deepfusion.atomic import machine_reason
from deepfusion.cli import inspect, predict, stages, weights  # noqa: F401 - the commands register themselves
from deepfusion.cli.app import GROUPS, app, log
from deepfusion.cli.interrupt import EXIT_INTERRUPTED, Interrupted, unwind
from deepfusion.errors import MachineError, UserError


def main() -> None:
    """Run the command line; every expected error is one line, with the exit status that `EPILOG` documents."""
    signal.signal(signal.SIGINT, unwind)
    signal.signal(signal.SIGALRM, unwind)
    try:
        app()
    except Interrupted:
        pass  # the frames that hold open files and progress bars end with this block
    except Exception as error:
        if not Interrupted.raised:
            sys.exit(_failed(error))
    else:
        return
    log.error("interrupted: no partial file is left; the same command resumes")
    sys.exit(EXIT_INTERRUPTED)


def _failed(error: Exception) -> int:
    """Log an error that ended a command; its exit status."""
    if isinstance(error, UserError):
        log.error("%s", error)
        return 2
    line = str(error) if isinstance(error, MachineError) else None
    if isinstance(error, OSError):
        line = machine_reason(error)
    if line is None:
        log.exception("internal error (please report)")
    else:
        log.error("%s", line)
    return 1


app.registered_commands.sort(key=lambda command: GROUPS.index(command.rich_help_panel))  # the order of the help
