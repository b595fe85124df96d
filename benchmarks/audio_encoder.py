"""What the audio encoder's width and LRN cost.

python benchmarks/audio_encoder.py -> docs/results/audio_encoder.json
"""

import statistics
import time
from pathlib import Path

import torch
from provenance import publish
from torch import nn

from deepfusion.config import FusionSettings
from deepfusion.networks.alexnet_audio import AudioEncoder, LocalResponseNorm

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
    channels = FusionSettings().audio_channels
    encoders = {
        "paper": AudioEncoder(PAPER),
        "default": AudioEncoder(channels),
        "default, torch's LRN": AudioEncoder(channels),
    }
    norms = encoders["default, torch's LRN"].norms
    for i, norm in enumerate(norms):
        if isinstance(norm, LocalResponseNorm):
            norms[i] = nn.LocalResponseNorm(5)
    times = {name: [] for name in encoders}
    for _ in range(REPEATS):  # by turns, so that what else the machine does falls on all
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
    publish(Path("docs/results/audio_encoder.json"), {"encoders": figures})


if __name__ == "__main__":
    main()
