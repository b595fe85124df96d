"""What the processes of `Workers` run in tests: they import it, as they cannot import a test module."""

import gc
import os
import time
from collections.abc import Iterator

import numpy as np


def begin():
    return work


def work(job) -> Iterator:
    kind, value = job
    if kind == "count":
        yield from range(value)
    elif kind == "die":
        yield "first"
        os.kill(os.getpid(), value)
        time.sleep(10)
    elif kind == "raise":
        raise value
    elif kind == "collect and grow":
        gc.collect()
        yield len(np.ones(value))
    elif kind == "grow":
        yield len(np.ones(value))
    elif kind == "spin":
        while True:
            pass


def fail_to_begin(error):
    raise error
