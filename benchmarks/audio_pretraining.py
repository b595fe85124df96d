"""Accuracy of the pre-trained audio encoders on an unseen corpus: Java-SED, leave one speaker out.

python benchmarks/audio_pretraining.py CLIPS.csv WEIGHTS.safetensors ... -> docs/results/audio_pretraining.json

CLIPS.csv has path, speaker, emotion. The figures on the pre-training corpora come from the cards of the weights.
"""

import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from provenance import publish

from deepfusion import media
from deepfusion import spectrogram as spectrograms
from deepfusion.fusion.speech_features import clip_vector, descriptors
from deepfusion.networks.audio_encoder import load_encoder
from deepfusion.speech.measure import linear_probe, zero_shot


def both(vectors: np.ndarray, label: np.ndarray, speaker: np.ndarray) -> dict[str, float]:
    """UAR of the linear probe, standardised by the training speakers and by each speaker."""
    return {
        "plain": linear_probe(vectors, label, speaker),
        "by_speaker": linear_probe(vectors, label, speaker, by_speaker=True),
    }


def main() -> None:
    torch.set_num_threads(1)
    table, *weights = map(Path, sys.argv[1:])
    clips = pd.read_csv(table, dtype=str)
    label, speaker = (clips[name].to_numpy().astype(str) for name in ("emotion", "speaker"))
    heard = [media.read_audio(table.parent / path, rate=16000) for path in clips["path"]]
    levels = [spectrograms.spectrogram(sound.samples) for sound in heard]
    features = np.stack([clip_vector(descriptors(one, spacing=20.0)) for one in levels])
    seconds = sum(len(sound.samples) / sound.rate for sound in heard)
    figures: dict = {"clips": len(clips), "speakers": len(set(speaker)), "chance": 1 / len(set(label))}
    figures["speech_features"] = both(features, label, speaker)
    figures["encoders"] = {}
    for path in weights:
        encoder = load_encoder(path)
        begun = time.perf_counter()
        positions = [encoder.positions(one) for one in levels]
        took = time.perf_counter() - begun
        with torch.inference_mode():
            logits = np.stack([encoder.logits(torch.from_numpy(a)).numpy() for a in positions])
        vectors = np.stack([encoder.attended(a) for a in positions])
        figures["encoders"][path.stem] = {
            "parameters": sum(p.numel() for p in encoder.parameters()),
            "bytes": path.stat().st_size,
            "positions": [encoder.bands, encoder.channels],
            "ms_per_second_of_audio": 1e3 * took / seconds,
            "licence": encoder.card["licence"],
            "corpora": {name: corpus["clips"] for name, corpus in encoder.card["data"].items()},
            "uar": encoder.card["uar"],
            "zero_shot": zero_shot(logits, label, encoder.labels),
            "probe": both(vectors, label, speaker),
            "probe_with_speech_features": both(np.concatenate([features, vectors], 1), label, speaker),
        }
    publish(Path("docs/results/audio_pretraining.json"), figures)


if __name__ == "__main__":
    main()
