"""Parallel calls in threads, each on one core."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

T = TypeVar("T")


def side_by_side(function: Callable[..., T], arguments: Iterable[tuple], threads: int | None = None) -> list[T]:
    """Call a function for several arguments in parallel, each call on one core.

    Matrix products of this size are too small to be split over threads.

    Args:
        function: Must not depend on the other calls.
        arguments: Of each call.
        threads: Parallel calls; None: torch's number of threads.

    Returns:
        The results, in order.
    """
    before = torch.get_num_threads()
    try:
        with (
            threadpool_limits(1, "blas"),
            ThreadPoolExecutor(threads or before, initializer=torch.set_num_threads, initargs=(1,)) as pool,
        ):
            return list(pool.map(lambda of: function(*of), arguments))
    finally:
        torch.set_num_threads(before)
