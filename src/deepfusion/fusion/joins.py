"""Ways to join the attended vectors of sound and faces, (B, m) and (B, n), into one vector (B, size).

FBP, the paper's, stands in `fbp.py`. The linear ways are what the paper says FBP is better than, the bilinear ones what
it approximates.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deepfusion.fusion.fbp import FBP, signed_sqrt


class Concat(nn.Module):
    """Concatenation: the classifier behind it adds a score from sound and one from faces."""

    def __init__(self, m: int, n: int, *, dropout: float):
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.size = m + n

    def forward(self, a: Tensor, v: Tensor) -> Tensor:
        """Join."""
        return self.dropout(torch.cat([a, v], dim=1))


class _Projected(nn.Module):
    """Both vectors at one length, which element-wise joins need."""

    def __init__(self, m: int, n: int, *, o: int, dropout: float):
        super().__init__()
        self.U, self.V = nn.Linear(m, o), nn.Linear(n, o)
        self.dropout = nn.Dropout(dropout)
        self.size = o


class Sum(_Projected):
    """Element-wise sum, behind tanh on either side.

    Without the tanh it would be one linear layer behind another.
    """

    def forward(self, a: Tensor, v: Tensor) -> Tensor:
        """Join."""
        return self.dropout(torch.tanh(self.U(a)) + torch.tanh(self.V(v)))


class Product(_Projected):
    """Element-wise product, behind tanh on either side.

    Source: MLB, Kim et al., "Hadamard Product for Low-rank Bilinear Pooling", ICLR 2017, equation (8).
    """

    def forward(self, a: Tensor, v: Tensor) -> Tensor:
        """Join."""
        return self.dropout(torch.tanh(self.U(a)) * torch.tanh(self.V(v)))


class Bilinear(nn.Module):
    """Full bilinear pooling, equation (10): z_i = a^T W_i v; m n o parameters.

    Signed square root and unit length follow as behind FBP, so that the two differ in the factorization alone.
    """

    def __init__(self, m: int, n: int, *, o: int, dropout: float):
        super().__init__()
        self.W = nn.Parameter(torch.empty(o, m, n).uniform_(-1, 1) / m**0.5)  # as nn.Bilinear draws it
        self.dropout = nn.Dropout(dropout)
        self.size = o

    def pool(self, a: Tensor, v: Tensor) -> Tensor:
        """Equation (10) alone; two matrix products, because nn.Bilinear cannot be stacked by `torch.func`."""
        return torch.einsum("boi,bi->bo", torch.einsum("bm,omn->bon", a, self.W), v)

    def forward(self, a: Tensor, v: Tensor) -> Tensor:
        """Join."""
        return F.normalize(signed_sqrt(self.dropout(self.pool(a, v))), dim=1)


class CompactBilinear(nn.Module):
    """Compact bilinear pooling: the count sketch of the outer product, which is never formed.

    Sketches of a and v are convolved with one another by way of their Fourier transforms. Source: Fukui et al.,
    "Multimodal Compact Bilinear Pooling for Visual Question Answering and Visual Grounding", EMNLP 2016, algorithm 1.
    """

    def __init__(self, m: int, n: int, *, d: int, dropout: float):
        super().__init__()
        # Drawn once and never trained; as matrices, for m and n are small: one 1 or -1 a column.
        self.register_buffer("a_sketch", _sketch(m, d))
        self.register_buffer("v_sketch", _sketch(n, d))
        self.dropout = nn.Dropout(dropout)
        self.size = d

    def forward(self, a: Tensor, v: Tensor) -> Tensor:
        """Join."""
        spectrum = torch.fft.rfft(a @ self.a_sketch) * torch.fft.rfft(v @ self.v_sketch)
        return F.normalize(signed_sqrt(self.dropout(torch.fft.irfft(spectrum, self.size))), dim=1)


def _sketch(size: int, d: int) -> Tensor:
    """(size, d): every input goes to one of d places with a sign, both at random."""
    sketch = torch.zeros(size, d)
    sketch[torch.arange(size), torch.randint(d, (size,))] = torch.randint(2, (size,)) * 2.0 - 1
    return sketch


class AdaptiveFBP(nn.Module):
    """FBP of two modalities that are weighted for each clip, by weights that come from both attended vectors.

    After the adaptive strategy of Zhou et al., "Information Fusion in Attention Networks Using Adaptive and Multi-level
    Factorized Bilinear Pooling for Audio-visual Emotion Recognition", 2021; the form is ours. FBP's unit length takes
    any factor of a product away, so each vector gets a 1 beside it: the products then hold the vectors themselves, too,
    and the weights say how much of each, and of their interaction, there is.
    """

    def __init__(self, m: int, n: int, *, k: int, o: int, dropout: float):
        super().__init__()
        self.weight = nn.Linear(m + n, 2)
        self.fbp = FBP(m + 1, n + 1, k=k, o=o, dropout=dropout)
        self.size = o

    def forward(self, a: Tensor, v: Tensor) -> Tensor:
        """Join."""
        weight = 2 * self.weight(torch.cat([a, v], dim=1)).softmax(1)  # 1 for either at first, about
        one = torch.ones_like(a[:, :1])
        return self.fbp(torch.cat([weight[:, :1] * a, one], 1), torch.cat([weight[:, 1:] * v, one], 1))
