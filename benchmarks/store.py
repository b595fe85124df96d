"""The feature store against one dataset per clip and against .npy files: writing, reading, growth, memory.

The same synthetic features everywhere: EF-B (1024 values per frame) and a spectrogram (200 bins per window), float16.
Reading is warm, clips in random order, layouts alternate; times are medians of rounds.

python benchmarks/store.py
"""

import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from provenance import publish

from deepfusion.costs import peak_memory_mb
from deepfusion.sharding import blocks
from deepfusion.store import FeatureStore, ShardWriter, build_store, check_whole, layout

SIZES = (100, 1_000, 10_000)
LENGTHS = (20, 100, 500, 2_500)  # frames per clip, of the 100 clips that show growth with length
FRAMES, DIMENSION, BINS, WINDOWS_A_FRAME = 20, 1024, 200, 4
ROUNDS = 3
STAGES = ("faces", "EF-B", "spectrogram")


def content(i: int, frames: int) -> dict[str, np.ndarray]:
    """Data of the stages for clip i, reproducible so that it need not be kept in memory."""
    rng = np.random.default_rng(i)
    windows = frames * WINDOWS_A_FRAME
    return {
        "time": np.arange(frames) / 25,
        "reason": np.zeros(frames, np.uint8),
        "EF-B": rng.integers(0, 1000, (frames, DIMENSION)).astype(np.float16),
        "audio_time": np.arange(windows) / 100,
        "spectrogram": rng.integers(-100, 0, (windows, BINS)).astype(np.float16),
    }


def name_of(i: int) -> str:
    """Id of a clip."""
    return f"speaker{i // 100:04d}/clip{i:06d}"


def write_shards(folder: Path, clips: int, frames: int) -> Iterator[float]:
    """Write the shards as the stages do; yields the seconds of writing each shard."""
    for number, block in enumerate(blocks(clips, 16)):
        made = {i: content(i, frames) for i in range(block.start, block.stop)}
        begun = time.perf_counter()
        for stage in STAGES:
            with ShardWriter(folder / "shards" / stage / f"{number:05d}.h5", stage=stage) as shard:
                columns = {"faces": ("time", "reason"), "EF-B": ("EF-B",), "spectrogram": ("audio_time", "spectrogram")}
                for column in columns[stage]:
                    like = made[block.start][column]
                    shard.column(column.removeprefix("audio_"), like.shape[1:], like.dtype)
                for i, values in made.items():
                    shard.begin(name_of(i))
                    for column in columns[stage]:
                        shard.append(column.removeprefix("audio_"), values[column])
                    shard.end()
        yield time.perf_counter() - begun


def join(folder: Path, clips: int) -> None:
    """All shards into the store."""
    ids = [name_of(i) for i in range(clips)]
    manifest = pd.DataFrame({"id": ids, "path": [f"/clips/{id_}.mp4" for id_ in ids], "label": "calm", "speaker": "x"})
    manifest = manifest.assign(split="", start=np.nan, end=np.nan)
    shards = {stage: sorted((folder / "shards" / stage).iterdir()) for stage in STAGES}
    audio = shards.pop("spectrogram")
    build_store(folder / "features.h5", manifest, video=shards, audio=audio, labels=["calm"], attrs={})


def write_store(folder: Path, clips: int, frames: int) -> float:
    """Seconds for shards and store."""
    seconds = sum(write_shards(folder, clips, frames))
    begun = time.perf_counter()
    # In a separate process, so that its memory is that of building alone.
    peak = subprocess.run(
        [sys.executable, __file__, "join", str(folder), str(clips)], check=True, capture_output=True, text=True
    ).stdout
    (folder / "peak").write_text(peak)
    seconds += time.perf_counter() - begun
    shutil.rmtree(folder / "shards")
    return seconds


def write_datasets(folder: Path, clips: int, frames: int) -> float:
    """A group per clip, a dataset per feature: the usual layout."""
    seconds = 0.0
    with h5py.File(folder / "datasets.h5", "w") as file:
        for i in range(clips):
            values = content(i, frames)
            begun = time.perf_counter()
            group = file.create_group(name_of(i))
            for key, value in values.items():
                group[key] = value
            seconds += time.perf_counter() - begun
        begun = time.perf_counter()
    return seconds + time.perf_counter() - begun


