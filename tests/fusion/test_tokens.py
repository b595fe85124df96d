"""Normalisation and reduction of a fold's tokens: what they are fitted on, and what stands in for what is missing."""

import numpy as np
import pytest
import torch
from threadpoolctl import threadpool_limits

from deepfusion.fusion.tokens import joined, normalise, principal

SPEAKERS = ["a", "a", "b", "b", "c"]
TRAIN = [0, 1, 2, 3]


@pytest.fixture
def clips():
    rng = np.random.default_rng(0)
    return [rng.normal(i, 1 + i, (5 + i, 6)).astype(np.float32) for i in range(5)]


def test_training_clips_alone_decide_the_normalisation(clips):
    done = normalise(clips, SPEAKERS, TRAIN, by="training")
    train = np.concatenate([done[i] for i in TRAIN])
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(train.std(0), 1, atol=1e-5)
    changed = normalise([*clips[:4], clips[4] + 100], SPEAKERS, TRAIN, by="training")
    for before, after in zip(done[:4], changed[:4], strict=True):
        np.testing.assert_array_equal(before, after)


def test_each_speaker_is_normalised_by_their_own_clips(clips):
    done = normalise(clips, SPEAKERS, TRAIN, by="speaker")
    for own in ([0, 1], [2, 3], [4]):
        rows = np.concatenate([done[i] for i in own])
        np.testing.assert_allclose(rows.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(rows.std(0), 1, atol=1e-5)


def test_a_speaker_without_any_vector_stays_empty(clips):
    done = normalise([*clips[:4], clips[4][:0]], SPEAKERS, TRAIN, by="speaker")
    assert done[4].shape == (0, 6)


def test_a_constant_value_does_not_blow_up(clips):
    for clip in clips:
        clip[:, 0] = 3
    for by in ("training", "speaker"):
        for clip in normalise(clips, SPEAKERS, TRAIN, by=by):
            np.testing.assert_array_equal(clip[:, 0], 0)


def test_axes_are_those_of_the_training_clips(clips):
    done = principal(clips, TRAIN, size=3)
    train = np.concatenate([clips[i] for i in TRAIN]).astype(np.float64)
    centred = train - train.mean(0)
    _, s, axes = np.linalg.svd(centred, full_matrices=False)
    scale = np.sqrt((s[:3] ** 2 / (len(train) - 1)).mean())
    for clip, found in zip(clips, done, strict=True):
        want = (clip - train.mean(0)) @ axes[:3].T / scale
        np.testing.assert_allclose(np.abs(found), np.abs(want), atol=1e-4)  # an axis has no sign


def test_no_more_axes_than_there_are_values(clips):
    assert principal(clips, TRAIN, size=100)[0].shape[1] == 6


def test_a_clip_without_the_modality_has_one_zero(clips):
    tokens = joined([clips[0], clips[1][:0], clips[2]])
    assert tokens.offsets.tolist() == [0, 5, 6, 13]
    assert tokens.lengths.tolist() == [5, 1, 7]
    assert len(tokens) == 3
    assert torch.equal(tokens.vectors[5], torch.zeros(6))
    np.testing.assert_array_equal(tokens.vectors[6:].numpy(), clips[2])


def test_the_axes_do_not_hang_on_the_number_of_cores():
    """Of the usual size: what is smaller is computed by one thread anyway."""
    rng = np.random.default_rng(0)
    clips = [rng.normal(size=(500, 600)).astype(np.float32) for _ in range(8)]
    found = []
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            found.append(principal(clips, range(8), size=64))
    np.testing.assert_array_equal(*found)
