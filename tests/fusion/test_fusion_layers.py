"""Each fusion layer against a loop from its equation; which of them can represent an interaction."""

import pytest
import torch

from deepfusion.config import NetworkShape
from deepfusion.fusion.fbp import EPSILONS
from deepfusion.fusion.fusion_layers import FUSION_LAYERS, SKETCH, AdaptiveFBP, CompactBilinear

M, N, B, K, O = 5, 4, 3, 3, 6  # noqa: E741
SHAPE = NetworkShape(k=K, o=O, bias=False)
ADDITIVE = {"concat", "sum"}


def made(name, shape=SHAPE):
    torch.manual_seed(0)
    layer = FUSION_LAYERS[name](M, N, shape).double().requires_grad_(False)
    return layer, torch.randn(B, M, dtype=torch.float64), torch.randn(B, N, dtype=torch.float64)


def unit(z, root="smooth"):
    """Signed square root, then length 1."""
    z = z / (z.abs() + EPSILONS[root]).sqrt()
    return z / z.norm()


@pytest.mark.parametrize("name", FUSION_LAYERS)
def test_shape_and_dropout(name):
    layer, a, v = made(name)
    assert layer(a, v).shape == (B, layer.size)
    assert torch.equal(layer.train()(a, v), layer.eval()(a, v))  # nothing is drawn inside
    ones = torch.ones(B, layer.dropped, dtype=torch.float64)
    assert torch.equal(layer(a, v, ones), layer(a, v))
    assert not layer(a, v, 0 * ones).any()
    one_off = ones.clone()
    one_off[0, 1] = 0
    changed = (layer(a, v, one_off) != layer(a, v)).any(1)
    assert changed.tolist() == [True, False, False] or name == "concat_mlp"  # there a unit may be 0 already


@pytest.mark.parametrize("name", FUSION_LAYERS)
def test_which_layers_are_additive(name):
    """Additive means f(a, v) - f(a', v) - f(a, v') + f(a', v') = 0: what audio adds does not depend on the video."""
    layer, _, _ = made(name)
    torch.manual_seed(1)
    classifier = torch.nn.Linear(layer.size, 2).double().requires_grad_(False)
    a, v = torch.randn(2, M, dtype=torch.float64), torch.randn(2, N, dtype=torch.float64)
    logits = classifier(layer(a.repeat_interleave(2, 0), v.repeat(2, 1)))  # (a0, v0), (a0, v1), (a1, v0), (a1, v1)
    mixed = (logits[0] - logits[1] - logits[2] + logits[3]).abs().max()
    assert (mixed < 1e-12) == (name in ADDITIVE)
    assert mixed < 1e-12 or mixed > 1e-4


@pytest.mark.parametrize("name", FUSION_LAYERS)
def test_both_modalities_reach_the_output(name):
    layer, a, v = made(name)
    assert not torch.allclose(layer(a, v), layer(a + 1, v))
    assert not torch.allclose(layer(a, v), layer(a, v + 1))


def test_concat():
    layer, a, v = made("concat")
    assert layer(a, v)[1].tolist() == [*a[1].tolist(), *v[1].tolist()]


def test_concat_mlp_is_one_hidden_layer():
    layer, a, v = made("concat_mlp")
    W, b = layer.hidden.weight, layer.hidden.bias
    for i in range(B):
        expected = [max(0.0, float(w @ torch.cat([a[i], v[i]]) + b_j)) for w, b_j in zip(W, b, strict=True)]
        assert layer(a, v)[i].tolist() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("name", "combine"), [("sum", lambda x, y: x + y), ("product", lambda x, y: x * y)])
def test_element_by_element(name, combine):
    layer, a, v = made(name)
    for b in range(B):
        for i in range(O):
            x = torch.tanh(layer.U.weight[i] @ a[b] + layer.U.bias[i])
            y = torch.tanh(layer.V.weight[i] @ v[b] + layer.V.bias[i])
            assert float(layer(a, v)[b, i]) == pytest.approx(float(combine(x, y)))


