"""Functions compiled by numba, kept on the disk where there is a place for them."""

from collections.abc import Callable

import numba


def compiled(function: Callable) -> Callable:
    """A function on numbers and arrays, compiled when first called, and kept for later processes."""
    try:
        return numba.njit(cache=True, error_model="numpy")(function)
    except RuntimeError:  # no folder to keep it in, as in a container without a home: each process compiles again
        return numba.njit(error_model="numpy")(function)
