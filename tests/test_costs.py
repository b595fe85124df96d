"""What stages cost: measured, divided among the networks of a job, summed, and the bottleneck named."""

import subprocess
import sys
import time
from threading import Thread

import numpy as np
import pandas as pd
import pytest

from deepfusion import costs
from deepfusion.costs import SHARED, bottleneck, measured, totals
from deepfusion.report.costs import table
from deepfusion.store import ShardWriter, read_shard


def busy(seconds):
    """Use the processor for so long; how long it was by the clock."""
    begun, until = time.perf_counter(), time.process_time() + seconds
    while time.process_time() < until:
        pass
    return time.perf_counter() - begun


def fill(shard, name):
    shard.column("time", (), np.float64)
    shard.begin(name)
    shard.append("time", np.arange(50) / 25)
    shard.end()


def rows(path):
    with read_shard(path) as shard:
        return shard.ledger.set_index("part")


def test_one_stage_bears_all_that_was_spent(tmp_path):
    with ShardWriter(tmp_path / "f.h5", stage="faces") as shard, measured(shard, threads=2):
        fill(shard, "a")
        time.sleep(0.05)
        worked = busy(0.1)
    (cost,) = rows(tmp_path / "f.h5").itertuples()
    assert (cost.Index, cost.clips, cost.rows, cost.threads, cost.device) == ("faces", 1, 50, 2, "cpu")
    assert cost.media_s == pytest.approx(2.0)
    assert cost.cpu_s >= 0.1
    assert cost.wall_s >= worked + 0.05  # sleeping takes time and no processor
    assert cost.cpu_s < cost.wall_s - 0.04
    assert cost.peak_memory_mb > 20
    assert cost.machine


def test_networks_bear_their_own_and_share_the_rest(tmp_path):
    paths = {name: tmp_path / f"{name}.h5" for name in ("EF-A", "EF-B")}
    with (
        ShardWriter(paths["EF-A"], stage="EF-A") as a,
        ShardWriter(paths["EF-B"], stage="EF-B") as b,
        measured(a, b, media_s=4.0, device="a card") as clock,
    ):
        for shard in (a, b):
            fill(shard, "clip")
        busy(0.08)
        for _ in range(2):
            with clock.part("EF-A"):
                busy(0.06)
        with clock.part("EF-B"):
            busy(0.02)
    a, b = rows(paths["EF-A"]), rows(paths["EF-B"])
    assert a.at["EF-A", "cpu_s"] >= 0.12
    assert 0.02 <= b.at["EF-B", "cpu_s"] < a.at["EF-A", "cpu_s"]
    assert a.at["EF-A", "rows"] == 50
    assert a.at[SHARED, "cpu_s"] == b.at[SHARED, "cpu_s"] >= 0.04
    both = totals(pd.concat([rows(path).reset_index() for path in paths.values()]))
    assert both.at[SHARED, "rows"] == 50  # each frame was decoded once
    assert both.at[SHARED, "media_s"] == both.at["EF-A", "media_s"] == 4.0
    assert both["device"].eq("a card").all()


def test_processes_that_were_started_count(tmp_path):
    with ShardWriter(tmp_path / "f.h5", stage="f") as shard, measured(shard, threads=2):
        fill(shard, "a")
        work = "import time\nheld = b'x' * 300_000_000\nwhile time.process_time() < 0.3: pass"
        subprocess.run([sys.executable, "-c", work], check=True)
    cost = rows(tmp_path / "f.h5").loc["f"]
    assert cost["cpu_s"] > 0.3
    assert cost["peak_memory_mb"] > 300


def test_memory_of_the_process_that_started_this_one_is_not_counted(tmp_path):
    held = np.ones(40_000_000)  # 320 MB
    ask = [sys.executable, "-c", "from deepfusion.costs import peak_memory_mb; print(peak_memory_mb())"]
    assert float(subprocess.run(ask, capture_output=True, check=True, text=True).stdout) < held.nbytes / 1e6


def test_beside_other_threads_a_part_is_its_own_thread(tmp_path):
    other = Thread(target=busy, args=(0.2,))
    with ShardWriter(tmp_path / "f.h5", stage="f") as shard, measured(shard, alone=False) as clock:
        fill(shard, "a")
        other.start()
        clock.timed("f", time.sleep)(0.1)
        other.join()
    cost = rows(tmp_path / "f.h5")
    assert cost.at["f", "wall_s"] >= 0.1
    assert cost.at["f", "cpu_s"] < 0.05
    assert cost.at[SHARED, "cpu_s"] > 0.15


def test_work_that_fails_writes_nothing(tmp_path):
    with pytest.raises(RuntimeError), ShardWriter(tmp_path / "f.h5", stage="f") as shard, measured(shard):
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def row(part, **more):
    usual = {"clips": 1, "rows": 100, "media_s": 4.0, "wall_s": 2.0, "cpu_s": 1.0, "peak_memory_mb": 100.0}
    return {"part": part, **usual, "device": "cpu", "threads": 1, "machine": "2 x X", "shard": 0} | more


MADE = pd.DataFrame(
    [
        row("spectrogram", wall_s=1.0, rows=398),
        row("EF-A", wall_s=4.0, cpu_s=6.0, threads=2),
        row("EF-A", wall_s=4.0, cpu_s=6.0, threads=2, rows=300, peak_memory_mb=300.0, machine="8 x Y"),
        row(SHARED, wall_s=3.0),
        row("faces", wall_s=15.0, cpu_s=6.0),
        row("EF-B", wall_s=6.0, threads=8, device="a card"),
    ]
)


def test_totals_are_those_of_all_shards():
    found = totals(MADE)
    assert list(found.index) == ["faces", SHARED, "EF-A", "EF-B", "spectrogram"]
    assert found.at["EF-A", "rows_per_s"] == 50
    assert found.at["EF-A", "media_per_s"] == 1
    assert found.at["EF-A", "peak_memory_mb"] == 300
    assert found.at["EF-A", "machine"] == "2 x X, 8 x Y"
    assert found.at["faces", "cpu_s_per_minute"] == 90
    assert found["share"].sum() == pytest.approx(1)
    # CPU time, whatever else ran at the same time; a GPU for as long as it was used.
    assert found.at["EF-A", "used_s"] == 12
    assert found.at["EF-A", "share"] == pytest.approx(12 / 26)
    assert found.at["EF-B", "share"] == pytest.approx(6 / 26)
    assert bottleneck(found) == "EF-A"


def test_the_table_names_the_bottleneck_and_its_figures():
    lines = table(MADE).splitlines()
    assert lines[0].split()[:2] == ["stage", "frames/s"]
    assert lines[3].split() == ["EF-A", "50.0", "1", "90", "300", "cpu", "2", "46.2%"]
    assert lines[5].split()[:2] == ["spectrogram", "4"]  # windows are no frames
    assert lines[-1].startswith("bottleneck: EF-A, 46% of the CPU and GPU time")
    assert lines[-1].endswith("measured on 2 x X, 8 x Y")


def test_a_store_without_figures_says_so():
    assert "not measured" in table(costs.empty())
