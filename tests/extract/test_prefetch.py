"""Streams produced by threads are the same streams."""

import threading
import time

import pytest

from deepfusion.errors import ClipError
from deepfusion.extract.prefetch import ahead


def stream(name, count, *, broken=False):
    for i in range(count):
        yield name, i
    if broken:
        raise ClipError(f"{name} is cut off")


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_same_items_in_the_same_order_and_errors_where_they_happen(workers):
    streams = [stream("a", 5), stream("b", 0), stream("c", 7, broken=True), stream("d", 1), stream("e", 9)]
    taken = []
    for items in ahead(iter(streams), workers=workers):
        got = []
        try:
            got += [item for item in items]  # noqa: C416  (what came before the error counts)
        except ClipError as error:
            got = str(error)
        taken.append(got)
    wanted = [[(name, i) for i in range(count)] for name, count in [("a", 5), ("b", 0), ("d", 1), ("e", 9)]]
    assert taken == [*wanted[:2], "c is cut off", *wanted[2:]]


def test_several_are_produced_at_a_time_and_none_runs_away():
    produced, together, lock = [0, 0, 0], threading.Barrier(2, timeout=20), threading.Lock()

    def counted(i):
        if i < 2:
            together.wait()  # passes only if the first two are begun at once
        for k in range(50):
            with lock:
                produced[i] += 1
            yield k

    streams = ahead((counted(i) for i in range(3)), workers=2, depth=2)
    first = next(streams)
    assert next(first) == 0
    time.sleep(0.3)
    assert produced[0] <= 1 + 2 + 1  # taken, waiting, in the hand
    assert 0 < produced[1] <= 2 + 1
    assert produced[2] == 0
    assert [*first, *(k for items in streams for k in items)] == [*range(1, 50), *range(50), *range(50)]


def test_who_stops_taking_leaves_no_thread_behind():
    before = threading.active_count()
    streams = ahead((stream(name, 1000) for name in "abcdef"), workers=3)
    assert next(next(streams)) == ("a", 0)
    streams.close()
    assert threading.active_count() == before
