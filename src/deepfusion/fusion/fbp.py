"""Factorized bilinear pooling (FBP), equations (10)-(12), with the steps that MFB (Yu et al. 2017) puts around it."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Root = Literal["smooth", "mfb"]
# Below epsilon the square root is about linear. `mfb` equals MFB's sign(z) sqrt(|z|) to float32's accuracy, with its
# steep slope at 0. `smooth` bounds the slope by 1: a steep slope amplifies rounding errors until two otherwise equal
# trainings predict differently (measured by benchmarks/fusion_scale.py).
EPSILONS: dict[Root, float] = {"smooth": 1.0, "mfb": 1e-8}


def signed_sqrt(z: Tensor, root: Root) -> Tensor:
    """Signed square root, z / sqrt(|z| + epsilon): a few large products must not dominate the feature."""
    return z / (z.abs() + EPSILONS[root]).sqrt()


def unit(z: Tensor, root: Root) -> Tensor:
    """Signed square root, then L2 normalisation: (B, o) -> (B, o)."""
    return F.normalize(signed_sqrt(z, root), dim=1)


def drop(x: Tensor, keep: Tensor | None) -> Tensor:
    """Dropout with a given mask (0 or 1 / (1 - p)); None: no dropout.

    The mask is an argument, so that dropout depends on the network's seed only, not on networks trained with it.
    """
    return x if keep is None else x * keep


class FBP(nn.Module):
    """z = SumPool(U~^T a o V~^T v, k), equation (12), then signed square root and L2 normalisation.

    Every output is a bilinear form z_i = a^T W_i v, equation (10), whose matrix has rank k at most:
    W_i = U_i V_i^T, equation (11). U~ and V~ are linear layers.

    Args:
        m: Length of the audio vector a.
        n: Length of the video vector v.
        k: Rank of each W_i, the window of the sum pooling.
        o: Number of outputs.
        root: The signed square root.
        bias: Add a constant to every factor. The products then contain the vectors themselves, too, as if a 1 had been
            appended to both (Zadeh et al., "Tensor Fusion Network", EMNLP 2017). The paper's have none.
    """

    def __init__(self, m: int, n: int, *, k: int, o: int, root: Root, bias: bool):
        super().__init__()
        self.U = nn.Linear(m, k * o, bias=bias)
        self.V = nn.Linear(n, k * o, bias=bias)
        self.k, self.o, self.root = k, o, root
        self.size, self.dropped = o, k * o

    def pool(self, a: Tensor, v: Tensor, keep: Tensor | None = None) -> Tensor:
        """Equation (12) alone: (B, m), (B, n) -> (B, o). Dropout is on the product, before the sum."""
        product = drop(self.U(a) * self.V(v), keep)  # (B, k o)
        return product.unflatten(1, (self.o, self.k)).sum(2)  # windows of k that do not overlap

    def forward(self, a: Tensor, v: Tensor, keep: Tensor | None = None) -> Tensor:
        """(B, m) audio vectors, (B, n) video vectors, (B, k o) dropout mask -> (B, o) fused vectors of length 1."""
        return unit(self.pool(a, v, keep), self.root)

    def bilinear(self) -> Tensor:
        """The full matrices of equation (10), W_i = U_i V_i^T: (o, m, n), without what biases add."""
        U = self.U.weight.unflatten(0, (self.o, self.k))  # (o, k, m)
        V = self.V.weight.unflatten(0, (self.o, self.k))  # (o, k, n)
        return torch.einsum("okm,okn->omn", U, V)
