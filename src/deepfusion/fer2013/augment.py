"""FER2013's images as a network's crops, randomly augmented, on the training device.

The images stay 48 x 48 on the device. One affine map, the alignment combined with a random one, and one interpolation
turn an image into a crop of any network.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deepfusion.fer2013.data import SIDE

TURN = 0.2  # rad, standard deviation 1/2 of it
SCALE = 0.2  # logarithm, at most
SHIFT = 0.16  # of half the crop's side, at most
CONTRAST = (0.6, 1.5)
BRIGHTNESS = 40.0  # of 255, at most
ERASED = (0.15, 0.5)  # side of the erased square, of the crop's
ERASE = 0.5  # share of the crops


def thetas(to_crop: np.ndarray, size: int) -> Tensor:
    """Maps from crop to image in `affine_grid`'s units.

    Args:
        to_crop: (N, 2, 3) maps from image to crop, px, (0, 0) at the centre of the top left pixel.
        size: the crop's side in px.

    Returns:
        (N, 3, 3) float32: from the crop's -1..1 to the image's -1..1, edge to edge.
    """
    rows = np.broadcast_to([[[0.0, 0.0, 1.0]]], (len(to_crop), 1, 3))
    back = np.linalg.inv(np.concatenate([to_crop, rows], axis=1))
    return torch.tensor(_units(SIDE) @ back @ np.linalg.inv(_units(size)), dtype=torch.float32)


def _units(side: int) -> np.ndarray:
    """From px to -1..1."""
    scale = 2 / side
    return np.array([[scale, 0, scale / 2 - 1], [0, scale, scale / 2 - 1], [0, 0, 1]])


def crops(images: Tensor, theta: Tensor, size: int) -> Tensor:
    """Cut crops out of images, bilinear; pixels outside an image have the colour of its edge.

    Args:
        images: (B, 48, 48) uint8.
        theta: (B, 3, 3), from crop to image.
        size: S.

    Returns:
        (B, 1, S, S) float32 of 0..255.
    """
    grid = F.affine_grid(theta[:, :2], [len(images), 1, size, size], align_corners=False)
    return F.grid_sample(images[:, None].float(), grid, padding_mode="border", align_corners=False)


def augmented(theta: Tensor, generator: torch.Generator) -> Tensor:
    """Each map preceded by a random rotation, scale, shift and, half the time, a reflection: (B, 3, 3)."""
    n = len(theta)
    turn = torch.randn(n, generator=generator).clamp(-2, 2) * (TURN / 2)
    scale = torch.exp(_uniform(n, -SCALE, SCALE, generator))
    mirror = torch.where(_uniform(n, 0, 1, generator) < 0.5, -1.0, 1.0)
    shift = _uniform(2 * n, -SHIFT, SHIFT, generator).view(2, n)
    cosine, sine = scale * torch.cos(turn), scale * torch.sin(turn)
    zero, one = torch.zeros(n), torch.ones(n)
    change = torch.stack([cosine * mirror, -sine, shift[0], sine * mirror, cosine, shift[1], zero, zero, one], 1)
    return theta @ change.view(n, 3, 3).to(theta.device)


def toned(grey: Tensor, generator: torch.Generator) -> Tensor:
    """Change contrast and brightness of each crop, (B, 1, S, S) of 0..255, and erase a square in half of them."""
    n, size = len(grey), grey.shape[-1]
    contrast = _uniform(n, *CONTRAST, generator).view(n, 1, 1, 1).to(grey.device)
    brightness = _uniform(n, -BRIGHTNESS, BRIGHTNESS, generator).view(n, 1, 1, 1).to(grey.device)
    mean = grey.mean((1, 2, 3), keepdim=True)
    grey = ((grey - mean) * contrast + mean + brightness).clamp(0, 255)
    side = _uniform(n, *ERASED, generator) * (_uniform(n, 0, 1, generator) < ERASE)
    middle = _uniform(2 * n, 0, 1, generator).view(2, n)
    place = (torch.arange(size) + 0.5) / size
    rows, columns = ((place - m[:, None]).abs() < side[:, None] / 2 for m in middle)
    erased = (rows[:, None, :, None] & columns[:, None, None, :]).to(grey.device)
    return torch.where(erased, mean, grey)


def _uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    return torch.rand(n, generator=generator) * (high - low) + low
