"""Random variations of a training clip's sound, one idea a function.

Each takes a spectrogram in dB, (T, F), and a generator that decides what is drawn, and gives another one, never shorter
than SHORTEST frames, so that the encoder makes a position of it. What chooses and what is tested stays as it is.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from deepfusion.config import AugmentSettings
from deepfusion.networks.audio_encoder import SHORTEST

MASKS = 2  # of each kind: SpecAugment's policy LD


def paced(x: Tensor, generator: torch.Generator, *, by: float) -> Tensor:
    """Spoken faster or slower, by a factor of 1 - by to 1 + by, at the same pitch: the time axis is resampled."""
    factor = _uniform(1 - by, 1 + by, generator)
    frames = max(SHORTEST, round(len(x) / factor))
    return F.interpolate(x.T[None], size=frames, mode="linear", align_corners=False)[0].T


def cropped(x: Tensor, generator: torch.Generator, *, by: float) -> Tensor:
    """A run of frames at a random place, without a share of 0 to `by` of them: a shift against the encoder's grid."""
    frames = min(len(x), max(SHORTEST, round(len(x) * (1 - _uniform(0, by, generator)))))
    start = int(torch.randint(len(x) - frames + 1, (), generator=generator))
    return x[start : start + frames]


def noisy(x: Tensor, generator: torch.Generator, *, snr: tuple[float, float]) -> Tensor:
    """With white noise, so many dB below the clip's mean power.

    A bin of white noise is a complex normal number. Its phase is as likely as any other, so that of the sound, which a
    spectrogram does not keep, does not matter. No level falls below the lowest of the clip, its floor.
    """
    amplitude = 10 ** (x / 20)
    power = amplitude.square().mean() / 10 ** (_uniform(*snr, generator) / 10)
    real, imaginary = torch.randn(2, *x.shape, generator=generator) * (power / 2).sqrt()
    return (10 * ((amplitude + real).square() + imaginary.square()).log10()).maximum(x.min())


def time_masked(x: Tensor, generator: torch.Generator, *, by: float, mean: Tensor) -> Tensor:
    """SpecAugment (Park et al. 2019) in time: MASKS runs of frames, each of a share of 0 to `by`, say nothing.

    They get `mean`, the (F,) mean of the training clips: 0 when the model has normalised it.
    """
    return torch.where(_runs(len(x), by, generator)[:, None], mean, x)


def frequency_masked(x: Tensor, generator: torch.Generator, *, by: float, mean: Tensor) -> Tensor:
    """The same in frequency: MASKS runs of bins."""
    return torch.where(_runs(x.shape[1], by, generator), mean, x)


def varied(x: Tensor, generator: torch.Generator, *, settings: AugmentSettings, mean: Tensor) -> Tensor:
    """Everything that the settings switch on, in the order of the world: speech, recording, then the masks.

    Args:
        x: (T, F) spectrogram in dB; T = 0 stays as it is.
        generator: On the CPU; the same state, the same variation.
        settings: How much of each.
        mean: (F,) dB, mean of the training clips.

    Returns:
        (T', F) dB.
    """
    if len(x) == 0:
        return x
    if settings.speed:
        x = paced(x, generator, by=settings.speed)
    if settings.crop:
        x = cropped(x, generator, by=settings.crop)
    if settings.noise:
        x = noisy(x, generator, snr=settings.noise)
    if settings.time_mask:
        x = time_masked(x, generator, by=settings.time_mask, mean=mean)
    if settings.frequency_mask:
        x = frequency_masked(x, generator, by=settings.frequency_mask, mean=mean)
    return x


def _uniform(low: float, high: float, generator: torch.Generator) -> float:
    return low + (high - low) * torch.rand((), generator=generator).item()


def _runs(n: int, by: float, generator: torch.Generator) -> Tensor:
    """(n,) bool: True in MASKS random runs."""
    place, inside = torch.arange(n), torch.zeros(n, dtype=torch.bool)
    for _ in range(MASKS):
        width = int(torch.randint(int(by * n) + 1, (), generator=generator))
        start = int(torch.randint(n - width + 1, (), generator=generator))
        inside |= (place >= start) & (place < start + width)
    return inside
