"""Functions compiled by numba, cached on disk where possible."""

from collections.abc import Callable

import numba


def compiled(function: Callable) -> Callable:
    """Compile a function of numbers and arrays on its first call, and cache it for later processes."""
    try:
        return numba.njit(cache=True, error_model="numpy")(function)
    except RuntimeError:  # no cache folder, as in a container without a home: each process compiles again
        return numba.njit(error_model="numpy")(function)
