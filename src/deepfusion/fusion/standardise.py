"""Normalisation with the mean and standard deviation of the training clips, kept inside the model."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# A column that never changes among the training clips (a silent band, say) stays as it is instead of exploding.
SMALLEST_DEVIATION = 1e-6


class Standardise(nn.Module):
    """(x - mean) / standard deviation, column by column; the figures are set once, from training clips alone.

    Args:
        size: Number of columns.
    """

    def __init__(self, size: int):
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))

    def fit(self, parts: list[Tensor]) -> None:
        """Take the figures from the rows of all `parts`, each (L_i, size); without a row nothing is changed."""
        rows = sum(len(part) for part in parts)
        if rows == 0:
            return
        # Two passes in double precision, part by part: exact, and the rows are never copied together.
        mean = sum(part.double().sum(0) for part in parts) / rows
        variance = sum((part.double() - mean).square().sum(0) for part in parts) / rows
        deviation = variance.sqrt()
        self.mean.copy_(mean)
        self.deviation.copy_(torch.where(deviation > SMALLEST_DEVIATION, deviation, 1.0))

    def forward(self, x: Tensor) -> Tensor:
        """(..., size) -> (..., size)."""
        return (x - self.mean).div_(self.deviation)  # in place: a batch is large, and memory is what it costs

    def then(self, layer: nn.Linear, x: Tensor) -> Tensor:
        """`layer(self(x))`, up to rounding: (..., size) -> (..., outputs of the layer).

        The figures go into the layer's weights, which are few. A standardised copy of x, thousands of values a frame,
        would cost more than the layer.
        """
        weight = layer.weight / self.deviation
        return F.linear(x, weight, layer.bias - weight @ self.mean)
