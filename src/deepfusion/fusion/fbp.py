"""Factorized bilinear pooling (FBP), equations (10)-(12), with the steps that MFB (Yu et al. 2017) puts around it."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Where the square root turns into a straight line. It bounds the slope at zero: with a steep one a rounding grows from
# step to step, until two trainings that differ in nothing else judge differently (benchmarks/trainer.py measures how
# far heads trained together and one by one are apart).
EPSILON = 1.0


def signed_sqrt(z: Tensor) -> Tensor:
    """Signed square root: z / sqrt(|z| + EPSILON), so that a few large products do not rule the feature.

    For large |z| it is MFB's sign(z) sqrt(|z|); at zero it has neither jump nor steep slope, see `EPSILON`.
    """
    return z / (z.abs() + EPSILON).sqrt()


class FBP(nn.Module):
    """z = SumPool(U~^T a o V~^T v, k), equation (12), then signed square root and L2 normalisation.

    Every output is a bilinear form z_i = a^T W_i v, equation (10), whose matrix has rank k at most:
    W_i = U_i V_i^T, equation (11). U~ and V~ are linear layers without bias.

    Args:
        m: Length of the audio vector a.
        n: Length of the video vector v.
        k: Rank of each W_i, the window of the sum pooling.
        o: Number of outputs.
        dropout: Share of the product's elements that is dropped before the pooling while training.
    """

    def __init__(self, m: int, n: int, *, k: int, o: int, dropout: float):
        super().__init__()
        self.U = nn.Linear(m, k * o, bias=False)
        self.V = nn.Linear(n, k * o, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.k, self.o = k, o
        self.size = o

    def pool(self, a: Tensor, v: Tensor) -> Tensor:
        """Equation (12) alone: (B, m), (B, n) -> (B, o)."""
        product = self.dropout(self.U(a) * self.V(v))  # (B, k o)
        return product.unflatten(1, (self.o, self.k)).sum(2)  # windows of k that do not overlap

    def forward(self, a: Tensor, v: Tensor) -> Tensor:
        """(B, m) audio vectors, (B, n) video vectors -> (B, o) fused vectors of length 1."""
        return F.normalize(signed_sqrt(self.pool(a, v)), dim=1)

    def bilinear(self) -> Tensor:
        """The full matrices of equation (10), W_i = U_i V_i^T: (o, m, n)."""
        U = self.U.weight.unflatten(0, (self.o, self.k))  # (o, k, m)
        V = self.V.weight.unflatten(0, (self.o, self.k))  # (o, k, n)
        return torch.einsum("okm,okn->omn", U, V)
