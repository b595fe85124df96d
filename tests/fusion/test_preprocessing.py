"""Standardisation and principal axes against scikit-learn's."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from deepfusion.fusion.preprocessing import EXACT_WIDTH, FLOOR, SMALLEST, Reduction, speaker_statistics, standardisation
from deepfusion.fusion.preprocessing import fit as fit_clips

L, N = 60, 8


def rows(length=L, width=N, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=(length, width)) @ rng.normal(size=(width, width)) + 5).astype(np.float32)


def fit(train, *, size):
    """Of the rows of two clips and of one without any."""
    return fit_clips([train[:2], train[:0], train[2:]], [None] * 3, size=size)


def reference(train, new, size):
    """New rows standardised and on the principal axes of the training rows, scaled to a mean variance of 1."""
    scaler = StandardScaler().fit(train.astype(np.float64))
    pca = PCA(size, svd_solver="full").fit(scaler.transform(train))
    return pca.transform(scaler.transform(new)) / np.sqrt(pca.explained_variance_.mean())


def assert_equal_but_for_signs(found, wanted, atol=5e-3):
    """Axes have no direction, and half precision."""
    signs = np.sign((found * wanted).sum(0))
    np.testing.assert_allclose(found, wanted * signs, atol=atol)


@pytest.mark.parametrize("size", [1, 3, N, N + 5])
def test_reduction_is_sklearns_standard_scaler_and_pca(size):
    new = rows(10, seed=1)
    found = fit(rows(), size=size)(torch.from_numpy(new)).numpy()
    assert_equal_but_for_signs(found, reference(rows(), new, min(size, N)))


def test_training_rows_have_mean_0_and_a_mean_variance_of_1():
    made = fit(rows(), size=4)
    reduced = made(torch.from_numpy(rows())).double()
    np.testing.assert_allclose(reduced.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(reduced.var(0), made.variance, atol=2e-3)
    assert float(reduced.var(0).mean()) == pytest.approx(1, abs=2e-3)
    assert (made.variance.diff() <= 0).all()


@pytest.mark.parametrize("axes", [1, 3, 8, 20])
def test_the_first_axes_are_those_of_a_fit_with_fewer(axes):
    new = torch.from_numpy(rows(10, seed=1))
    all_axes, few = fit(rows(), size=N), fit(rows(), size=axes)
    found = all_axes.first(all_axes(new), axes)
    assert found.shape == (10, min(axes, N))
    assert_equal_but_for_signs(found.numpy(), few(new).numpy())


def test_wide_streams_have_the_axes_that_matter():
    """Randomised: the axes with most of the variance are the exact ones."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(80, 3)) * [9, 5, 3]
    wide = (hidden @ rng.normal(size=(3, EXACT_WIDTH + 1)) + rng.normal(size=(80, EXACT_WIDTH + 1))).astype(np.float32)
    found = fit(wide, size=3)(torch.from_numpy(wide)).numpy()
    assert_equal_but_for_signs(found, reference(wide, wide, 3), atol=5e-3)
    again = fit(wide, size=3)(torch.from_numpy(wide)).numpy()
    np.testing.assert_array_equal(found, again)


def test_speakers_are_standardised_each_by_their_own_statistics():
    """Then the axes are those of all their standardised rows."""
    clips = [rows(40), rows(30, seed=1) * 3 + 7, rows(20)[10:]]
    speakers = ["a", "b", "a"]
    own = speaker_statistics(clips, speakers)
    standard = {
        name: StandardScaler().fit(np.concatenate([x for x, who in zip(clips, speakers, strict=True) if who == name]))
        for name in "ab"
    }
    scaled = [standard[who].transform(x) for x, who in zip(clips, speakers, strict=True)]
    made = fit_clips(clips, [own[who] for who in speakers], size=3)
    joined = np.concatenate(scaled)
    pca = PCA(3, svd_solver="full").fit(joined)
    found = torch.cat([made(torch.from_numpy(x), own[who]) for x, who in zip(clips, speakers, strict=True)]).numpy()
    assert_equal_but_for_signs(found, pca.transform(joined) / np.sqrt(pca.explained_variance_.mean()), atol=1e-3)


def test_a_speaker_s_own_deviation_has_a_floor():
    """A value that is almost constant for one person is not blown up where it is not."""
    made = fit(rows(), size=3)
    mean, deviation = map(torch.from_numpy, standardisation(rows(20, seed=1)))
    deviation[4] = SMALLEST
    new = torch.from_numpy(rows(6, seed=2))
    found = made.scaled(new, (mean, deviation))
    others = [i for i in range(N) if i != 4]
    torch.testing.assert_close(found[:, others], ((new - mean) / deviation)[:, others])
    torch.testing.assert_close(found[:, 4], (new - mean)[:, 4] / (FLOOR * made.deviation[4]))


def test_leading_axes_are_free():
    made, new = fit(rows(), size=3), torch.from_numpy(rows(6, seed=1))
    torch.testing.assert_close(made(new.view(2, 3, N)), made(new).view(2, 3, 3))


def test_a_column_that_is_constant_in_training_does_not_explode_in_test():
    train = rows(20)
    train[:, 2] = -100
    made = fit(train, size=N)
    new = train[:1].copy()
    new[0, 2] += 0.5
    before, after = (made(torch.from_numpy(x)) for x in (train[:1], new))
    assert made.deviation[2] == 1
    assert (after - before).abs().max() < 2


@pytest.mark.parametrize("length", [2, 3, 5])
def test_few_rows_give_no_axis_without_variance(length):
    made = fit(rows(length), size=64)
    assert made.size == length - 1
    assert (made.variance > 1e-4).all()


@pytest.mark.parametrize("length", [0, 1])
def test_without_two_rows_the_only_axis_is_0(length):
    made = fit(rows(length), size=3)
    assert made.size == 1
    assert not made(torch.from_numpy(rows())).any()
    assert not made.first(made(torch.from_numpy(rows())), 3).any()


@pytest.mark.filterwarnings("error")
def test_equal_rows_give_an_axis_of_0():
    made = fit(np.full((5, N), 3, np.float32), size=3)
    reduced = made.first(made(torch.full((2, N), 4.0)), 2)
    assert reduced.tolist() == [[0], [0]]


def test_everything_is_a_buffer():
    """A saved model holds its reductions."""
    made = fit(rows(), size=3)
    other = Reduction(N, 3)
    other.load_state_dict(made.state_dict())
    new = torch.from_numpy(rows(6, seed=1))
    assert torch.equal(other(new), made(new)) and torch.equal(other.first(other(new), 2), made.first(made(new), 2))
    assert not list(made.parameters())


def test_speaker_statistics_are_those_of_their_own_rows():
    clips = [rows(4), rows(0), rows(3, seed=1) * 2, rows(5, seed=2)]
    found = speaker_statistics(clips, ["a", "b", "c", "a"])
    assert found.keys() == {"a", "c"}  # b has no rows
    scaler = StandardScaler().fit(np.concatenate([clips[0], clips[3]]).astype(np.float64))
    np.testing.assert_allclose(found["a"][0], scaler.mean_, rtol=1e-6)
    np.testing.assert_allclose(found["a"][1], scaler.scale_, rtol=1e-6)
    np.testing.assert_allclose(found["c"][0], clips[2].astype(np.float64).mean(0), rtol=1e-6)
