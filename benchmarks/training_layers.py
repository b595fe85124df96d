"""Cost of the two layers reimplemented for training on a CPU, compared with torch's own.

python benchmarks/training_layers.py -> docs/results/training_layers.json
"""

import statistics
import time
from pathlib import Path

import torch
from provenance import publish
from torch import Tensor, nn

from deepfusion.networks.models.depthwise import DepthwiseConv2d
from deepfusion.networks.models.sface import PReLU

BATCH, CHANNELS, SIDE, REPEATS = 64, 128, 24, 7  # a map of SFace's conv_4 to conv_5, in a step of the usual recipe


def milliseconds(layer: nn.Module, x: Tensor) -> float:
    """Forward and backward of one batch as in training: bfloat16 where a layer takes it."""
    x = x.detach().requires_grad_()
    begun = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    y.sum().backward()
    return 1e3 * (time.perf_counter() - begun)


def main() -> None:
    torch.set_num_threads(1)
    stride = {"stride": 2, "padding": 1}
    layers = {
        "depthwise convolution, stride 2": DepthwiseConv2d(CHANNELS, **stride),
        "depthwise convolution, stride 2, torch's": nn.Conv2d(CHANNELS, CHANNELS, 3, groups=CHANNELS, **stride),
        "PReLU, frozen": PReLU(CHANNELS).requires_grad_(False),
        "PReLU, frozen, torch's": nn.PReLU(CHANNELS).requires_grad_(False),
    }
    x = torch.randn(BATCH, CHANNELS, SIDE, SIDE, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    times = {name: [] for name in layers}
    for _ in range(REPEATS):  # alternate, so that other load affects all equally
        for name, layer in layers.items():
            times[name].append(milliseconds(layer.to(memory_format=torch.channels_last), x))
    publish(
        Path("docs/results/training_layers.json"),
        {
            "map": [BATCH, CHANNELS, SIDE, SIDE],
            "arithmetic": "bfloat16",
            "milliseconds": {name: statistics.median(values) for name, values in times.items()},
        },
    )


if __name__ == "__main__":
    main()
