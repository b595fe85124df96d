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
        return
    except Interrupted:
        pass  # leaving this block releases the stack frames that hold open files and progress bars
    except UserError as error:
        log.error("%s", error)
        sys.exit(2)
    except MachineError as error:
        log.error("%s", error)
        sys.exit(1)
    except OSError as error:
        if (line := machine_reason(error)) is None:
            log.exception("internal error (please report)")
        else:
            log.error("%s", line)
        sys.exit(1)
    except Exception:
        log.exception("internal error (please report)")
        sys.exit(1)
    log.error("interrupted: no partial file is left; the same command resumes")
    sys.exit(EXIT_INTERRUPTED)


app.registered_commands.sort(key=lambda command: GROUPS.index(command.rich_help_panel))  # the order of the help
