"""Calls on several cores give what they give one after another."""

import pytest
import torch

from deepfusion.fusion.side_by_side import side_by_side


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_results_are_in_order_each_call_has_one_core_and_the_caller_keeps_its_own(three_threads):
    made = side_by_side(lambda a, b: (a + b, torch.get_num_threads()), [(i, 10) for i in range(8)])
    assert made == [(10 + i, 1) for i in range(8)]
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize("threads", [1, 2, None])
def test_an_error_reaches_the_caller(three_threads, threads):
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda a: 1 // a, [(1,), (0,)], threads)
    assert torch.get_num_threads() == 3
