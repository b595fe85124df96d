"""Equations (10)-(12): FBP is the full bilinear form with W_i = U_i V_i^T."""

import pytest
import torch

from deepfusion.fusion.fbp import EPSILONS, FBP, drop, signed_sqrt, unit

M, N, K, O, B = 7, 5, 3, 4, 6  # noqa: E741


def make(root="smooth", *, bias=False):
    torch.manual_seed(0)
    fbp = FBP(M, N, k=K, o=O, root=root, bias=bias).double().requires_grad_(False)
    return fbp, torch.randn(B, M, dtype=torch.float64), torch.randn(B, N, dtype=torch.float64)


def test_pooling_is_equation_11_by_loop():
    fbp, a, v = make()
    z = fbp.pool(a, v)
    for b in range(B):
        for i in range(O):
            U_i = fbp.U.weight[i * K : (i + 1) * K].T  # (m, k)
            V_i = fbp.V.weight[i * K : (i + 1) * K].T  # (n, k)
            expected = sum(float(U_i[:, d] @ a[b]) * float(V_i[:, d] @ v[b]) for d in range(K))
            assert abs(float(z[b, i]) - expected) < 1e-12


def test_pooling_is_the_full_bilinear_form():
    fbp, a, v = make()
    full = torch.stack([torch.stack([a[b] @ W @ v[b] for W in fbp.bilinear()]) for b in range(B)])  # (10)
    assert torch.allclose(fbp.pool(a, v), full, atol=1e-12)
    assert torch.linalg.matrix_rank(fbp.bilinear()).tolist() == [K] * O


def test_the_papers_projections_are_without_bias():
    fbp, _, _ = make()
    assert {name for name, _ in fbp.named_parameters()} == {"U.weight", "V.weight"}


def test_a_bias_is_a_1_appended_to_both_vectors():
    """The bilinear form of [a; 1] and [v; 1], whose matrices have rank k, too."""
    fbp, a, v = make(bias=True)
    longer = FBP(M + 1, N + 1, k=K, o=O, root="smooth", bias=False).double().requires_grad_(False)
    for layer, own in ((longer.U, fbp.U), (longer.V, fbp.V)):
        layer.weight.copy_(torch.cat([own.weight, own.bias[:, None]], 1))
    one = torch.ones(B, 1, dtype=torch.float64)
    a1, v1 = torch.cat([a, one], 1), torch.cat([v, one], 1)
    full = torch.einsum("bm,omn,bn->bo", a1, longer.bilinear(), v1)
    assert torch.allclose(fbp.pool(a, v), full, atol=1e-12)
    assert torch.allclose(fbp(a, v), longer(a1, v1), atol=1e-12)
    assert torch.linalg.matrix_rank(longer.bilinear()).tolist() == [K] * O
    assert not torch.allclose(fbp.pool(a, v), torch.einsum("bm,omn,bn->bo", a, fbp.bilinear(), v), atol=1e-3)


@pytest.mark.parametrize("root", ["smooth", "mfb"])
def test_forward_is_signed_root_then_unit_length(root):
    fbp, a, v = make(root)
    for b, found in enumerate(fbp(a, v)):
        z = fbp.pool(a, v)[b]
        z = torch.stack([z_i / (abs(z_i) + EPSILONS[root]) ** 0.5 for z_i in z])
        assert torch.allclose(found, z / (z * z).sum() ** 0.5, atol=1e-12)


def test_root_mfb_is_the_signed_square_root():
    z = torch.tensor([-4.0, -1e-3, 0.0, 0.25, 9.0], dtype=torch.float64)
    exact = z.sign() * z.abs().sqrt()
    assert torch.allclose(signed_sqrt(z, "mfb"), exact, atol=1e-6)
    assert (signed_sqrt(z, "smooth") - exact).abs().max() > 0.1
    assert torch.equal(signed_sqrt(z, "smooth").sign(), exact.sign())


@pytest.mark.parametrize(("root", "steepest"), [("smooth", 1.0), ("mfb", 1e4)])
def test_the_slope_is_steepest_at_0_and_finite(root, steepest):
    z = torch.linspace(-3, 3, 301, dtype=torch.float64, requires_grad=True)
    signed_sqrt(z, root).sum().backward()
    assert float(z.grad.max()) == pytest.approx(steepest)
    assert z.grad.argmax() == 150


def test_zero_stays_zero_with_a_finite_gradient():
    """Vectors of zeros, which a clip without audio has, must not give NaN."""
    z = torch.zeros(1, 4, requires_grad=True)
    unit(z, "smooth").sum().backward()
    assert not unit(z, "smooth").any() and z.grad.isfinite().all()


def test_the_mask_of_dropout_is_on_the_product_before_the_sum():
    fbp, a, v = make()
    keep = torch.zeros(B, K * O, dtype=torch.float64)
    keep[:, 1 * K + 2] = 2.0  # of output 1, the last of its k products alone, for p = 0.5
    z = fbp.pool(a, v, keep)
    row = K + 2
    assert torch.allclose(z[:, 1], 2 * (a @ fbp.U.weight[row]) * (v @ fbp.V.weight[row]))
    assert not z[:, [0, 2, 3]].any()
    assert fbp.dropped == K * O
    assert torch.equal(fbp.pool(a, v, torch.ones(B, K * O)), fbp.pool(a, v))


def test_no_mask_drops_nothing():
    x = torch.randn(2, 3)
    assert drop(x, None) is x
