"""What the processes of `Workers` run in tests: they import it, as they cannot import a test module."""

import gc
import os
import time
from collections.abc import Iterator
from pathlib import Path

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
    elif kind == "fail once":
        marker, fault = value
        yield from range(2)
        if not Path(marker).exists():
            Path(marker).touch()
            if isinstance(fault, Exception):
                raise fault
            os.kill(os.getpid(), fault)
            time.sleep(10)
        yield from range(2, 4)
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
