"""Equations (10)-(12): FBP is the full bilinear form with W_i = U_i V_i^T."""

import torch

from deepfusion.fusion.fbp import EPSILON, FBP, signed_sqrt

M, N, K, O = 7, 5, 3, 4  # noqa: E741


def make():
    torch.manual_seed(0)
    fbp = FBP(M, N, k=K, o=O, dropout=0.5).double().eval().requires_grad_(False)
    return fbp, torch.randn(6, M, dtype=torch.float64), torch.randn(6, N, dtype=torch.float64)


def test_pooling_is_equation_11_by_loop():
    fbp, a, v = make()
    z = fbp.pool(a, v)
    for b in range(6):
        for i in range(O):
            U_i = fbp.U.weight[i * K : (i + 1) * K].T  # (m, k)
            V_i = fbp.V.weight[i * K : (i + 1) * K].T  # (n, k)
            expected = sum(float(U_i[:, d] @ a[b]) * float(V_i[:, d] @ v[b]) for d in range(K))
            assert abs(float(z[b, i]) - expected) < 1e-12


def test_pooling_is_the_full_bilinear_form():
    fbp, a, v = make()
    full = torch.stack([torch.stack([a[b] @ W @ v[b] for W in fbp.bilinear()]) for b in range(6)])  # (10)
    assert torch.allclose(fbp.pool(a, v), full, atol=1e-12)
    assert torch.linalg.matrix_rank(fbp.bilinear()).tolist() == [K] * O


def test_both_projections_are_without_bias():
    fbp, _, _ = make()
    assert fbp.U.bias is None
    assert fbp.V.bias is None


def test_forward_is_signed_root_then_unit_length():
    fbp, a, v = make()
    z = fbp.pool(a, v)
    root = z / (z.abs() + EPSILON).sqrt()
    assert torch.allclose(fbp(a, v), root / root.norm(dim=1, keepdim=True), atol=1e-12)
    assert torch.allclose(fbp(a, v).norm(dim=1), torch.ones(6, dtype=torch.float64))


def test_signed_sqrt_keeps_the_sign_and_a_finite_slope():
    z = torch.tensor([-4.0, 0.0, 9.0], requires_grad=True)
    root = signed_sqrt(z)
    root.sum().backward()
    exact = torch.tensor([-2.0, 0.0, 3.0])
    assert ((root - exact).abs() <= EPSILON / (2 * exact.abs())).all()  # the first term that EPSILON adds
    assert torch.equal(root.sign(), exact.sign())
    assert z.grad.isfinite().all()


def test_dropout_falls_on_the_product_before_the_pooling():
    fbp, a, v = make()
    fbp.train()
    torch.manual_seed(1)
    dropped = fbp.pool(a, v)
    torch.manual_seed(1)
    product = torch.nn.functional.dropout(fbp.U(a) * fbp.V(v), 0.5)
    assert torch.allclose(dropped, product.reshape(6, O, K).sum(2))
