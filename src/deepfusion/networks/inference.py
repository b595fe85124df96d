"""Crops to features, in batches, on the chosen device."""

import numpy as np
import torch
from torch import nn

from deepfusion.errors import UserError


def device(name: str) -> torch.device:
    """The torch device of a name, checked to work.

    Args:
        name: "auto" (CUDA where there is one, else the CPU), or one of torch's: "cpu", "cuda:1", "mps", ...

    Raises:
        UserError: torch knows no such device, or this machine has none.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.ones(1, device=name).cpu()
    except (RuntimeError, AssertionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"device '{name}' cannot be used here ({reason}); use auto, cpu or cuda") from error
    return torch.device(name)


def embed(module: nn.Module, crops: np.ndarray, *, device: torch.device, batch: int = 8) -> np.ndarray:
    """Features of face crops.

    The batch changes the result by rounding only: less than 1e-5 of the largest value. TensorFloat-32, which
    would cost three digits on a GPU, is off.

    Args:
        module: a network of the catalogue; moved to `device` and put in evaluation mode.
        crops: (N, S, S, 3) uint8 RGB; N may be 0.
        device: where to compute.
        batch: crops at a time; more than 8 is slower on a CPU (page faults).

    Returns:
        (N, D) float32.

    Raises:
        ValueError: the crops are not (N, S, S, 3) uint8.
    """
    if crops.dtype != np.uint8 or crops.ndim != 4 or crops.shape[3] != 3:
        raise ValueError(f"crops are {crops.dtype} {crops.shape}, not uint8 (N, S, S, 3)")
    # The crops' own order in memory, channels last, is also the faster one for convolutions.
    module = module.to(device=device, memory_format=torch.channels_last).eval()
    features = []
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for i in range(0, max(len(crops), 1), batch):  # no crops: one empty batch, which gives D
            x = torch.tensor(crops[i : i + batch], device=device).permute(0, 3, 1, 2).float()
            features.append(module(x).cpu())
    return torch.cat(features).numpy()
