"""The Typer application, to which the commands are added, and its log."""

import logging
from pathlib import Path
from typing import Annotated

import typer

EPILOG = (
    "Exit status: 0 done. 1 damage or a difference was found (verify, diff), the machine refused (full disk, no"
    " permission), or an internal error. 2 wrong usage or input. 3 some clips have no answer (predict). 130 interrupted"
    " by Ctrl-C: no partial file is left, and the same command resumes."
)
# Groups of commands in the help.
GROUPS = ("Predict and configure", "Inspect and report", "Stages of the workflow", "Weights")
PEOPLE, LOOK, STAGES, WEIGHTS = GROUPS

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Audio-video emotion recognition by attention-guided factorized bilinear pooling.",
    epilog=EPILOG,
)
log = logging.getLogger("deepfusion")


def _start_log(file: Path | None) -> None:
    handlers: list[logging.Handler] = [logging.StreamHandler()]
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(file, mode="w", encoding="utf-8"))
    handlers[0].setLevel(logging.INFO)  # the file also gets each clip's name before it is opened, and tracebacks
    for handler in handlers:
        handler.setFormatter(logging.Formatter("%(levelname).1s %(message)s"))
        log.addHandler(handler)
    log.setLevel(logging.DEBUG)


@app.callback()
def _callback(
    log_file: Annotated[Path | None, typer.Option("--log", help="Also write the log here.")] = None,
) -> None:
    _start_log(log_file)
