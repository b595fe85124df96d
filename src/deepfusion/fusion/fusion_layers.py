"""Layers that fuse the attended vectors of audio and video, (B, m) and (B, n), into one vector (B, size).

FBP, the paper's, is in `fbp.py`. Concatenation and sum followed by a linear classifier are additive: they cannot model
interactions of voice and face. A hidden layer, a product and the bilinear layers can.

A layer has `size`, the length of its output, and `dropped`, the number of values that its dropout mask covers.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from deepfusion.config import NetworkShape
from deepfusion.fusion.fbp import FBP, Root, drop, unit

# Length of the count sketch: far more than `o`, as the method needs (compact means: shorter than m n).
SKETCH = 1024
HIDDEN = 256  # units of `ConcatMLP`


class Concat(nn.Module):
    """Concatenation: the linear classifier that follows adds a score of audio and one of video."""

    def __init__(self, m: int, n: int):
        super().__init__()
        self.size = self.dropped = m + n

    def forward(self, a: Tensor, v: Tensor, keep: Tensor | None = None) -> Tensor:
        """Fuse."""
        return drop(torch.cat([a, v], dim=1), keep)


class ConcatMLP(nn.Module):
    """One hidden layer with ReLU on the concatenated vectors: the simplest layer that is not additive."""

    def __init__(self, m: int, n: int):
        super().__init__()
        self.hidden = nn.Linear(m + n, HIDDEN)
        self.size = self.dropped = HIDDEN

    def forward(self, a: Tensor, v: Tensor, keep: Tensor | None = None) -> Tensor:
        """Fuse."""
        return drop(torch.relu(self.hidden(torch.cat([a, v], dim=1))), keep)


class _Projected(nn.Module):
    """Both vectors projected to one length, which element-wise fusion needs."""

    def __init__(self, m: int, n: int, *, o: int):
        super().__init__()
        self.U, self.V = nn.Linear(m, o), nn.Linear(n, o)
        self.size = self.dropped = o


class Sum(_Projected):
    """Element-wise sum, after tanh of both; without it this would be two successive linear layers."""

    def forward(self, a: Tensor, v: Tensor, keep: Tensor | None = None) -> Tensor:
        """Fuse."""
        return drop(torch.tanh(self.U(a)) + torch.tanh(self.V(v)), keep)


class Product(_Projected):
    """Element-wise product, after tanh of both.

    Source: MLB, Kim et al., "Hadamard Product for Low-rank Bilinear Pooling", ICLR 2017, equation (8).
    """

    def forward(self, a: Tensor, v: Tensor, keep: Tensor | None = None) -> Tensor:
        """Fuse."""
        return drop(torch.tanh(self.U(a)) * torch.tanh(self.V(v)), keep)


class Bilinear(nn.Module):
    """Full bilinear pooling, equation (10): z_i = a^T W_i v; m n o parameters.

    Signed square root and unit length follow as in FBP, so that the two differ in the factorization alone.
    """

    def __init__(self, m: int, n: int, *, o: int, root: Root):
        super().__init__()
        self.W = nn.Parameter(torch.empty(o, m, n).uniform_(-1, 1) / m**0.5)  # as nn.Bilinear draws it
        self.root = root
        self.size = self.dropped = o

    def pool(self, a: Tensor, v: Tensor) -> Tensor:
        """Equation (10) alone; two matrix products, because nn.Bilinear cannot be stacked by `torch.func`."""
        return torch.einsum("boi,bi->bo", torch.einsum("bm,omn->bon", a, self.W), v)

    def forward(self, a: Tensor, v: Tensor, keep: Tensor | None = None) -> Tensor:
        """Fuse."""
        return unit(drop(self.pool(a, v), keep), self.root)


class CompactBilinear(nn.Module):
    """Compact bilinear pooling: the count sketch of the outer product, which is never formed.

    The sketches of a and v are convolved through their Fourier transforms. Source: Fukui et al., "Multimodal Compact
    Bilinear Pooling for Visual Question Answering and Visual Grounding", EMNLP 2016, algorithm 1.
    """

    def __init__(self, m: int, n: int, *, d: int, root: Root):
        super().__init__()
        # Drawn once and never trained; as matrices, because m and n are small: one 1 or -1 per row.
        self.register_buffer("a_sketch", _sketch(m, d))
        self.register_buffer("v_sketch", _sketch(n, d))
        self.root = root
        self.size = self.dropped = d

    def forward(self, a: Tensor, v: Tensor, keep: Tensor | None = None) -> Tensor:
        """Fuse."""
        spectrum = torch.fft.rfft(a @ self.a_sketch) * torch.fft.rfft(v @ self.v_sketch)
        return unit(drop(torch.fft.irfft(spectrum, self.size), keep), self.root)


def _sketch(size: int, d: int) -> Tensor:
    """(size, d): every input goes to one of d places with a sign, both at random."""
    sketch = torch.zeros(size, d)
    sketch[torch.arange(size), torch.randint(d, (size,))] = torch.randint(2, (size,)) * 2.0 - 1
    return sketch


class AdaptiveFBP(nn.Module):
    """FBP of two modalities that are weighted per clip, by weights computed from both attended vectors.

    After the adaptive strategy of Zhou et al., "Information Fusion in Attention Networks Using Adaptive and Multi-level
    Factorized Bilinear Pooling for Audio-visual Emotion Recognition", 2021; the form is ours. FBP's unit length removes
    any common factor of a product, so its factors have a bias: the products then also contain the vectors themselves,
    and the weights balance these and their interaction.
    """

    def __init__(self, m: int, n: int, *, k: int, o: int, root: Root):
        super().__init__()
        self.weight = nn.Linear(m + n, 2)
        self.fbp = FBP(m, n, k=k, o=o, root=root, bias=True)
        self.size, self.dropped = o, self.fbp.dropped

    def forward(self, a: Tensor, v: Tensor, keep: Tensor | None = None) -> Tensor:
        """Fuse."""
        weight = 2 * self.weight(torch.cat([a, v], dim=1)).softmax(1)  # about 1 for both at first
        return self.fbp(weight[:, :1] * a, weight[:, 1:] * v, keep)


FUSION_LAYERS: dict[str, Callable[[int, int, NetworkShape], nn.Module]] = {
    "concat": lambda m, n, s: Concat(m, n),
    "concat_mlp": lambda m, n, s: ConcatMLP(m, n),
    "sum": lambda m, n, s: Sum(m, n, o=s.o),
    "product": lambda m, n, s: Product(m, n, o=s.o),
    "bilinear": lambda m, n, s: Bilinear(m, n, o=s.o, root=s.root),
    "compact": lambda m, n, s: CompactBilinear(m, n, d=SKETCH, root=s.root),
    "fbp": lambda m, n, s: FBP(m, n, k=s.k, o=s.o, root=s.root, bias=s.bias),
    "adaptive": lambda m, n, s: AdaptiveFBP(m, n, k=s.k, o=s.o, root=s.root),
}
