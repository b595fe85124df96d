"""Whether there is a GPU, without the import of torch; the fastest floating-point type of a device."""

import os
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

NVIDIA = Path("/dev/nvidiactl")  # of NVIDIA's driver, also in a container that has a GPU


def has_gpu() -> bool:
    """Whether `device: auto` takes a GPU here; decided without torch, whose import takes seconds."""
    try:
        torch_has_cuda = not metadata.version("torch").endswith("+cpu")
    except metadata.PackageNotFoundError:
        return False
    return torch_has_cuda and NVIDIA.exists() and os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1")


def fastest_dtype(precision: str, device: "torch.device") -> "torch.dtype":
    """The floating-point type for convolutions.

    Args:
        precision: "float32", "bfloat16", or "auto": the one that is faster on the device.
        device: Device of the computation.
    """
    import torch

    if precision != "auto":
        return getattr(torch, precision)
    seconds = {dtype: _convolution(dtype, device) for dtype in (torch.float32, torch.bfloat16)}
    return min(seconds, key=seconds.get)


def _convolution(dtype: "torch.dtype", device: "torch.device") -> float:
    import torch

    x = torch.ones(8, 64, 32, 32, device=device, dtype=dtype).to(memory_format=torch.channels_last)
    layer = torch.nn.Conv2d(64, 64, 3, padding=1).to(device, dtype, memory_format=torch.channels_last)
    times = []
    for _ in range(4):  # the first runs warm up
        start = time.perf_counter()
        layer(x).sum().item()  # waits for a GPU
        times.append(time.perf_counter() - start)
    return min(times)
