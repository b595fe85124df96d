"""Progress of a command: a bar on a terminal; elsewhere, and in the log, a line from time to time."""

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

log = logging.getLogger(__name__)

T = TypeVar("T")

# Seconds between two lines of the log.
LINE_EVERY = 10.0


class _Rate(ProgressColumn):
    """Items per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:.1f} {task.fields['unit']}/s")


def _bar_can_be_drawn() -> bool:
    # The workflow sets this: its jobs share the terminal, and their bars would overwrite each other.
    return sys.stderr.isatty() and os.environ.get("DEEPFUSION_PROGRESS") != "lines"


@contextmanager
def _bar(what: str, total: int, unit: str) -> Iterator[Callable[[], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    # Output of the command must reach a pipe even while the bar is drawn.
    with Progress(*columns, console=Console(stderr=True), redirect_stdout=sys.stdout.isatty()) as progress:
        task = progress.add_task(what, total=total, unit=unit)
        yield lambda: progress.advance(task)


def _lines(what: str, total: int, unit: str, level: int) -> Callable[[], None]:
    """A function to call once per item; it logs a line from time to time."""
    begun = written = time.monotonic()
    done = 0

    def advance() -> None:
        nonlocal done, written
        done += 1
        now = time.monotonic()
        if done == total or now - written >= LINE_EVERY:
            written = now
            rate = done / max(now - begun, 1e-9)
            left = (total - done) / rate
            log.log(level, "%s: %d/%d %s, %.2f %s/s, %.0f s left", what, done, total, unit, rate, unit, left)

    return advance


def track(items: Sequence[T], what: str, *, unit: str) -> Iterator[T]:
    """Iterate over `items` and show how many are done, how fast, and the time left.

    While a bar is drawn, the lines go to the log file only.

    Args:
        items: The items to process.
        what: The work, for example "faces 00003".
        unit: Plural of the items, for example "clips".
    """
    with_bar = _bar_can_be_drawn()
    line = _lines(what, len(items), unit, logging.DEBUG if with_bar else logging.INFO)
    with _bar(what, len(items), unit) if with_bar else nullcontext(lambda: None) as advance:
        for item in items:
            yield item
            advance()
            line()
