"""Equations (1)-(3) and (6)-(9) against loops written from them."""

import math

import pytest
import torch

from deepfusion.fusion.attention import (
    EPSILON,
    AudioAttention,
    VideoAttention,
    scaled_softmax,
    statistics,
    weighted_sum,
)

LENGTHS = [4, 1, 7]
INSIDE = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]  # (B, T)


def softmax_by_loop(scores, lam):
    total = sum(math.exp(lam * e) for e in scores)
    return [math.exp(lam * e) / total for e in scores]


def padded(width, filler, seed=0):
    """(B, T, width) vectors; what is outside the clips is `filler`."""
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(*INSIDE.shape, width, dtype=torch.float64, generator=generator)
    return torch.where(INSIDE[..., None], vectors, filler)


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("filler", [0.0, 1e3])
def test_audio_attention_is_equations_1_to_3(lam, filler):
    torch.manual_seed(0)
    attention = AudioAttention(5, lam=lam).double().requires_grad_(False)
    a = padded(5, filler)
    alpha = scaled_softmax(attention.score(attention.reduce(a)), INSIDE, attention.lam)
    pooled = weighted_sum(alpha, a)
    W, b, u = attention.W.weight, attention.W.bias, attention.u.weight[0]
    for clip, length in enumerate(LENGTHS):
        vectors = a[clip, :length]
        e = [float(u @ torch.tanh(W @ a_i + b)) for a_i in vectors]  # (1)
        weights = softmax_by_loop(e, lam)  # (2)
        expected = sum(w * a_i for w, a_i in zip(weights, vectors, strict=True))  # (3)
        assert torch.allclose(pooled[clip], expected, atol=1e-12)
        assert alpha[clip, :length].tolist() == pytest.approx(weights, abs=1e-12)
        assert not alpha[clip, length:].any()


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("filler", [0.0, 1e3])
def test_video_attention_is_equations_6_to_9(lam, filler):
    torch.manual_seed(0)
    attention = VideoAttention(8, 3, lam=lam).double().requires_grad_(False)
    v = padded(8, filler)
    reduced = attention.reduce(v)
    alpha = scaled_softmax(attention.score(reduced), INSIDE, attention.lam)
    pooled = weighted_sum(alpha, reduced)
    W, b, u = attention.W.weight, attention.W.bias, attention.u.weight[0]
    for clip, length in enumerate(LENGTHS):
        vectors = [W @ v_i + b for v_i in v[clip, :length]]  # (6)
        e = [float(u @ torch.tanh(v_i)) for v_i in vectors]  # (7)
        weights = softmax_by_loop(e, lam)  # (8)
        expected = sum(w * v_i for w, v_i in zip(weights, vectors, strict=True))  # (9)
        assert torch.allclose(pooled[clip], expected, atol=1e-12)
        assert alpha[clip, :length].tolist() == pytest.approx(weights, abs=1e-12)


def test_the_scores_have_no_bias_but_that_of_the_equations():
    for attention in (AudioAttention(5, lam=1.0), VideoAttention(8, 3, lam=1.0)):
        assert {name for name, _ in attention.named_parameters()} == {"W.weight", "W.bias", "u.weight"}


def test_lambda_0_is_the_mean_and_lambda_1_the_softmax():
    e = torch.randn(INSIDE.shape, dtype=torch.float64)
    mean, softmax = (scaled_softmax(e, INSIDE, lam) for lam in (0.0, 1.0))
    for clip, length in enumerate(LENGTHS):
        assert torch.allclose(mean[clip, :length], torch.full((length,), 1 / length, dtype=torch.float64))
        assert torch.allclose(softmax[clip, :length], e[clip, :length].softmax(0))


def test_large_scores_do_not_overflow():
    alpha = scaled_softmax(torch.tensor([[1e4, 1e4 - 1]]), torch.ones(1, 2, dtype=torch.bool), 1.0)
    assert alpha[0].tolist() == pytest.approx([1 / (1 + math.exp(-1)), 1 / (1 + math.e)], rel=1e-5)


def test_a_learned_lambda_gets_the_gradient_of_equation_2():
    e = torch.randn(INSIDE.shape, dtype=torch.float64)
    target = torch.randn(INSIDE.shape, dtype=torch.float64)

    def loss(lam):
        return (scaled_softmax(e, INSIDE, lam) * target).sum()

    lam = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    loss(lam).backward()
    assert float(lam.grad) == pytest.approx(float(loss(0.3 + 1e-6) - loss(0.3 - 1e-6)) / 2e-6, rel=1e-6)


def test_attended_statistics_by_loop():
    alpha = scaled_softmax(padded(1, 0.0)[..., 0], INSIDE, 1.0)
    x = padded(3, 1e3, seed=1)
    found = statistics(alpha, x)
    for clip, length in enumerate(LENGTHS):
        for c in range(3):
            weights, values = alpha[clip, :length].tolist(), x[clip, :length, c].tolist()
            mean = sum(w * value for w, value in zip(weights, values, strict=True))
            variance = sum(w * (value - mean) ** 2 for w, value in zip(weights, values, strict=True))
            assert found[clip].tolist()[c::3] == pytest.approx([mean, math.sqrt(variance + EPSILON)], abs=1e-9)


def test_one_vector_alone_has_a_finite_slope():
    """Its deviation is 0, where the root is steepest."""
    x = torch.ones(1, 1, 2, requires_grad=True)
    statistics(torch.ones(1, 1), x).sum().backward()
    assert x.grad.isfinite().all()
