"""Streams that threads prefetch for their consumer."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from queue import Full, Queue
from threading import Event
from typing import Any, TypeVar

T = TypeVar("T")

# Interval at which a thread that waits for a full queue checks whether its consumer has stopped, s.
LOOK_EVERY = 0.1


def ahead(streams: Iterable[Iterable[T]], *, workers: int, depth: int = 2) -> Iterator[Iterator[T]]:
    """The same streams with the same items in the same order, several of them produced in parallel.

    Each stream must be consumed to its end, or to its error, before the next.

    Args:
        streams: An error in one of them is raised in its place, and ends only that stream.
        workers: Threads, each on a stream of its own; 0: none, each item is produced when it is taken.
        depth: Maximum items of a stream in its queue; 0: unlimited.
    """
    if not workers:
        yield from map(iter, streams)
        return
    streams, abandoned = iter(streams), Event()
    with ThreadPoolExecutor(workers) as pool:
        try:
            running: deque[Queue] = deque()

            def start(count: int) -> None:
                for stream in islice(streams, count):
                    running.append(Queue(depth))
                    pool.submit(_produce, stream, running[-1], abandoned)

            start(workers)
            while running:
                yield _taken(running.popleft())
                start(1)
        finally:
            abandoned.set()


def _produce(stream: Iterable, queue: Queue, abandoned: Event) -> None:
    try:
        for item in stream:
            _put(queue, ("item", item), abandoned)
            if abandoned.is_set():
                return
        _put(queue, ("end", None), abandoned)
    except Exception as error:  # any error is raised in the consumer
        _put(queue, ("error", error), abandoned)


def _put(queue: Queue, message: tuple[str, Any], abandoned: Event) -> None:
    while not abandoned.is_set():
        try:
            return queue.put(message, timeout=LOOK_EVERY)
        except Full:
            continue


def _taken(queue: Queue) -> Iterator:
    while True:
        kind, value = queue.get()
        if kind == "end":
            return
        if kind == "error":
            raise value
        yield value
