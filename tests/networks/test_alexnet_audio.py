"""The audio encoder: shapes of the paper, and padding that changes nothing."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from deepfusion.networks.alexnet_audio import SHORTEST, AudioEncoder, LocalResponseNorm, output_length

CHANNELS = (6, 8, 10, 10, 7)


def alexnet_alone(encoder, spectrogram):
    """One (F, T) spectrogram through plain AlexNet layers, no batch, no masks: (C, F', T')."""
    c = encoder.convolutions

    def lrn(x):
        return F.local_response_norm(x, 5, alpha=1e-4, beta=0.75, k=1.0)

    x = spectrogram[None, None]
    x = F.max_pool2d(F.relu(lrn(F.conv2d(x, c[0].weight, c[0].bias, stride=4, padding=2))), 3, 2)
    x = F.max_pool2d(F.relu(lrn(F.conv2d(x, c[1].weight, c[1].bias, padding=2))), 3, 2)
    x = F.relu(F.conv2d(x, c[2].weight, c[2].bias, padding=1))
    x = F.relu(F.conv2d(x, c[3].weight, c[3].bias, padding=1))
    return F.max_pool2d(F.relu(F.conv2d(x, c[4].weight, c[4].bias, padding=1)), 3, 2)[0]


@pytest.mark.parametrize(("frames", "positions"), [(300, 8), (600, 17), (SHORTEST, 1)])
def test_positions_are_the_papers(frames, positions):
    """200 bins give F' = 5; 300 frames give T' = 8, 600 give 17."""
    encoder = AudioEncoder(CHANNELS)
    vectors, _ = encoder(torch.randn(1, 200, frames), torch.tensor([frames]))
    assert vectors.shape == (5 * positions, 7)
    assert output_length(torch.tensor(frames)) == positions


def test_channels_and_strides_are_alexnets():
    sizes = [(m.weight.shape, m.stride, m.padding) for m in AudioEncoder((96, 256, 384, 384, 256)).convolutions]
    assert sizes == [
        ((96, 1, 11, 11), (4, 4), (2, 2)),
        ((256, 96, 5, 5), (1, 1), (2, 2)),
        ((384, 256, 3, 3), (1, 1), (1, 1)),
        ((384, 384, 3, 3), (1, 1), (1, 1)),
        ((256, 384, 3, 3), (1, 1), (1, 1)),
    ]


def test_one_frame_less_than_the_shortest_leaves_nothing():
    assert output_length(torch.tensor(SHORTEST - 1)) < 1


def test_padding_changes_nothing():
    torch.manual_seed(0)
    encoder = AudioEncoder(CHANNELS).double()
    for convolution in encoder.convolutions:  # a bias is what would leak out of a padded end
        nn.init.normal_(convolution.bias)
    lengths = [SHORTEST, 131, 200, 333]
    clips = [torch.randn(200, length, dtype=torch.float64) for length in lengths]
    padded = torch.full((len(clips), 200, max(lengths)), 1e3, dtype=torch.float64)  # what stands behind the end
    for row, clip in zip(padded, clips, strict=True):
        row[:, : clip.shape[1]] = clip
    vectors, owner = encoder(padded, torch.tensor(lengths))
    for i, clip in enumerate(clips):
        alone = alexnet_alone(encoder, clip)  # (C, F', T')
        assert torch.allclose(vectors[owner == i], alone.flatten(1).T, atol=1e-12)


def test_the_gradient_ignores_the_padding():
    encoder = AudioEncoder(CHANNELS).double()
    padded = torch.randn(2, 200, 300, dtype=torch.float64, requires_grad=True)
    vectors, _ = encoder(padded, torch.tensor([150, 300]))
    vectors.square().sum().backward()
    assert padded.grad[0, :, 150:].abs().max() == 0
    assert padded.grad[0, :, :100].abs().max() > 0


@pytest.mark.parametrize("channels", [1, 4, 24])
def test_local_response_norm_is_torchs(channels):
    x = 100 * torch.randn(2, channels, 5, 7, dtype=torch.float64)  # large: the norm is far from 1
    expected = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0)(x)
    assert (expected / x).min() < 0.8
    assert torch.allclose(LocalResponseNorm(channels).double()(x), expected, rtol=1e-6)
