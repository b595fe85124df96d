"""What the stages cost: measured while they work, kept with their shards, carried on into the store.

A ledger is a table. A row is one part of the work on one shard; the columns are `COLUMNS`.
"""

import os
import platform
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import pandas as pd

from deepfusion.versions import ENCODER

P = ParamSpec("P")
T = TypeVar("T")

# Decoding and cutting out the faces: the networks of a job share it, so each of their shards bears an equal part of it.
SHARED = "decode+warp"

# Name -> unit, description.
COLUMNS = {
    "part": ("", f"stage; {SHARED}: what the networks of a job share"),
    "clips": ("clip", "clips of the shard; of a shared part this shard's portion, as in rows and media_s"),
    "rows": ("row", "frames, windows of the spectrogram, or positions of the audio encoder"),
    "media_s": ("s", "duration of the pictures, or of the audio"),
    "wall_s": ("s", "time by the clock"),
    "cpu_s": ("s", "time of all cores together"),
    "peak_memory_mb": ("MB", "largest memory of the process up to then, Python and its libraries included"),
    "device": ("", "where it was computed"),
    "threads": ("", "CPU threads that it was given"),
    "machine": ("", "cores and processor"),
}


class Clock:
    """Wall and CPU time of a job, processes that it started and that have ended included, and of parts of it.

    Parts must not overlap.

    Args:
        cpu: CPU time for parts, s.

    Attributes:
        parts: Name -> wall_s and cpu_s of what was counted under it.
    """

    def __init__(self, cpu: Callable[[], float]):
        self.parts: dict[str, dict[str, float]] = {}
        self._cpu = cpu
        self._begun = _now(_cpu_of_all)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what is done within as `name`, in addition to what was counted before."""
        begun = _now(self._cpu)
        try:
            yield
        finally:
            before, now = self.parts.get(name, NOTHING), _now(self._cpu)
            self.parts[name] = {key: before[key] + now[key] - begun[key] for key in NOTHING}

    def timed(self, name: str, work: Callable[P, T]) -> Callable[P, T]:
        """The same function, each call of it counted as `name`."""

        @wraps(work)
        def counted(*args: P.args, **kwargs: P.kwargs) -> T:
            with self.part(name):
                return work(*args, **kwargs)

        return counted

    def rest(self) -> dict[str, float]:
        """wall_s and cpu_s since the clock was made that no part has."""
        now = _now(_cpu_of_all)
        return {
            key: max(0.0, now[key] - self._begun[key] - sum(part[key] for part in self.parts.values()))
            for key in NOTHING
        }


NOTHING = {"wall_s": 0.0, "cpu_s": 0.0}


def _now(cpu: Callable[[], float]) -> dict[str, float]:
    return {"wall_s": time.perf_counter(), "cpu_s": cpu()}


def _cpu_of_all() -> float:
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


@contextmanager
def measured(
    *shards, media_s: float | None = None, threads: int = 1, device: str = "cpu", alone: bool = True
) -> Iterator[Clock]:
    """Measure the work within, and write into the shards what it cost.

        with ShardWriter(out, stage="faces") as shard, measured(shard):
            ...

    One shard bears all of it. Of several, filled in one go, each bears what was counted as its stage
    (`clock.part("EF-A")`) and an equal part of the rest, named `SHARED`. Nothing is written of work that ends in an
    error.

    Args:
        *shards: ShardWriters that are filled within.
        media_s: Seconds of the pictures or the audio; else those that the shards' column `time` tells.
        threads: CPU threads, or processes that work on the shard.
        device: Where the work is done.
        alone: Nothing else works while a part of the clock is counted. Else, as when other threads decode for a GPU, a
            part has the CPU time of its own thread.
    """
    clock = Clock(time.process_time if alone else time.thread_time)
    yield clock
    where = {"peak_memory_mb": peak_memory_mb(), "device": device, "threads": threads, "machine": machine()}
    rest = clock.rest()
    for shard in shards:
        done = {"clips": shard.clips, "rows": shard.rows, "media_s": shard.seconds() if media_s is None else media_s}
        if len(shards) == 1 and not clock.parts:
            shard.cost(part=shard.stage, **done, **rest, **where)
            continue
        shard.cost(part=shard.stage, **done, **clock.parts.get(shard.stage, NOTHING), **where)
        portion = {name: value / len(shards) for name, value in (done | rest).items()}
        shard.cost(part=SHARED, **portion, **where)


def peak_memory_mb() -> float:
    """Largest memory so far of this process, or of one that it started, MB."""
    import resource  # no Windows has it, and a store should be read there, too

    unit = 1 if sys.platform == "darwin" else 1024
    own, others = (resource.getrusage(who).ru_maxrss * unit for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    status = Path("/proc/self/status")
    if status.exists():  # where getrusage counts in what the process had that started this one, as Snakemake
        peaks = re.findall(r"VmHWM:\s+(\d+) kB", status.read_text())
        own = int(peaks[0]) * 1024
    return max(own, others) / 1e6


def processor() -> str:
    """The processor's name."""
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.exists() else []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def machine() -> str:
    """Cores and processor in short."""
    return f"{os.cpu_count()} x {processor()}"


def empty() -> pd.DataFrame:
    """A ledger without rows."""
    return pd.DataFrame({name: pd.Series(dtype=object) for name in COLUMNS})


def totals(ledger: pd.DataFrame) -> pd.DataFrame:
    """What each part cost in all shards together.

    Args:
        ledger: Rows of shards; not empty.

    Returns:
        Index part, in the order of the work: faces, `SHARED`, networks, spectrogram, AF. clips, rows, media_s, wall_s,
        cpu_s: sums. peak_memory_mb: the largest. device, threads, machine: all that occur. rows_per_s and media_per_s:
        of one worker; cpu_s_per_minute: of pictures or audio; share: of the time for which workers were held (0 to 1).
    """
    parts = ledger.groupby("part", sort=False)
    sums = parts[["clips", "rows", "media_s", "wall_s", "cpu_s"]].sum()
    texts = parts[["device", "threads", "machine"]].agg(lambda values: ", ".join(dict.fromkeys(map(str, values))))
    found = sums.assign(peak_memory_mb=parts["peak_memory_mb"].max()).join(texts)
    # A worker on the CPU holds as many cores as it has threads; one on a GPU holds the GPU.
    held = ledger["wall_s"] * ledger["threads"].where(ledger["device"].eq("cpu"), 1)
    held = held.groupby(ledger["part"], sort=False).sum()
    found = found.assign(
        rows_per_s=found["rows"] / found["wall_s"],
        media_per_s=found["media_s"] / found["wall_s"],
        cpu_s_per_minute=60 * found["cpu_s"] / found["media_s"],
        share=held / held.sum(),
    )
    order = {"faces": 0, SHARED: 1, "spectrogram": 3, ENCODER: 4}
    return found.sort_index(key=lambda names: names.map(lambda name: order.get(name, 2)), kind="stable")


def records(ledger: pd.DataFrame) -> list[dict[str, Any]]:
    """The `totals` of a ledger as plain data: a dictionary per part; none if nothing was measured."""
    if ledger.empty:
        return []
    costs = totals(ledger).reset_index()
    return costs.astype(object).where(costs.notna(), None).to_dict("records")


def bottleneck(totals: pd.DataFrame) -> str:
    """The part that holds the workers longest."""
    return str(totals["share"].idxmax())
