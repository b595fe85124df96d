"""Work on several cores: calls side by side, each on one core."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
from threadpoolctl import threadpool_limits

T = TypeVar("T")


def side_by_side(function: Callable[..., T], arguments: Iterable[tuple], threads: int | None = None) -> list[T]:
    """Call a function for each of several arguments, each call on one core.

    Products of this size are too small to be divided: threads that share one mostly wait for each other.

    Args:
        function: It must not depend on the other calls.
        arguments: Of each call.
        threads: Calls at a time; None: as many as torch may use threads.

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
