"""Extraction from clips to store, rerun of a finished corpus, and memory: python benchmarks/end_to_end.py.

A clip per speaker of Java-SED, under a minute in all, is extracted by the workflow's commands and by the usual script,
naive_extraction.py, alternately, on one core. Then Snakemake reruns a finished corpus (after a first run if it is not
finished), and each stage's peak memory is compared for a clip and one 6 times as long. Writes
docs/results/end_to_end.json.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from statistics import median
from typing import NamedTuple

import av
import pandas as pd
import yaml
from provenance import publish

from deepfusion.config import PRESETS
from deepfusion.networks import catalogue

ONE_CORE = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "DEEPFUSION_PROGRESS": "lines"}
SLOTS = {slot: {"network": name} for slot, name in PRESETS["compact"].items()}
LONGER = 6
GOALS = {"end_to_end_compact": 3, "rerun": 500, "peak_mb_beside_weights": 1000}


class Cost(NamedTuple):
    """Cost of a command: wall time in s, CPU time in s, peak memory in MB."""

    wall: float
    cpu: float
    peak: float


def run(*command: object) -> Cost:
    """Run a command; its output is shown only if it fails."""
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen([str(part) for part in command], env=ONE_CORE, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            log.seek(0)
            raise SystemExit(f"{' '.join(map(str, command))}\n{log.read()}")
    return Cost(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def stages(manifest: Path, folder: Path) -> dict[str, Cost]:
    """Cost of each command of the extraction, in one shard."""
    shards, own = folder / "shards", ["--clips", manifest]
    outs = {stage: shards / stage / "00000.h5" for stage in ("faces", *SLOTS, "spectrogram", "AF")}
    config = {"corpus": {"name": "measured", "source": "manifest", "path": str(manifest)}}
    return {
        "faces": run("deepfusion", "faces", *own, "--out", outs["faces"]),
        "networks": run(
            "deepfusion", "networks", *own, "--tracks", outs["faces"], "--settings", json.dumps(SLOTS), "--device",
            "cpu", *[outs[slot] for slot in SLOTS],
        ),
        "spectrogram": run("deepfusion", "spectrogram", *own, "--out", outs["spectrogram"]),
        "audio_encoder": run(
            "deepfusion", "audio-encoder", "--spectrograms", outs["spectrogram"], "--out", outs["AF"]
        ),
        "store": run(
            "deepfusion", "store", "--manifest", manifest, "--shards", shards, "--config", json.dumps(config), "--out",
            folder / "features.h5",
        ),
    }  # fmt: skip


def write_manifest(path: Path, clips: dict[str, Path]) -> Path:
    rows = [f"{name},{file.resolve()},happy,{name[:2]}" for name, file in clips.items()]
    path.write_text("\n".join(["id,path,label,speaker", *rows]) + "\n")
    return path


def whole(clips: dict[str, Path], rounds: int, folder: Path) -> dict:
    """The commands against the naive script, alternately."""
    manifest = write_manifest(folder / "manifest.csv", clips)
    script, naive = Path(__file__).with_name("naive_extraction.py"), folder / "naive"
    turns = []
    for _ in range(rounds):
        ours = stages(manifest, folder / "ours")
        naive.mkdir()
        turns.append(ours | {"naive": run(sys.executable, script, naive, *clips.values())})
        shutil.rmtree(naive)
        shutil.rmtree(folder / "ours")
    costs = {name: [median(turn[name][i] for turn in turns) for i in (0, 1)] for name in turns[0]}
    script_s, script_cpu = costs.pop("naive")
    ours_s, ours_cpu = (sum(cost[i] for cost in costs.values()) for i in (0, 1))
    video = sum(seconds(file) for file in clips.values())
    return {
        "clips": len(clips),
        "video_s": round(video, 1),
        "naive_s": round(script_s, 1),
        "ours_s": {name: round(wall, 1) for name, (wall, _) in costs.items()},
        "cpu_s": {"naive": round(script_cpu, 1)} | {name: round(cpu, 1) for name, (_, cpu) in costs.items()},
        "ratio": round(script_s / ours_s, 2),
        "ratio_of_cpu_time": round(script_cpu / ours_cpu, 2),
        "times_real_time": {"naive": round(video / script_s, 2), "ours": round(video / ours_s, 2)},
    }


def seconds(file: Path) -> float:
    with av.open(str(file)) as container:
        return container.duration / av.time_base


def again(configfile: Path, rounds: int) -> dict:
    """A finished corpus by `snakemake extract_features`, next to Snakemake with nothing to do."""
    command = ["snakemake", "extract_features", "--configfile", configfile]
    run(*command)  # the first run, if there was none
    folder = Path("results") / yaml.safe_load(configfile.read_text())["corpus"]["name"]
    jobs = pd.concat(
        pd.read_csv(file, sep="\t")
        for stage in ("faces", "networks", "spectrogram", "audio_encoder", "store")
        for file in [*folder.glob(f"benchmarks/{stage}/*.tsv"), *folder.glob(f"benchmarks/{stage}.tsv")]
    )
    with tempfile.TemporaryDirectory() as empty:
        nothing = Path(empty) / "Snakefile"
        nothing.write_text('rule all:\n    output: touch("done")\n')
        bare = ["snakemake", "--snakefile", nothing, "--directory", empty, "--cores", "1"]
        run(*bare)
        turns = [(run(*command).wall, run(*bare).wall) for _ in range(rounds)]
    rerun, least = (median(turn[i] for turn in turns) for i in (0, 1))
    # Its CPU time: the time it would take on one core with no other load.
    first = float(pd.to_numeric(jobs["cpu_time"], errors="coerce").sum())
    return {
        "first_run_cpu_s": round(first, 1),
        "jobs": len(jobs),
        "rerun_s": round(rerun, 2),
        "snakemake_with_nothing_to_do_s": round(least, 2),
        "ratio": round(first / rerun, 1),
        "ratio_if_all_but_snakemake_took_no_time": round(first / least, 1),
    }


def repeated(clip: Path, times: int, out: Path) -> Path:
    """Repeat the packets of a clip, each stream by its own length: without gaps, but streams drift apart."""
    with av.open(str(out), "w") as container:
        targets, length = {}, Counter()
        for turn in range(times):
            with av.open(str(clip)) as source:
                for stream in source.streams if not targets else []:
                    targets[stream.index] = container.add_stream_from_template(stream)
                for packet in source.demux():
                    if packet.dts is None:  # the end
                        continue
                    length[packet.stream_index] += packet.duration if turn == 0 else 0
                    later = turn * length[packet.stream_index]
                    packet.pts, packet.dts = packet.pts + later, packet.dts + later
                    packet.stream = targets[packet.stream_index]
                    container.mux(packet)
    return out


def memory(clip: Path, folder: Path) -> dict:
    """Peak memory of each stage's process for one clip, and for one many times as long."""
    peaks = {}
    for times in (1, LONGER):
        place = folder / f"memory-{times}"
        place.mkdir()
        manifest = write_manifest(place / "manifest.csv", {"01-long": repeated(clip, times, place / "clip.mp4")})
        peaks[times] = {stage: cost.peak for stage, cost in stages(manifest, place).items()}
    # Last, because the memory of torch in this process would count as its children's.
    weights = sum(
        value.numel() * 4 / 2**20 for name in PRESETS["compact"].values() for value in catalogue.load(name).parameters()
    )
    return {
        "times_as_long": LONGER,
        "weights_mb": round(weights, 1),
        "peak_mb": {stage: [round(peaks[times][stage]) for times in peaks] for stage in peaks[1]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--javsed", type=Path, default=Path("../shared/data/javsed"))
    parser.add_argument("--configfile", type=Path, default=Path("benchmarks/javsed.yaml"), help="of the rerun")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    table = pd.read_csv(options.javsed / "manifest.csv", dtype={"speaker": str})
    clips = {Path(path).stem: options.javsed / path for path in table.groupby("speaker").path.first()}
    with tempfile.TemporaryDirectory() as folder:
        extraction = whole(clips, options.rounds, Path(folder))
        used = memory(next(iter(clips.values())), Path(folder))
    rerun = again(options.configfile, 3)
    ratios = {
        "end_to_end_compact": extraction["ratio"],
        "rerun": rerun["ratio"],
        "rerun_at_most": rerun["ratio_if_all_but_snakemake_took_no_time"],
        "peak_mb_beside_weights": round(max(max(peaks) for peaks in used["peak_mb"].values()) - used["weights_mb"]),
    }
    figures = {"whole": extraction, "rerun": rerun, "memory": used}
    publish(Path("docs/results/end_to_end.json"), {"ratios": ratios, "goals": GOALS, **figures})


if __name__ == "__main__":
    main()