def write_npy(folder: Path, clips: int, frames: int) -> float:
    """A file per clip and feature."""
    seconds = 0.0
    for i in range(clips):
        values = content(i, frames)
        begun = time.perf_counter()
        place = folder / "npy" / name_of(i)
        place.mkdir(parents=True)
        for key, value in values.items():
            np.save(place / f"{key}.npy", value)
        seconds += time.perf_counter() - begun
    return seconds


def write_contiguous(folder: Path) -> None:
    """The features of the store as contiguous datasets without checksums."""
    with FeatureStore(folder / "features.h5") as store, h5py.File(folder / "contiguous.h5", "w") as file:
        for key in ("EF-B", "spectrogram"):
            file[key] = np.concatenate([clip[key] for clip in store])


def checks(folder: Path) -> dict[str, float]:
    """Cost of checksums for the bytes of the store: seconds to hash a file, and to write those of chunks."""
    with FeatureStore(folder / "features.h5") as store:
        values = np.concatenate([clip["EF-B"] for _, clip in zip(range(1000), store, strict=False)])
    scale = (folder / "features.h5").stat().st_size / values.nbytes
    taken: dict[str, list[float]] = {"file_s": [], "chunks_s": []}
    for _ in range(2 * ROUNDS + 1):
        begun = time.perf_counter()
        check_whole(folder / "features.h5")
        taken["file_s"].append(time.perf_counter() - begun)
        with_them, without = (_write_chunks(values, checked) for checked in (True, False))
        taken["chunks_s"].append(scale * (with_them - without))
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def _write_chunks(values: np.ndarray, checked: bool) -> float:
    begun = time.perf_counter()
    chunks = (layout.chunk_rows(values.shape[1:], values.dtype), *values.shape[1:])
    with h5py.File("memory", "w", driver="core", backing_store=False) as file:  # the disk would hide the difference
        data = file.create_dataset("x", values.shape, values.dtype, chunks=chunks, fletcher32=checked)
        data[...] = values
    return time.perf_counter() - begun


def readers(folder: Path) -> dict[str, Callable[[str, str], np.ndarray]]:
    """Layout -> a function of clip and feature."""
    store, file, datasets = FeatureStore(folder / "features.h5"), None, h5py.File(folder / "datasets.h5")
    file = h5py.File(folder / "features.h5")
    offsets = {group: file[group]["offsets"][:].tolist() for group in ("video", "audio")}
    place = {id_: i for i, id_ in enumerate(file["clips/id"].asstr()[:])}
    names = {"EF-B": ("video", "EF-B"), "spectrogram": ("audio", "spectrogram")}
    data = {key: file[f"{group}/{name}"] for key, (group, name) in names.items()}
    at = {key: offsets[group] for key, (group, _) in names.items()}
    memory = {key: values[:] for key, values in data.items()}
    contiguous = h5py.File(folder / "contiguous.h5")
    plain = {key: contiguous[key] for key in names}

    def by_h5py(clip: str, key: str) -> np.ndarray:
        i = place[clip]
        return data[key][at[key][i] : at[key][i + 1]]

    def by_h5py_contiguous(clip: str, key: str) -> np.ndarray:
        i = place[clip]
        return plain[key][at[key][i] : at[key][i + 1]]

    def from_memory(clip: str, key: str) -> np.ndarray:
        i = place[clip]
        return memory[key][at[key][i] : at[key][i + 1]].copy()

    return {
        "store": lambda clip, key: store[clip][key],
        "store_by_h5py": by_h5py,
        "contiguous_by_h5py": by_h5py_contiguous,
        "dataset_a_clip": lambda clip, key: datasets[clip][key][()],
        "npy_files": lambda clip, key: np.load(folder / "npy" / clip / f"{key}.npy"),
        "copy_in_memory": from_memory,
    }


def ms_a_clip(read: Callable[[str], object], order: list[str]) -> float:
    """Milliseconds for one clip, all of them read in this order."""
    begun = time.perf_counter()
    for clip in order:
        read(clip)
    return 1e3 * (time.perf_counter() - begun) / len(order)


