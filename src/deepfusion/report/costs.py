"""Costs of an extraction, measured or expected, as a table and in words."""

from typing import Any

import pandas as pd

from deepfusion.costs import bottleneck, records, totals
from deepfusion.versions import ENCODER

# Unreadable clips shown one by one.
LISTED = 10
AUDIO = ("spectrogram", ENCODER)
HEAD = ("stage", "frames/s", "times real time", "CPU s per minute", "peak MB", "device", "threads", "share of time")


def cells(costs: pd.DataFrame) -> list[tuple[str, ...]]:
    """One row of text per stage; `costs` as returned by `deepfusion.costs.totals`."""
    return [
        (
            str(name),
            f"{part.rows_per_s:.1f}" if name not in AUDIO else "",  # their rows are not frames
            f"{part.media_per_s:.3g}",
            f"{part.cpu_s_per_minute:.3g}",
            f"{part.peak_memory_mb:.0f}",
            part.device,
            part.threads,
            f"{part.share:.1%}",
        )
        for name, part in costs.iterrows()
    ]


def words(costs: pd.DataFrame) -> str:
    """The bottleneck, and units and machines of the figures."""
    limit = bottleneck(costs)
    return (
        f"bottleneck: {limit}, {costs.at[limit, 'share']:.0%} of the CPU and GPU time; figures per worker and per "
        f"minute of video or audio; measured on {_machines(costs)}"
    )


def table(ledger: pd.DataFrame) -> str:
    """The ledger of a store as lines of text; one line that says so if nothing was measured."""
    if ledger.empty:
        return "cost: not measured (the store predates the cost ledger)"
    costs = totals(ledger)
    return f"{_lines([HEAD, *cells(costs)])}\n{words(costs)}"


def expected_data(found: dict[str, Any]) -> dict[str, Any]:
    """The result of `deepfusion.extract.preflight` as plain data, with the ledger as `costs`."""
    return {**{name: value for name, value in found.items() if name != "ledger"}, "costs": records(found["ledger"])}


def expected(found: dict[str, Any]) -> str:
    """The result of `deepfusion.extract.preflight` as lines of text."""
    costs, worker = totals(found["ledger"]), found["worker_s"]
    limit = max(worker, key=worker.get)
    lines = [
        f"{found['clips']} clips, {found['read']} of them read: {_time(found['video_s'])} of video, "
        f"{found['frames']:.0f} frames, {_time(found['audio_s'])} of audio",
        f"store: {found['store_bytes'] / 1e9:.3g} GB, and as much again for its shards",
    ]
    bad = list(found["bad"].items())
    lines += [f"cannot be read: {id_}: {reason}" for id_, reason in bad[:LISTED]]
    lines += [f"... and {len(bad) - LISTED} more that cannot be read"] * (len(bad) > LISTED)
    tried = costs["clips"].max()
    rows = [
        (name, _time(seconds), f"{seconds / sum(worker.values()):.1%}", *cells(costs.loc[[name]])[0][1:6])
        for name, seconds in worker.items()
    ]
    return "\n".join(
        [
            *lines,
            _lines([("stage", "CPU time", "share", *HEAD[1:6]), *rows]),
            f"start of all processes: {_time(found['start_s'])} of CPU time",
            f"expected on {found['cores']} otherwise idle cores: {_time(found['seconds'])}; bottleneck: {limit}",
            f"rates: the first seconds of {tried:.0f} clips of this corpus, on {_machines(costs)}",
        ]
    )


def _machines(costs: pd.DataFrame) -> str:
    return ", ".join(dict.fromkeys(name for names in costs["machine"] for name in names.split(", ")))


def _time(seconds: float) -> str:
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} s"


def _lines(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([name.ljust(widths[0]), *map(str.rjust, others, widths[1:])]).rstrip() for name, *others in rows
    )
