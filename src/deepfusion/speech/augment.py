"""Random augmentation of spectrograms in dB: pace, pitch and vocal tract, microphone, noise, masks.

Random numbers are drawn on the generator's device; everything else is computed on the spectrograms' device.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from deepfusion.config import SpeechAugmentSettings

CURVES = 4  # cosines of the random equaliser, from half a period over all bins on


def length_before(frames: int, settings: SpeechAugmentSettings) -> int:
    """Input frames that `augmented` needs for `frames` output frames at the fastest pace."""
    return math.ceil(frames * settings.pace[1]) + 1


def stretch(decibels: np.ndarray, frames: int, generator: np.random.Generator) -> np.ndarray:
    """A random stretch of a clip: (T, F), T at least 1 -> (frames, F); a shorter clip is repeated."""
    length = len(decibels)
    first = int(generator.integers(max(1, length - frames + 1)))
    if length >= frames:
        return decibels[first : first + frames]
    return decibels[(np.arange(frames) + int(generator.integers(length))) % length]


def augmented(
    decibels: Tensor,
    frames: int,
    front: Callable[[Tensor, Tensor], Tensor],
    settings: SpeechAugmentSettings,
    generator: torch.Generator,
    device: torch.device,
) -> Tensor:
    """Apply all augmentations of this module.

    Args:
        decibels: (B, T, F), T from `length_before`.
        frames: Length of the result.
        front: The front end of an encoder, on `device`.
        settings: Strength of each.
        generator: Of the random numbers.
        device: Of the result.

    Returns:
        (B, 1, rows, frames), the input of the encoder's convolutions.
    """
    decibels = equalise(warp(decibels.to(device), frames, settings, generator), settings, generator)
    decibels = add_noise(decibels, settings, generator)
    length = torch.full((len(decibels),), frames, device=device)
    with torch.no_grad():
        x = front(decibels, length)
    return mask(x, settings, generator)


def warp(decibels: Tensor, frames: int, settings: SpeechAugmentSettings, generator: torch.Generator) -> Tensor:
    """Change pace and frequency axis of each clip at random, by bilinear interpolation.

    Args:
        decibels: (B, T, F), T at least frames * settings.pace[1].
        frames: Length of the result.
        settings: pace and frequency: ranges of the factors.
        generator: Of the random numbers.

    Returns:
        (B, frames, F), the beginning of each clip at its new pace. Bins above the last one repeat it.
    """
    B, T, bins = decibels.shape
    pace = _between(settings.pace, decibels, generator)
    pitch = _between(settings.frequency, decibels, generator)
    time = torch.arange(frames, device=pace.device) * pace[:, None]  # (B, frames)
    frequency = torch.arange(bins, device=pitch.device) / pitch[:, None]  # (B, F)
    y = (2 * time / (T - 1) - 1)[:, :, None].expand(B, frames, bins)
    x = (2 * frequency / (bins - 1) - 1)[:, None, :].expand(B, frames, bins)
    grid = torch.stack([x, y], 3)
    return F.grid_sample(decibels[:, None], grid, padding_mode="border", align_corners=True)[:, 0]


def equalise(decibels: Tensor, settings: SpeechAugmentSettings, generator: torch.Generator) -> Tensor:
    """Add a smooth random curve over frequency to each clip, (B, T, F) dB."""
    B, _, bins = decibels.shape
    order = torch.arange(1, CURVES + 1, device=decibels.device)
    place = (torch.arange(bins, device=decibels.device) + 0.5) / bins
    waves = torch.cos(torch.pi * order[:, None] * place)  # (CURVES, F)
    normal = torch.randn(B, CURVES, generator=generator, device=generator.device).to(decibels.device)
    amount = normal * settings.equaliser_db * (2 / CURVES) ** 0.5
    return decibels + (amount @ waves)[:, None]


def add_noise(decibels: Tensor, settings: SpeechAugmentSettings, generator: torch.Generator) -> Tensor:
    """Add stationary noise of random level and slope to half of the clips, (B, T, F) dB.

    Its level per bin lies settings.noise_db below the clip's loudest bin; its power varies as that of Gaussian noise.
    """
    chosen = _uniform(len(decibels), generator).to(decibels.device) < 0.5
    part = decibels[chosen]
    depth = _between(settings.noise_db, part, generator)
    normal = torch.randn(len(part), generator=generator, device=generator.device).to(part.device)
    slope = normal * 5  # dB from the middle to either end
    ramp = torch.linspace(1, -1, part.shape[2], device=part.device)
    level = (part.amax((1, 2)) - depth)[:, None] + slope[:, None] * ramp
    uniform = _uniform(part.shape, generator).to(part.device)
    draws = -uniform.clamp(min=1e-6).log()  # exponential: power of Gaussian noise
    power = 10 ** (part / 10) + draws * 10 ** (level / 10)[:, None]
    noisy = decibels.clone()
    noisy[chosen] = 10 * power.log10()
    return noisy


def mask(x: Tensor, settings: SpeechAugmentSettings, generator: torch.Generator) -> Tensor:
    """SpecAugment: set two stripes in time and two in frequency of each (B, 1, rows, T) input to 0, its mean."""
    for axis, share in ((3, settings.time_mask), (2, settings.frequency_mask)):
        size = x.shape[axis]
        place = torch.arange(size, device=x.device)
        for _ in range(2):
            width = _between((0, share * size), x, generator)
            start = _between((0, 1), x, generator) * (size - width)
            inside = (place >= start[:, None]) & (place < (start + width)[:, None])
            x = x.masked_fill(inside[:, None, None] if axis == 3 else inside[:, None, :, None], 0)
    return x


def _between(bounds: tuple[float, float], clips: Tensor, generator: torch.Generator) -> Tensor:
    """(B,) random numbers within bounds, one per clip, on the device of the clips."""
    return bounds[0] + (bounds[1] - bounds[0]) * _uniform(len(clips), generator).to(clips.device)


def _uniform(shape: int | tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)
