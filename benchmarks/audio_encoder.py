"""What the width of the audio encoder costs: python benchmarks/audio_encoder.py -> docs/results/audio_encoder.json."""

import statistics
import time
from pathlib import Path

import torch
from provenance import publish

from deepfusion.config import FusionSettings
from deepfusion.fusion.audio_encoder import AudioEncoder

PAPER = (96, 256, 384, 384, 256)
FRAMES, BATCH, REPEATS = 330, 8, 7


def seconds_a_clip(encoder: AudioEncoder) -> float:
    """Forward and backward of one clip of 3.3 s within a batch."""
    clips, lengths = torch.randn(BATCH, 200, FRAMES), torch.full((BATCH,), FRAMES)
    begun = time.perf_counter()
    encoder(clips, lengths)[0].sum().backward()
    return (time.perf_counter() - begun) / BATCH


def main() -> None:
    torch.set_num_threads(1)
    encoders = {"paper": AudioEncoder(PAPER), "default": AudioEncoder(FusionSettings().audio_channels)}
    times = {name: [] for name in encoders}
    for _ in range(REPEATS):  # by turns, so that what else the machine does falls on both
        for name, encoder in encoders.items():
            times[name].append(seconds_a_clip(encoder))
    figures = {
        name: {
            "channels": [convolution.out_channels for convolution in encoder.convolutions],
            "parameters": sum(p.numel() for p in encoder.parameters()),
            "ms_per_clip": 1e3 * statistics.median(times[name]),
        }
        for name, encoder in encoders.items()
    }
    figures["ratio"] = figures["paper"]["ms_per_clip"] / figures["default"]["ms_per_clip"]
    publish(Path("docs/results/audio_encoder.json"), figures)


if __name__ == "__main__":
    main()