def read_all(folder: Path, clips: int) -> dict[str, dict[str, float]]:
    """Layout -> ms of a clip's EF-B, and of all data of a clip, median of rounds."""
    order = [name_of(i) for i in range(clips)]
    random.Random(0).shuffle(order)
    layouts = readers(folder)
    wanted: dict[str, Callable[[str], object]] = {}
    for name, read in layouts.items():
        wanted[f"{name}/EF-B"] = lambda clip, read=read: read(clip, "EF-B")
        wanted[f"{name}/both"] = lambda clip, read=read: (read(clip, "EF-B"), read(clip, "spectrogram"))
    with FeatureStore(folder / "features.h5") as store:
        wanted["store/all"] = lambda clip: dict(store[clip])
        check = store[order[0]]["EF-B"]
        for name, read in layouts.items():
            assert np.array_equal(read(order[0], "EF-B"), check), name
        rounds = 9 * ROUNDS if clips <= 100 else ROUNDS
        taken: dict[str, list[float]] = {name: [] for name in wanted}
        for turn in range(rounds + 1):  # the first one warms the caches
            for name, read in wanted.items():
                ms = ms_a_clip(read, order)
                if turn:
                    taken[name].append(ms)
    return {name: statistics.median(values) for name, values in taken.items()}


def corpus(clips: int) -> dict[str, object]:
    """One size of corpus, written and read in every layout."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        writers = {"store": write_store, "dataset_a_clip": write_datasets, "npy_files": write_npy}
        written = {layout: write(folder, clips, FRAMES) for layout, write in writers.items()}
        write_contiguous(folder)
        size = (folder / "features.h5").stat().st_size
        return {
            "clips": clips,
            "store_mb": size / 1e6,
            "write_s": written,
            "checks": checks(folder),
            "build_peak_mb": float((folder / "peak").read_text()),
            "read_ms_a_clip": read_all(folder, clips),
        }


def length(frames: int) -> dict[str, float]:
    """100 clips of so many frames: one feature of a clip by the store, and a copy of it in memory."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_store(folder, 100, frames)
        order = [name_of(i) for i in range(100)]
        random.Random(0).shuffle(order)
        with FeatureStore(folder / "features.h5") as store:
            whole = {clip: store[clip]["EF-B"] for clip in order}
            taken = [
                (ms_a_clip(lambda clip: store[clip]["EF-B"], order), ms_a_clip(lambda clip: whole[clip].copy(), order))
                for _ in range(ROUNDS + 1)
            ][1:]
        store_ms, memory_ms = (statistics.median(values) for values in zip(*taken, strict=True))
        peak = float((folder / "peak").read_text())
    kilobytes = frames * DIMENSION * 2 / 1e3
    return {
        "frames": frames,
        "kB": kilobytes,
        "store_ms": store_ms,
        "copy_in_memory_ms": memory_ms,
        "build_peak_mb": peak,
    }


def main() -> None:
    if sys.argv[1:2] == ["join"]:
        join(Path(sys.argv[2]), int(sys.argv[3]))
        print(peak_memory_mb())
        return
    sizes = {str(clips): corpus(clips) for clips in SIZES}
    large, small = sizes["10000"], sizes["100"]
    read, write = large["read_ms_a_clip"], large["write_s"]
    ratios = {
        "store_read_vs_dataset_a_clip": read["dataset_a_clip/both"] / read["store/both"],
        "store_read_vs_npy": read["npy_files/both"] / read["store/both"],
        "store_read_vs_plain_h5py": read["store_by_h5py/both"] / read["store/both"],
        "store_read_vs_contiguous": read["contiguous_by_h5py/both"] / read["store/both"],
        # Shards and store are hashed when written, shards again when joined; chunks are written twice and read once.
        "checksums_share_of_writing": 3 * sum(large["checks"].values()) / write["store"],
        "store_write_vs_dataset_a_clip": write["dataset_a_clip"] / write["store"],
        "store_write_vs_npy": write["npy_files"] / write["store"],
        "store_clip_ms": read["store/all"],
        "store_10000_against_100_clips": read["store/EF-B"] / small["read_ms_a_clip"]["store/EF-B"],
        "copy_in_memory_10000_against_100_clips": read["copy_in_memory/EF-B"]
        / small["read_ms_a_clip"]["copy_in_memory/EF-B"],
        "store_build_memory_10000_against_100_clips": large["build_peak_mb"] / small["build_peak_mb"],
    }
    lengths = [length(frames) for frames in LENGTHS]
    publish(Path("docs/results/store.json"), {"corpora": sizes, "clip_length": lengths, "ratios": ratios})


if __name__ == "__main__":
    main()
