"""Each join against a loop from its equation."""

import pytest
import torch

from deepfusion.fusion.fbp import EPSILON
from deepfusion.fusion.joins import AdaptiveFBP, Bilinear, CompactBilinear, Concat, Product, Sum

M, N, B = 5, 4, 3
MAKE = {
    "concat": lambda: Concat(M, N, dropout=0.5),
    "sum": lambda: Sum(M, N, o=6, dropout=0.5),
    "product": lambda: Product(M, N, o=6, dropout=0.5),
    "bilinear": lambda: Bilinear(M, N, o=6, dropout=0.5),
    "compact": lambda: CompactBilinear(M, N, d=8, dropout=0.5),
    "adaptive": lambda: AdaptiveFBP(M, N, k=3, o=6, dropout=0.5),
}


def made(name):
    torch.manual_seed(0)
    join = MAKE[name]().double().eval().requires_grad_(False)
    return join, torch.randn(B, M, dtype=torch.float64), torch.randn(B, N, dtype=torch.float64)


def unit(z):
    """Signed square root, then length 1."""
    z = z / (z.abs() + EPSILON).sqrt()
    return z / z.norm()


@pytest.mark.parametrize("name", MAKE)
def test_shape_and_dropout(name):
    join, a, v = made(name)
    assert join(a, v).shape == (B, join.size)
    torch.testing.assert_close(join(a, v), join(a, v), rtol=0, atol=0)
    join.train()
    assert not torch.equal(join(a, v), join(a, v))


def test_concat():
    join, a, v = made("concat")
    assert join(a, v)[1].tolist() == [*a[1].tolist(), *v[1].tolist()]


@pytest.mark.parametrize(("name", "join_two"), [("sum", lambda x, y: x + y), ("product", lambda x, y: x * y)])
def test_element_by_element(name, join_two):
    join, a, v = made(name)
    for b in range(B):
        for i in range(6):
            x = torch.tanh(join.U.weight[i] @ a[b] + join.U.bias[i])
            y = torch.tanh(join.V.weight[i] @ v[b] + join.V.bias[i])
            assert float(join(a, v)[b, i]) == pytest.approx(float(join_two(x, y)))


def test_bilinear_is_equation_10():
    join, a, v = made("bilinear")
    assert sum(p.numel() for p in join.parameters()) == M * N * 6
    for b in range(B):
        z = torch.stack([a[b] @ join.W[i] @ v[b] for i in range(6)])
        torch.testing.assert_close(join(a, v)[b], unit(z))


def test_compact_bilinear_is_the_sketch_of_the_outer_product():
    join, a, v = made("compact")
    assert not list(join.parameters())
    places = [sketch.abs().argmax(1) for sketch in (join.a_sketch, join.v_sketch)]
    signs = [sketch.sum(1) for sketch in (join.a_sketch, join.v_sketch)]
    assert set(torch.cat(signs).tolist()) == {-1.0, 1.0}
    for b in range(B):
        z = torch.zeros(8, dtype=torch.float64)
        for i in range(M):
            for j in range(N):
                z[(places[0][i] + places[1][j]) % 8] += signs[0][i] * signs[1][j] * a[b, i] * v[b, j]
        torch.testing.assert_close(join(a, v)[b], unit(z), atol=1e-6, rtol=1e-6)


def test_adaptive_fbp_of_weighted_vectors_with_a_one_beside_them():
    join, a, v = made("adaptive")
    for b in range(B):
        scores = join.weight.weight @ torch.cat([a[b], v[b]]) + join.weight.bias
        weight = 2 * scores.exp() / scores.exp().sum()
        x = torch.cat([weight[0] * a[b], torch.ones(1, dtype=torch.float64)])
        y = torch.cat([weight[1] * v[b], torch.ones(1, dtype=torch.float64)])
        torch.testing.assert_close(join(a, v)[b], join.fbp(x[None], y[None])[0])
    # The weights matter, which plain FBP's unit length would undo.
    before = join(a, v)
    join.weight.bias += torch.tensor([2.0, 0.0])
    assert (join(a, v) - before).abs().max() > 1e-3
