"""The paper's audio encoder: AlexNet without its fully connected layers, over a spectrogram of any length.

It is trained with the fusion network. The pre-trained one, which is used frozen, is in `audio_encoder.py`.
"""

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# (kernel, stride, padding) of the five convolutions, and whether LRN and a max-pool 3/2 follow (AlexNet's order).
LAYERS = (
    (11, 4, 2, True, True),
    (5, 1, 2, True, True),
    (3, 1, 1, False, False),
    (3, 1, 1, False, False),
    (3, 1, 1, False, True),
)
POOL, POOL_STRIDE = 3, 2


def length_after(length: Tensor, layer: tuple[int, int, int, bool, bool]) -> Tensor:
    """Positions along time that a layer, its pooling included, makes of `length` positions."""
    kernel, stride, padding, _, pool = layer
    length = (length + 2 * padding - kernel) // stride + 1
    return (length - POOL) // POOL_STRIDE + 1 if pool else length


def output_length(length: Tensor) -> Tensor:
    """Positions T' along time that come out of `length` spectrogram frames (300 -> 8, 600 -> 17)."""
    return reduce(length_after, LAYERS, length)


def centres(positions: int) -> Tensor:
    """Frame (along frequency: bin), counted from 0, in the middle of what each position sees: (positions,) float64.

    31, 63, 95, ...; a position sees 195 of them, those at the edges fewer.
    """
    middle, step = 0.0, 1  # of the first position, and from one to the next
    for kernel, stride, padding, _, pool in LAYERS:
        middle += step * ((kernel - 1) / 2 - padding)
        step *= stride
        if pool:
            middle += step * (POOL - 1) / 2
            step *= POOL_STRIDE
    return middle + step * torch.arange(positions, dtype=torch.float64)


# The fewest frames (0.66 s at a shift of 10 ms) that leave one position; shorter sound is filled up with silence.
SHORTEST = next(t for t in range(1, 1000) if output_length(torch.tensor(t)) == 1)


class LocalResponseNorm(nn.Module):
    """AlexNet's LRN: x / (1 + alpha / n * sum of x^2 over the n nearest channels)^beta, n 5, alpha 1e-4, beta 0.75.

    The same as `torch.nn.LocalResponseNorm(5)`, which is slow on a CPU (benchmarks/audio_encoder.py): its sum runs
    as a pooling in three dimensions, this one as a product with a band matrix.

    Args:
        channels: C.
    """

    def __init__(self, channels: int):
        super().__init__()
        channel = torch.arange(channels)
        near = (channel[:, None] - channel).abs() <= 2
        self.register_buffer("window", 1e-4 / 5 * near.float()[:, :, None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        root = (1 + F.conv2d(x.square(), self.window)).rsqrt()
        return x * root * root.sqrt()  # to the power of -0.75


class AudioEncoder(nn.Module):
    """Spectrograms of a batch -> one vector for every position in frequency and time.

    A batch is padded to its longest spectrogram, and the padding changes nothing: before each convolution whatever lies
    after a clip's own end is set to zero, which is what a convolution sees there when the clip comes alone. (The
    pooling windows do not reach beyond the end, because an incomplete window is left out.)

    Args:
        channels: Filters of the five convolutions; the paper group's are (96, 256, 384, 384, 256).
    """

    def __init__(self, channels: Sequence[int]):
        super().__init__()
        inputs = (1, *channels[:-1])
        self.convolutions = nn.ModuleList(
            nn.Conv2d(i, o, kernel, stride, padding)
            for i, o, (kernel, stride, padding, _, _) in zip(inputs, channels, LAYERS, strict=True)
        )
        self.norms = nn.ModuleList(
            LocalResponseNorm(o) if norm else nn.Identity()
            for o, (_, _, _, norm, _) in zip(channels, LAYERS, strict=True)
        )
        self.channels = channels[-1]
        for convolution in self.convolutions:  # He et al. 2015: keeps the signal alive through five ReLU layers
            nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
            nn.init.zeros_(convolution.bias)

    def forward(self, spectrogram: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Encode a batch.

        Args:
            spectrogram: (B, F, T) normalised spectrograms; what follows a clip's length is ignored.
            length: (B,) int64 frames of each clip, SHORTEST at least.

        Returns:
            (L, C) vectors a_i of all clips, clip after clip, frequency-major within a clip (F' x T'), and
            (L,) int64, the row of the batch that each vector belongs to.
        """
        x = spectrogram[:, None]  # (B, 1, F, T)
        for convolution, norm, layer in zip(self.convolutions, self.norms, LAYERS, strict=True):
            inside = torch.arange(x.shape[3], device=x.device) < length[:, None]  # (B, T)
            x = convolution(x.masked_fill(~inside[:, None, None], 0))
            x = F.relu(norm(x))
            if layer[-1]:
                x = F.max_pool2d(x, POOL, POOL_STRIDE)
            length = length_after(length, layer)
        inside = torch.arange(x.shape[3], device=x.device) < length[:, None]  # (B, T')
        grid = x.permute(0, 2, 3, 1)  # (B, F', T', C)
        keep = inside[:, None].expand(grid.shape[:3])
        return grid[keep], keep.nonzero()[:, 0]
