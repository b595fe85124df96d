"""The effective share of attention, where the answer is known."""

import numpy as np
import pytest

from deepfusion.evaluation.attention import effective_share


@pytest.mark.parametrize(
    ("weights", "share"),
    [(np.full(8, 1 / 8), 1), (np.eye(8)[3], 1 / 8), (np.array([0.5, 0.5, 0, 0]), 0.5), (np.full((3, 2), 1 / 6), 1)],
)
def test_one_for_the_mean_and_one_row_s_share_for_a_peak(weights, share):
    assert effective_share(weights) == pytest.approx(share)
