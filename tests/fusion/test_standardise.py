"""Standardised columns, and the same inside the layer that follows."""

import pytest
import torch
from torch import nn

from deepfusion.fusion.standardise import Standardise

ROWS = torch.tensor([[1.0, -4.0, 7.0], [3.0, -4.0, 1.0], [5.0, -4.0, 1.0]])


@pytest.fixture
def fitted():
    standardise = Standardise(3)
    standardise.fit([ROWS[:1], ROWS[1:]])
    return standardise


def test_columns_have_mean_0_and_deviation_1_but_constant_ones_deviation_0(fitted):
    x = fitted(ROWS)
    torch.testing.assert_close(x.mean(0), torch.zeros(3))
    torch.testing.assert_close(x.std(0, correction=0), torch.tensor([1.0, 0.0, 1.0]))


def test_without_rows_nothing_is_changed():
    standardise = Standardise(3)
    standardise.fit([])
    assert torch.equal(standardise(ROWS), ROWS)


def test_standardised_inside_the_layer_is_the_layer_after_it(fitted):
    layer, x = nn.Linear(3, 4), 5 * torch.randn(2, 6, 3)
    after, inside = layer(fitted(x)), fitted.then(layer, x)
    torch.testing.assert_close(inside, after, atol=1e-5, rtol=1e-5)
    grads = [torch.autograd.grad(y.square().sum(), layer.parameters()) for y in (after, inside)]
    for a, b in zip(*grads, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-4)
