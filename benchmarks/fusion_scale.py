"""Memory and CPU time of `deepfusion train-fbp` by corpus size, and networks trained together against one by one.

Simulated stores of 100, 1,000 and 10,000 clips of 100 frames, written by the store's own writers: features of the
widths of the preset `compact`, landmarks, a spectrogram of three seconds, float16. Audio and video depend on the label;
the values are otherwise noise. Two folds: one with a tenth of the speakers for validation and a tenth for test, and the
model of all clips. One seed, one thread, all else by default.

python benchmarks/fusion_scale.py [--sizes 100 1000 10000] [--store results/javsed/features.h5] [--rounds 2]
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from provenance import publish

from deepfusion.config import FusionSettings
from deepfusion.corpora.folds import folds
from deepfusion.fusion import experiment, rows
from deepfusion.fusion.batched_training import Task, predict, train_together
from deepfusion.fusion.corpus import read_corpus
from deepfusion.fusion.fbp import EPSILONS
from deepfusion.fusion.network import Network
from deepfusion.fusion.parts import part
from deepfusion.fusion.search import Row, sizes
from deepfusion.malloc import keep_freed_memory
from deepfusion.sharding import blocks
from deepfusion.store import FeatureStore, ShardWriter, build_store

OUT = Path("docs/results/fusion_scale.json")
SIZES = (100, 1_000, 10_000)
FRAMES, WINDOWS, BINS = 100, 300, 200
WIDTHS = {"EF-VGG": 4096, "EF-A": 256, "EF-B": 1024, "EF-C": 1024}
HIDDEN = 24  # latent factors of a frame's features: real features also vary along few axes
LABELS = ["angry", "calm", "happy", "sad"]
SPEAKER_CLIPS = 10
SETTINGS = {"seeds": [0]}
FOLD = {"name": "test", "test": ["test"], "choose": ["val"], "by": "split"}
EVERYONE = {"name": "everyone", "test": [], "choose": ["val"], "by": "split"}
NETWORKS, COMPARED, CANDIDATE_AXES, LEARNING_RATE = 50, 10, 64, 3e-3


class Simulation:
    """Features of clips, reproducible so that they need not be kept in memory."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.maps = {name: rng.normal(size=(HIDDEN, width)).astype(np.float32) for name, width in WIDTHS.items()}
        self.face = rng.normal(100, 40, (68, 2))
        self.tones = np.linspace(-50, -80, BINS) + 10 * np.cos(np.arange(BINS) / 4)

    def label(self, i: int) -> int:
        """Label of clip i."""
        return i % len(LABELS)

    def video(self, i: int) -> dict[str, np.ndarray]:
        """Data that the video stages store for clip i."""
        rng = np.random.default_rng([1, i])
        hidden = rng.normal(size=(FRAMES, HIDDEN)).astype(np.float32)
        hidden[:, self.label(i)] += 1.5
        hidden[:, -4:] += np.random.default_rng([2, i // SPEAKER_CLIPS]).normal(size=4)
        features = {
            name: hidden @ to + rng.standard_normal((FRAMES, to.shape[1]), np.float32) for name, to in self.maps.items()
        }
        return {
            "time": np.arange(FRAMES) / 25,
            "reason": np.zeros(FRAMES, np.uint8),
            "choice": np.ones(FRAMES, np.uint8),
            "landmarks": (self.face + rng.normal(0, 1, (FRAMES, 68, 2))).astype(np.float32),
            **{name: values.astype(np.float16) for name, values in features.items()},
        }

    def audio(self, i: int) -> dict[str, np.ndarray]:
        """Data that the spectrogram stage stores for clip i."""
        rng = np.random.default_rng([3, i])
        level = np.repeat(rng.normal(0, 8, WINDOWS // 10), 10)[:, None] + 4 * self.label(i)
        return {
            "time": 0.02 + np.arange(WINDOWS) / 100,
            "spectrogram": (self.tones + level + rng.normal(0, 4, (WINDOWS, BINS))).astype(np.float16),
        }


def write_store(folder: Path, clips: int) -> Path:
    """Write the shards as the stages do, and the store."""
    simulation, shards = Simulation(), folder / "shards"
    stages = {"faces": ("time", "reason", "choice", "landmarks"), **{name: (name,) for name in WIDTHS}}
    for number, block in enumerate(blocks(clips, 16)):
        made = {i: (simulation.video(i), simulation.audio(i)) for i in range(block.start, block.stop)}
        for stage, columns in (*stages.items(), ("spectrogram", ("time", "spectrogram"))):
            with ShardWriter(shards / stage / f"{number:05d}.h5", stage=stage) as shard:
                for column in columns:
                    like = made[block.start][stage == "spectrogram"][column]
                    attributes = {"rate": 8000, "dft": 400, "shift_ms": 10.0} if column == "spectrogram" else {}
                    shard.column(column, like.shape[1:], like.dtype, **attributes)
                for i, values in made.items():
                    shard.begin(f"clip{i:06d}")
                    for column in columns:
                        shard.append(column, values[stage == "spectrogram"][column])
                    shard.end(**({"sha256": f"{i:064x}"} if stage == "faces" else {}))
    speaker = np.arange(clips) // SPEAKER_CLIPS
    manifest = pd.DataFrame({"id": [f"clip{i:06d}" for i in range(clips)]}).assign(
        path=lambda table: table["id"] + ".mp4",
        label=[LABELS[simulation.label(i)] for i in range(clips)],
        speaker=[f"s{who:04d}" for who in speaker],
        split=np.array(["test", "val", *["train"] * 8])[speaker % 10],
        start=np.nan,
        end=np.nan,
    )
    video = {stage: sorted((shards / stage).iterdir()) for stage in stages}
    audio = sorted((shards / "spectrogram").iterdir())
    build_store(folder / "features.h5", manifest, video=video, audio=audio, labels=LABELS, attrs={})
    shutil.rmtree(shards)
    return folder / "features.h5"


def measure(clips: int, folder: Path) -> dict:
    """Peak memory and CPU time of the command on a simulated store, which is written if missing."""
    work = folder / str(clips)
    work.mkdir(parents=True, exist_ok=True)
    store = work / "features.h5"
    if not store.exists():
        write_store(work, clips)
    command = ["deepfusion", "train-fbp", "--store", store, "--folds", json.dumps([FOLD])]
    command += ["--everyone", json.dumps(EVERYONE), "--settings", json.dumps(SETTINGS), "--out", work / "fbp"]
    begun = time.perf_counter()
    with (work / "log").open("w") as log:
        process = subprocess.Popen([*map(str, command), "--threads", "1", "--device", "cpu"], stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit((work / "log").read_text())
    metrics = json.loads((work / "fbp/metrics.json").read_text())
    found = {
        "clips": clips,
        "store_gb": store.stat().st_size / 1e9,
        "peak_gb": used.ru_maxrss * 1024 / 1e9,
        "cpu_s": used.ru_utime + used.ru_stime,
        "wall_s": time.perf_counter() - begun,
        "accuracy": metrics["models"]["fbp"]["accuracy_mean"],
    }
    return found


def together(path: Path, rounds: int) -> dict:
    """CPU seconds of 50 FBP networks (10 folds, 5 seeds) together and one by one, and the difference of predictions."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as the command does
    settings = FusionSettings(seeds=(0, 1, 2, 3, 4))
    with FeatureStore(path) as store:
        streams = rows.default_streams(settings, list(store.networks), encoder="AF" in store.keys)
        chosen = folds(store.clips["speaker"], protocol="loso")
    fbp = rows.base(streams)[-1]
    corpus = read_corpus(path, rows.streams_of([fbp]), purpose="this benchmark")
    parts = [part(corpus.table, fold, inner_folds=settings.inner_folds) for fold in chosen]
    bench = experiment.bench(corpus, parts, settings, torch.device("cpu"))
    tasks = [
        Task(bench.modalities(fbp, i, CANDIDATE_AXES), of.train, corpus.speakers, seed)
        for i, of in enumerate(parts)
        for seed in settings.seeds
    ][:NETWORKS]
    shapes = sizes(tasks[0].data)

    def train(some: list[Task], row: Row = fbp) -> list[Network]:
        shape = row.settings(settings).shape
        return train_together(
            lambda: Network(shapes, len(corpus.labels), design=row.design, shape=shape),
            some,
            corpus.label,
            settings=settings.training,
            learning_rates=[LEARNING_RATE] * len(some),
            device=torch.device("cpu"),
        )

    ways = {"together": [tasks], "one_by_one": [[task] for task in tasks]}
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, some in ways.items():
            begun = time.process_time()
            for group in some:
                train(group)
            seconds[name].append(time.process_time() - begun)
    return {
        "networks": len(tasks),
        "training_clips": len(tasks[0].train),
        "cpu_s": {name: statistics.median(of) for name, of in seconds.items()},
        "compared": COMPARED,
        "largest_difference_of_a_probability": {
            root: apart(tasks[:COMPARED], partial(train, row=replace(fbp, changes={"signed_sqrt": root})))
            for root in EPSILONS
        },
    }


def apart(tasks: list[Task], train: Callable[[list[Task]], list[Network]]) -> float:
    """Largest difference of a probability between networks trained together and one by one; all clips."""
    largest = 0.0
    for task, a in zip(tasks, train(tasks), strict=True):
        (b,) = train([task])
        p, q = (predict(of, task.data, range(len(task.speakers)))[0].softmax(1) for of in (a, b))
        largest = max(largest, (p - q).abs().max().item())
    return largest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="clips")
    parser.add_argument("--store", type=Path, default=Path("results/javsed/features.h5"))
    parser.add_argument("--folder", type=Path, help="keep the stores here (30 GB while written), and use them again")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    corpora = []
    with tempfile.TemporaryDirectory() as temporary:
        for clips in args.sizes:
            corpora.append(measure(clips, args.folder or Path(temporary)))
            print(corpora[-1], flush=True)
    by_size = {of["clips"]: of for of in corpora}
    networks = together(args.store, args.rounds)
    print(networks)
    ratios = {"networks_together_50": networks["cpu_s"]["one_by_one"] / networks["cpu_s"]["together"]}
    if by_size.keys() >= {1_000, 10_000}:
        ratios["train_fbp_10000_against_1000_clips"] = by_size[10_000]["cpu_s"] / by_size[1_000]["cpu_s"]
        ratios["train_fbp_10000_clips_gb"] = by_size[10_000]["peak_gb"]
    publish(args.out, {"corpora": corpora, "networks": networks, "ratios": ratios})


if __name__ == "__main__":
    main()
