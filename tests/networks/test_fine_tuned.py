"""A fine-tuned network: colour is taken out, and its classifier reads its features."""

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from deepfusion.networks.fine_tuned import Tuned
from deepfusion.networks.models.compact_vgg import CompactVGG


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return Tuned(CompactVGG(), 4096).eval()


@pytest.fixture(scope="module")
def coloured():
    return torch.tensor(np.random.default_rng(0).integers(0, 256, (4, 3, 48, 48)), dtype=torch.float32)


def test_a_coloured_picture_and_its_grey_give_the_same_features(net, coloured):
    pictures = coloured.permute(0, 2, 3, 1).numpy()
    grey = torch.tensor(np.stack([cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in pictures]))[:, None]
    with torch.no_grad():
        colour, once, thrice = net(coloured), net.features(grey), net(grey.expand(-1, 3, -1, -1))
        mixed = net(coloured.flip(1))
    largest = once.abs().max()
    torch.testing.assert_close(colour, once, rtol=0, atol=float(1e-4 * largest))
    torch.testing.assert_close(thrice, once, rtol=0, atol=float(1e-4 * largest))
    assert (mixed - once).abs().max() > 1e-2 * largest  # red is not blue


def test_the_trunk_sees_three_equal_channels():
    class Seen(nn.Module):
        def forward(self, x):
            self.x = x
            return x.mean((2, 3))

    net = Tuned(Seen(), 3)
    grey = torch.rand(2, 1, 5, 6) * 255
    net.features(grey)
    assert net.trunk.x.shape == (2, 3, 5, 6)
    assert torch.equal(net.trunk.x, grey.expand(-1, 3, -1, -1))


def test_logits_are_the_classifiers_word_on_the_features(net, coloured):
    grey = coloured[:, :1]
    with torch.no_grad():
        features, logits = net.features(grey), net.logits(grey, dropout=0.9)
        torch.testing.assert_close(logits, net.classifier(features))
    assert logits.shape == (4, 7) and torch.isfinite(logits).all()


def test_dropout_in_training_alone():
    net = Tuned(nn.Sequential(nn.Flatten(), nn.Linear(12, 400)), 400)
    grey = torch.full((50, 1, 2, 2), 9.0)
    net.trunk[1].bias.data += 100  # no feature is 0 of itself
    seen = []
    net.classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        net.train().logits(grey, 0.3)
        net.logits(grey)
        net.eval().logits(grey, 0.3)
    zeros = [(x == 0).double().mean().item() for x in seen]
    assert zeros == pytest.approx([0.3, 0, 0], abs=0.02)
    torch.testing.assert_close(seen[0][seen[0] > 0].mean(), seen[2].mean() / 0.7, rtol=0.01, atol=0)


def test_luma_is_no_part_of_a_file(net):
    assert "luma" not in net.state_dict()


def test_compact_vgg(coloured):
    torch.manual_seed(0)
    net = CompactVGG().eval()
    convolutions = [module for module in net.modules() if isinstance(module, nn.Conv2d)]
    assert [conv.out_channels for conv in convolutions] == [32] * 2 + [64] * 2 + [128] * 3 + [256] * 3
    with torch.no_grad():
        features = net(coloured)
        again = net(coloured)
    assert features.shape == (4, 4096) and torch.equal(features, again)
    assert features.min() == 0 and 0.2 < (features > 0).double().mean() < 0.8
    # What fc6 reads is a map of 3 x 3: a change of one corner of the picture changes no more than its part.
    with torch.no_grad():
        pooled = net.features((coloured - 127.5) / 64)
    assert pooled.shape == (4, 256, 3, 3)