@pytest.mark.parametrize("root", ["smooth", "mfb"])
def test_bilinear_is_equation_10(root):
    layer, a, v = made("bilinear", SHAPE.model_copy(update={"root": root}))
    assert sum(p.numel() for p in layer.parameters()) == M * N * O
    for b in range(B):
        z = torch.stack([a[b] @ layer.W[i] @ v[b] for i in range(O)])
        torch.testing.assert_close(layer(a, v)[b], unit(z, root))


def test_fbp_is_bilinear_with_its_factorized_matrices():
    fbp, a, v = made("fbp")
    bilinear, _, _ = made("bilinear")
    bilinear.W.copy_(fbp.bilinear())
    torch.testing.assert_close(fbp(a, v), bilinear(a, v))


@pytest.mark.parametrize("bias", [True, False])
def test_the_switch_of_fbps_bias_reaches_it_and_leaves_adaptive_alone(bias):
    shape = SHAPE.model_copy(update={"bias": bias})
    assert (made("fbp", shape)[0].U.bias is not None) == bias
    assert made("adaptive", shape)[0].fbp.U.bias is not None


def test_compact_bilinear_is_the_sketch_of_the_outer_product():
    torch.manual_seed(0)
    layer = CompactBilinear(M, N, d=8, root="smooth").double()
    _, a, v = made("concat")
    assert not list(layer.parameters())
    places = [sketch.abs().argmax(1) for sketch in (layer.a_sketch, layer.v_sketch)]
    signs = [sketch.sum(1) for sketch in (layer.a_sketch, layer.v_sketch)]
    assert set(torch.cat(signs).tolist()) == {-1.0, 1.0}
    for b in range(B):
        z = torch.zeros(8, dtype=torch.float64)
        for i in range(M):
            for j in range(N):
                z[(places[0][i] + places[1][j]) % 8] += signs[0][i] * signs[1][j] * a[b, i] * v[b, j]
        torch.testing.assert_close(layer(a, v)[b], unit(z), atol=1e-12, rtol=1e-9)


def test_compact_bilinear_approximates_the_kernel_of_the_outer_product():
    """Over many sketches <s(a, v), s(a', v')> has the mean <a, a'> <v, v'>; its spread falls as 1 / sqrt(d)."""
    torch.manual_seed(0)
    a, v = torch.randn(2, 20, dtype=torch.float64), torch.randn(2, 10, dtype=torch.float64)
    exact = float((a[0] @ a[1]) * (v[0] @ v[1]))
    scale = float(a.norm(dim=1).prod() * v.norm(dim=1).prod())

    def inner(d):
        layer = CompactBilinear(20, 10, d=d, root="smooth").double()
        sketch = torch.fft.irfft(torch.fft.rfft(a @ layer.a_sketch) * torch.fft.rfft(v @ layer.v_sketch), d)
        return float(sketch[0] @ sketch[1])

    few, many = (torch.tensor([inner(d) for _ in range(200)]) for d in (64, SKETCH))
    assert abs(float(many.mean()) - exact) < 4 * float(many.std()) / 200**0.5
    assert float(many.std()) < 2 / SKETCH**0.5 * scale
    assert float(few.std() / many.std()) == pytest.approx((SKETCH / 64) ** 0.5, rel=0.35)


def test_adaptive_fbp_weighs_both_vectors_per_clip():
    layer, a, v = made("adaptive")
    assert isinstance(layer, AdaptiveFBP)
    for b in range(B):
        scores = layer.weight.weight @ torch.cat([a[b], v[b]]) + layer.weight.bias
        weight = 2 * scores.exp() / scores.exp().sum()
        torch.testing.assert_close(layer(a, v)[b], layer.fbp(weight[0] * a[b][None], weight[1] * v[b][None])[0])
    # The weights matter, which the unit length would undo without the bias of the factors.
    before = layer(a, v)
    layer.weight.bias += torch.tensor([2.0, 0.0])
    assert (layer(a, v) - before).abs().max() > 1e-3
