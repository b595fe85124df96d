"""Late fusion against the arithmetic written out."""

import numpy as np
import pytest

from deepfusion.evaluation.late_fusion import mean, product, weight_of, weighted

A = np.array([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8]])
B = np.array([[0.2, 0.6, 0.2], [0.3, 0.4, 0.3]])


def test_mean_and_product():
    np.testing.assert_allclose(mean(A, B)[0], [0.45, 0.4, 0.15])
    np.testing.assert_allclose(product(A, B)[0], np.array([0.14, 0.12, 0.02]) / 0.28)
    np.testing.assert_allclose(product(A, B).argmax(1), weighted(A, B, 0.5).argmax(1))


@pytest.mark.parametrize(("weight", "want"), [(1, A), (0, B)])
def test_the_ends_of_the_weight_are_the_models(weight, want):
    np.testing.assert_allclose(weighted(A, B, weight), want)


def test_a_zero_does_not_make_the_product_undefined():
    assert np.isfinite(product(np.array([[1.0, 0.0]]), np.array([[0.0, 1.0]]))).all()


def test_the_model_that_is_right_gets_the_weight():
    label = A.argmax(1)
    sure, wrong = np.eye(3)[label] * 0.94 + 0.02, np.eye(3)[(label + 1) % 3] * 0.94 + 0.02
    assert weight_of(sure, wrong, label) == 1
    assert weight_of(wrong, sure, label) == 0
