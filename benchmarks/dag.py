"""Overhead of Snakemake: the DAG of 100 to 1,000,000 clips, and a job, compared with the extraction itself.

Clips of the DAGs are empty files. The overhead per job is measured twice. First on real clips, extracted and then
requested again: every shard is up to date, so the remaining time is Snakemake and the start of the commands. Second on
the first jobs of the large corpora, because the scheduler examines all clips of the jobs that it chooses from.

python benchmarks/dag.py
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import psutil
import yaml
from provenance import ROOT, publish

from deepfusion.config import check
from deepfusion.corpora import load, write_manifest
from deepfusion.plan import Plan

SIZES = (100, 10_000, 100_000, 1_000_000)
STAGES = ("faces", "networks", "spectrogram", "audio_encoder")
# For real clips: so few clips per shard that there are enough jobs to measure.
REAL, REAL_PER_SHARD = 16, 2


def snakemake(folder: Path, *arguments: str) -> dict[str, float]:
    """Seconds of a call: wall time, and CPU time of Snakemake and its children."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["snakemake", *arguments, "--snakefile", ROOT / "Snakefile", "--directory", folder, "--quiet", "all"]
    before, begun = os.times(), time.perf_counter()
    subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"wall_s": time.perf_counter() - begun, "cpu_s": cpu}


def configured(folder: Path, **groups: dict) -> Plan:
    """Write config.yaml and return its plan."""
    config = {"corpus": {"name": "measured", "source": "manifest", "path": str(folder / "manifest.csv")}, **groups}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return Plan(check(config))


def dag(clips: int) -> dict[str, float]:
    """The DAG of a corpus of empty files: a dry run, which also prints every job."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "clips").mkdir()
        lines = ["path,label,speaker"]
        for i in range(clips):
            (folder / f"clips/{i:06d}.mp4").touch()
            lines.append(f"clips/{i:06d}.mp4,{'happy' if i % 2 else 'sad'},s{i // 100:04d}")
        (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
        shards = len(configured(folder).shards)
        took = snakemake(folder, "extract_features", "--dry-run", "--cores", "2")
        if 10_000 <= clips <= 100_000:
            took["cpu_s_a_job"] = at_scale(folder)
    return {"clips": clips, "shards": shards, "jobs": len(STAGES) * shards + 3, **took}


def at_scale(folder: Path, jobs: int = 24) -> float:
    """CPU seconds of Snakemake per job of a whole corpus, from the first jobs of a real run on empty files.

    The real commands run, and find every clip empty. The run is stopped after some jobs.
    """
    command = ["snakemake", "extract_features", "--snakefile", ROOT / "Snakefile", "--directory", folder]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = psutil.Popen([*map(str, command), "--quiet", "all"], cwd=folder, env=environment, **quiet)
    seen: dict[int, float] = {}  # jobs done -> CPU s of Snakemake alone
    while process.poll() is None and max(seen, default=0) < jobs:
        time.sleep(0.2)
        done = len(list((folder / "results/measured/benchmarks").glob("*/*.tsv")))
        if done:  # the DAG is built
            seen.setdefault(done, process.cpu_times().user + process.cpu_times().system)
    process.terminate()
    process.wait()
    first, last = min(seen), max(seen)
    return (seen[last] - seen[first]) / (last - first)


def commands(folder: Path) -> float:
    """Seconds of the commands of the last run, as Snakemake measured them."""
    files = [
        file for stage in (*STAGES, ".") for file in (folder / "results/measured/benchmarks" / stage).glob("*.tsv")
    ]
    return sum(float(pd.read_csv(file, sep="\t")["s"].iloc[0]) for file in files)


def job(clips: pd.DataFrame) -> dict[str, float]:
    """Extract real clips, then request the same again; one core each time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_manifest(folder / "manifest.csv", clips)
        shards = len(configured(folder, store={"clips_per_shard": REAL_PER_SHARD}).shards)
        snakemake(folder, "extract_features", "--cores", "1")
        extraction = commands(folder)
        again = ["extract_features", "--cores", "1", "--forcerun", *STAGES]
        plan = snakemake(folder, *again, "--dry-run")
        took = snakemake(folder, *again)
        kept = commands(folder)
    jobs = len(STAGES) * shards + 1
    return {
        "clips": len(clips),
        "jobs": jobs,
        "extraction_s_a_clip": (extraction - kept) / len(clips),
        "start_of_a_command_s": kept / jobs,
        "snakemake_s_a_job": (took["wall_s"] - plan["wall_s"] - kept) / jobs,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("../shared/data/javsed"), help="of Java-SED")
    args = parser.parse_args()
    cores = psutil.cpu_count()
    dags = {str(clips): dag(clips) for clips in SIZES}
    one = job(load(kind="javsed", name="javsed", path=args.folder.absolute()).clips[:REAL])
    of = dags["10000"]
    # The run is computed, not measured: 10,000 such clips, on all cores, without idle time.
    run = of["clips"] * one["extraction_s_a_clip"] / cores
    overhead = of["wall_s"] + of["jobs"] * max(one["snakemake_s_a_job"], of["cpu_s_a_job"])
    estimate = {
        "run_s": run,
        "snakemake_s": overhead,
        "start_of_commands_s": of["jobs"] * one["start_of_a_command_s"] / cores,
        "cores": cores,
    }
    figures = {
        "dag": dags,
        "job": one,
        "run_of_10000_clips": estimate,
        "ratios": {
            "snakemake_share_10000": overhead / run,
            "dag_100000_s": dags["100000"]["wall_s"],
        },
    }
    publish(Path("docs/results/dag.json"), figures)


if __name__ == "__main__":
    main()
