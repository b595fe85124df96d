"""Face networks that tests of one process open once: an engine other than eager takes seconds to open."""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch

from deepfusion.extract import in_memory

_OPENED: dict[tuple, object] = {}


@contextmanager
def opened_once() -> Iterator[None]:
    """Within it, predictors share the networks of the same settings, device, engine and number of threads."""
    open_network = in_memory.opened_network

    def opened(module, settings, device, engine):
        key = (settings.model_dump_json(), device, engine, torch.get_num_threads())
        if key not in _OPENED:
            _OPENED[key] = open_network(module, settings, device, engine)
        return _OPENED[key]

    with mock.patch.object(in_memory, "opened_network", opened):
        yield
