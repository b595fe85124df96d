"""Behaviour of the extraction under kills, damaged files and flipped bits.

    python benchmarks/reliability.py --kills 200 --files 2000 --flips 100

writes docs/results/reliability.json. All clips are generated.
"""

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from provenance import ROOT, publish

from deepfusion.config import FaceSettings, SpectrogramSettings
from deepfusion.corpora import read_manifest
from deepfusion.corpora.demo.render import generate
from deepfusion.extract.faces import faces_shard
from deepfusion.extract.spectrogram import spectrogram_shard
from deepfusion.store import DamagedError, FeatureStore, check_whole, read_shard

SNAKEMAKE = [str(Path(sys.executable).with_name("snakemake")), "--snakefile", str(ROOT / "Snakefile"), "--cores", "2"]
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
LONGEST_BEFORE_KILL = 12.0  # s: about a whole run
BLOCK = 50  # mutated files of one shard


def clips_of(folder: Path, count: int) -> list[Path]:
    """Some clips of a generated speaker."""
    return generate(folder, speakers=2, takes=1, seed=0, speaker="s01")[:count]


def write_manifest(path: Path, clips: list[Path]) -> pd.DataFrame:
    path.write_text("path,label,speaker\n" + "".join(f"{clip},x,s{i % 2}\n" for i, clip in enumerate(clips)))
    return read_manifest(path, labels=None)


def project(folder: Path, clips: list[Path]) -> None:
    """A folder in which the workflow extracts the clips with one network."""
    folder.mkdir()
    write_manifest(folder / "mine.csv", clips)
    config = {
        "corpus": {"name": "mine", "source": "manifest", "path": "mine.csv"},
        "networks": {"EF-A": {"network": "dlib-resnet29-fer2013"}},
        "store": {"clips_per_shard": 2},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    return subprocess.Popen(
        [*SNAKEMAKE, "--directory", str(folder), *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def finish(folder: Path, *arguments: str) -> None:
    if start(folder, *arguments).wait():
        raise SystemExit(f"snakemake {' '.join(arguments)} failed in {folder}")


def key(folder: Path) -> str:
    with FeatureStore(folder / "results/mine/features.h5") as store:
        return store.attrs["key"]


def kills(count: int, clips: list[Path], folder: Path) -> dict:
    """Kill the whole workflow at random moments and rerun the same command; then compare the store."""
    project(folder / "reference", clips)
    finish(folder / "reference", "extract_features")
    expected, dice = key(folder / "reference"), random.Random(0)
    done = finished = different = damaged = 0
    project(folder / "killed", clips)
    while done < count:
        process = start(folder / "killed", "extract_features")
        try:
            process.wait(dice.uniform(0.5, LONGEST_BEFORE_KILL))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            done += 1
            finish(folder / "killed", "--unlock")
        else:  # it finished
            finished += 1
            different += key(folder / "killed") != expected
            shutil.rmtree(folder / "killed")
            project(folder / "killed", clips)
        for path in (folder / "killed").glob("results/mine/**/*.h5"):
            try:
                check_whole(path)
            except DamagedError:
                damaged += 1
    finish(folder / "killed", "extract_features")
    different += key(folder / "killed") != expected
    return {
        "kills": done,
        "runs_that_ended": finished + 1,
        "stores_that_differ": different,
        "damaged_files_found_after_kills": damaged,
    }


def mutated(data: bytes, dice: np.random.Generator) -> bytes:
    """The bytes with one kind of damage."""
    changed, size = bytearray(data), len(data)
    match dice.integers(4):
        case 0:  # single bits
            for at in dice.integers(0, size, dice.integers(1, 60)):
                changed[at] ^= 1 << int(dice.integers(8))
        case 1:  # cut off
            del changed[int(dice.integers(1, size)) :]
        case 2:  # a stretch of noise
            at, length = int(dice.integers(0, size)), int(dice.integers(1, 4000))
            changed[at : at + length] = dice.bytes(len(changed[at : at + length]))
        case _:  # bytes lost or doubled
            at, length = int(dice.integers(0, size)), int(dice.integers(1, 2000))
            changed[at : at + length] = changed[at : at + length] * int(dice.integers(0, 3))
    return bytes(changed)


def files(count: int, clips: list[Path], folder: Path) -> dict:
    """Extract mutated files between good ones."""
    folder.mkdir()
    sources, dice = [clip.read_bytes() for clip in clips], np.random.default_rng(0)
    reference = write_manifest(folder / "good.csv", clips[:2])
    shards = {"faces": folder / "faces.h5", "spectrogram": folder / "spectrogram.h5"}
    extract(reference, shards)
    expected = {stage: rows(path, reference["id"]) for stage, path in shards.items()}
    reasons: list[str] = []
    changed, peak, begun = 0, 0.0, time.perf_counter()
    for first in range(0, count, BLOCK):
        bad = [folder / f"{i}.mp4" for i in range(first, min(first + BLOCK, count))]
        for path in bad:
            path.write_bytes(mutated(sources[dice.integers(len(sources))], dice))
        block = write_manifest(folder / "block.csv", [clips[0], *bad, clips[1]])
        extract(block, shards)
        for stage, path in shards.items():
            changed += rows(path, reference["id"]) != expected[stage]
            with read_shard(path) as shard:
                reasons += shard.clips["reason"].tolist()
                peak = max(peak, float(shard.ledger["peak_memory_mb"].max()))
        for path in (*bad, *shards.values()):
            path.unlink()
    unforeseen = [reason for reason in reasons if re.match(r"\w*(Error|Exception)\b", reason)]
    return {
        "files": count,
        "stages_that_read_them": 2 * count,
        "failed": sum(reason != "" for reason in reasons),
        "unforeseen_errors": len(unforeseen),
        "of_them": sorted(set(unforeseen))[:5],
        "processes_that_died": sum("ended its process" in reason for reason in reasons),
        "over_a_limit": sum("limits." in reason for reason in reasons),
        "neighbours_changed": changed,
        "peak_memory_mb": round(peak),
        "seconds": round(time.perf_counter() - begun),
    }


def extract(clips: pd.DataFrame, shards: dict[str, Path]) -> None:
    faces_shard(clips, shards["faces"], settings=FaceSettings())
    spectrogram_shard(clips, shards["spectrogram"], settings=SpectrogramSettings(), dtype="float32")


def rows(path: Path, ids: pd.Series) -> list[bytes]:
    """All rows of some clips of a shard."""
    with read_shard(path) as shard:
        return [values.tobytes() for id_ in ids for values in shard[id_].values()]


def flips(count: int, path: Path) -> int:
    """Number of flipped bits that are found, of `count` flipped one at a time."""
    data, dice, found = path.read_bytes(), random.Random(0), 0
    for _ in range(count):
        changed = bytearray(data)
        changed[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        path.write_bytes(changed)
        try:
            check_whole(path)
        except DamagedError:
            found += 1
    path.write_bytes(data)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--flips", type=int, default=100)
    parser.add_argument("--out", type=Path, default=ROOT / "docs/results/reliability.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = clips_of(folder / "clips", 6)
        figures = {
            "files": files(options.files, clips, folder / "files"),
            "kills": kills(options.kills, clips, folder),
        }
        store = folder / "reference/results/mine/features.h5"
        shard = folder / "reference/results/mine/shards/EF-A/00000.h5"
        figures["flips"] = {
            "flips": options.flips,
            "found_in_the_store": flips(options.flips, store),
            "found_in_a_shard": flips(options.flips, shard),
        }
        publish(options.out, figures)


if __name__ == "__main__":
    main()
