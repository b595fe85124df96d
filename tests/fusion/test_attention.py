"""Equations (1)-(3) and (6)-(9) against loops written from them."""

import math

import pytest
import torch

from deepfusion.fusion.attention import AudioAttention, VideoAttention, scaled_softmax

LENGTHS = [4, 1, 0, 7]  # the third clip has no vector at all
CLIP = torch.repeat_interleave(torch.arange(len(LENGTHS)), torch.tensor(LENGTHS))


def softmax_by_loop(scores, lam):
    total = sum(math.exp(lam * e) for e in scores)
    return [math.exp(lam * e) / total for e in scores]


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
def test_scaled_softmax_is_equation_2(lam):
    e = torch.randn(len(CLIP), dtype=torch.float64)
    alpha = scaled_softmax(e, CLIP, len(LENGTHS), lam=lam)
    for clip in range(len(LENGTHS)):
        expected = softmax_by_loop(e[clip == CLIP].tolist(), lam)
        assert alpha[clip == CLIP].tolist() == pytest.approx(expected, abs=1e-12)


def test_lambda_0_is_the_mean_and_lambda_1_the_softmax():
    e = torch.randn(6, dtype=torch.float64)
    one_clip = torch.zeros(6, dtype=torch.int64)
    assert torch.allclose(scaled_softmax(e, one_clip, 1, lam=0.0), torch.full((6,), 1 / 6, dtype=torch.float64))
    assert torch.allclose(scaled_softmax(e, one_clip, 1, lam=1.0), e.softmax(0))


def test_large_scores_do_not_overflow():
    alpha = scaled_softmax(torch.tensor([1e4, 1e4 - 1]), torch.zeros(2, dtype=torch.int64), 1, lam=1.0)
    assert alpha.tolist() == pytest.approx([1 / (1 + math.exp(-1)), 1 / (1 + math.e)], rel=1e-5)


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
def test_audio_attention_is_equations_1_to_3(lam):
    attention = AudioAttention(5, lam=lam).double()
    a = torch.randn(len(CLIP), 5, dtype=torch.float64)
    pooled, alpha = attention(a, CLIP, len(LENGTHS))
    W, b, u = attention.W.weight, attention.W.bias, attention.u.weight[0]
    for clip in range(len(LENGTHS)):
        vectors = a[clip == CLIP]
        e = [float((u @ torch.tanh(W @ a_i + b)).detach()) for a_i in vectors]  # (1)
        weights = softmax_by_loop(e, lam)  # (2)
        expected = sum((w * a_i for w, a_i in zip(weights, vectors, strict=True)), torch.zeros(5))  # (3)
        assert torch.allclose(pooled[clip], expected.double(), atol=1e-12)
        assert alpha[clip == CLIP].tolist() == pytest.approx(weights, abs=1e-12)


@pytest.mark.parametrize("lam", [0.0, 0.3, 1.0])
def test_video_attention_is_equations_6_to_9(lam):
    attention = VideoAttention(8, 3, lam=lam).double()
    v = torch.randn(len(CLIP), 8, dtype=torch.float64)
    pooled, alpha = attention(attention.W(v), CLIP, len(LENGTHS))
    W, b, u = attention.W.weight, attention.W.bias, attention.u.weight[0]
    for clip in range(len(LENGTHS)):
        reduced = [W @ v_i + b for v_i in v[clip == CLIP]]  # (6)
        e = [float((u @ torch.tanh(v_i)).detach()) for v_i in reduced]  # (7)
        weights = softmax_by_loop(e, lam)  # (8)
        expected = sum((w * v_i for w, v_i in zip(weights, reduced, strict=True)), torch.zeros(3))  # (9)
        assert torch.allclose(pooled[clip], expected.double(), atol=1e-12)
        assert alpha[clip == CLIP].tolist() == pytest.approx(weights, abs=1e-12)


def test_lambda_0_learns_without_the_scores():
    attention = AudioAttention(4, lam=0.0)
    a = torch.randn(len(CLIP), 4)
    pooled, _ = attention(a, CLIP, len(LENGTHS))
    for clip in (0, 1, 3):
        assert torch.allclose(pooled[clip], a[clip == CLIP].mean(0), atol=1e-6)
