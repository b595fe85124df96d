"""Cost of the stages: measured while they run, kept in their shards, copied into the store.

A ledger is a table with one row per part of the work on a shard; its columns are `COLUMNS`.
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

# Decoding and cropping: shared by the networks of a job, so each of their shards is charged an equal part.
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
    """Wall and CPU time of a job and of its parts, including child processes that have ended.

    Parts must not overlap.

    Args:
        cpu: CPU time for parts, s.

    Attributes:
        parts: Name -> wall_s and cpu_s of the part.
    """

    def __init__(self, cpu: Callable[[], float]):
        self.parts: dict[str, dict[str, float]] = {}
        self._cpu = cpu
        self._begun = _now(_cpu_of_all)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time of the block to part `name`."""
        begun = _now(self._cpu)
        try:
            yield
        finally:
            before, now = self.parts.get(name, NOTHING), _now(self._cpu)
            self.parts[name] = {key: before[key] + now[key] - begun[key] for key in NOTHING}

    def timed(self, name: str, work: Callable[P, T]) -> Callable[P, T]:
        """The same function, with each call timed as part `name`."""

        @wraps(work)
        def counted(*args: P.args, **kwargs: P.kwargs) -> T:
            with self.part(name):
                return work(*args, **kwargs)

        return counted

    def rest(self) -> dict[str, float]:
        """wall_s and cpu_s since the clock was created, less those of all parts."""
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
    """Measure the work of the block, and write its cost into the shards.

        with ShardWriter(out, stage="faces") as shard, measured(shard):
            ...

    A single shard is charged everything. If several are filled together, each is charged the time of its own stage
    (`clock.part("EF-A")`) and an equal part of the rest, named `SHARED`. If the work ends in an error, nothing is
    written.

    Args:
        *shards: ShardWriters that are filled in the block.
        media_s: Duration of the video or the audio, s. Default: computed from the `time` column.
        threads: CPU threads, or processes that work on the shard.
        device: Where the work is done.
        alone: Nothing else runs while a part is timed. If False, for example because other threads decode for a GPU,
            only the CPU time of the part's own thread counts.
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
    """Peak memory so far of this process or of one of its children, MB."""
    import resource  # not available on Windows, where stores must be readable too

    unit = 1 if sys.platform == "darwin" else 1024
    own, others = (resource.getrusage(who).ru_maxrss * unit for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    status = Path("/proc/self/status")
    if status.exists():  # Linux: getrusage would include the memory of the parent process, such as Snakemake
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
    """Number of cores and processor name."""
    return f"{os.cpu_count()} x {processor()}"


def empty() -> pd.DataFrame:
    """A ledger without rows."""
    return pd.DataFrame({name: pd.Series(dtype=object) for name in COLUMNS})


def totals(ledger: pd.DataFrame) -> pd.DataFrame:
    """Total cost of each part over all shards.

    Args:
        ledger: Rows of shards; not empty.

    Returns:
        Index part, in the order of the work: faces, `SHARED`, networks, spectrogram, AF. clips, rows, media_s, wall_s,
        cpu_s: sums. peak_memory_mb: the largest. device, threads, machine: all that occur. rows_per_s and media_per_s:
        per worker; cpu_s_per_minute: per minute of video or audio. used_s: CPU time, or wall time of what ran on
        another device; share: of the used_s of all parts (0 to 1).
    """
    parts = ledger.groupby("part", sort=False)
    sums = parts[["clips", "rows", "media_s", "wall_s", "cpu_s"]].sum()
    texts = parts[["device", "threads", "machine"]].agg(lambda values: ", ".join(dict.fromkeys(map(str, values))))
    found = sums.assign(peak_memory_mb=parts["peak_memory_mb"].max()).join(texts)
    # Wall time on a CPU grows with whatever else runs there; a GPU is busy or waited for.
    used = ledger["cpu_s"].where(ledger["device"].eq("cpu"), ledger["wall_s"])
    used = used.groupby(ledger["part"], sort=False).sum()
    found = found.assign(
        used_s=used,
        rows_per_s=found["rows"] / found["wall_s"],
        media_per_s=found["media_s"] / found["wall_s"],
        cpu_s_per_minute=60 * found["cpu_s"] / found["media_s"],
        share=used / used.sum(),
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
    """The part with the largest share of the time used."""
    return str(totals["share"].idxmax())
