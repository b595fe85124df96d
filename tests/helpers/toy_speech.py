"""Emotional speech that is learnt in seconds: tones, high for happy and low for sad; each speaker has a timbre."""

import csv
import wave
from pathlib import Path

import numpy as np

from deepfusion.config import PretrainAudioSettings

SETTINGS = PretrainAudioSettings(
    corpora=("tones",),
    unseen=("others",),
    bursts=(),
    labels=("sad", "happy"),
    held_out=0.3,
    frames=64,
    batch=8,
    epochs=2,
    steps=3,
    precision="float32",
)


def write_wav(path: Path, samples: np.ndarray, rate: int = 16000) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def write_corpus(folder: Path, *, clips: int = 6, seconds: float = 0.7) -> Path:
    """A manifest of two corpora with three speakers each; returns its path."""
    rng = np.random.default_rng(0)
    rows = []
    for corpus in ("tones", "others"):
        for speaker in range(3):
            for i in range(clips):
                label = ("sad", "happy", "calm")[i % 3] if corpus == "others" else ("sad", "happy")[i % 2]
                pitch = {"sad": 200, "happy": 900, "calm": 500}[label] * rng.uniform(0.9, 1.1)
                t = np.arange(int(16000 * seconds * rng.uniform(0.8, 1.4))) / 16000
                tone = np.sin(2 * np.pi * pitch * t) + 0.1 * (speaker + 1) * np.sin(4 * np.pi * pitch * t)
                name = f"{corpus}-{speaker}-{i}.wav"
                write_wav(folder / name, 0.3 * tone + 0.01 * rng.standard_normal(len(t)))
                rows.append((name, corpus, f"{corpus}{speaker}", label, "none", "CC0-1.0"))
    path = folder / "manifest.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("path", "corpus", "speaker", "label", "language", "licence"), *rows])
    return path
