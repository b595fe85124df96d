"""What a person sees while a command works: a bar on a terminal, a line now and then anywhere else."""

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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

T = TypeVar("T")

# Seconds between two lines where no bar can be drawn.
LINE_EVERY = 10.0


class _Rate(ProgressColumn):
    """Items a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:.1f} {task.fields['unit']}/s")


def _bar_can_be_drawn() -> bool:
    # The workflow sets this: its jobs share the terminal, and their bars would write over each other.
    return sys.stderr.isatty() and os.environ.get("DEEPFUSION_PROGRESS") != "lines"


@contextmanager
def _bar(what: str, total: int, unit: str) -> Iterator:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(what, total=total, unit=unit)
        yield lambda: progress.advance(task)


@contextmanager
def _lines(what: str, total: int, unit: str) -> Iterator:
    begun = said = time.monotonic()
    done = 0

    def advance() -> None:
        nonlocal done, said
        done += 1
        now = time.monotonic()
        if done == total or now - said >= LINE_EVERY:
            said = now
            rate = done / max(now - begun, 1e-9)
            left = (total - done) / rate
            print(
                f"{what}: {done}/{total} {unit}, {rate:.2f} {unit}/s, {left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )

    yield advance


def track(items: Sequence[T], what: str, *, unit: str) -> Iterator[T]:
    """Go through `items` and show how far it is, how fast, and how long it will take.

    Args:
        items: What is worked on.
        what: The work, for example "faces 00003".
        unit: Plural of the items, for example "clips".
    """
    shown = _bar if _bar_can_be_drawn() else _lines
    with shown(what, len(items), unit) as advance:
        for item in items:
            yield item
            advance()
