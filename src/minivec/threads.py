"""Threads for NumPy's work, beside a Keras backend that has threads of its own."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from threadpoolctl import threadpool_limits


def lone_blas() -> threadpool_limits:
    """A context in which a matrix product takes one thread, because idle BLAS threads slow the others down."""
    return threadpool_limits(1, "blas")


def in_threads(task: Callable[..., Any], *items: Iterable[Any]) -> Iterator[Any]:
    """As ``map``, with a thread for each processor, for tasks that spend their time in compiled code."""
    alone = {"initializer": threadpool_limits, "initargs": (1,)}  # OpenMP's limit is each thread's own
    with lone_blas(), ThreadPoolExecutor(os.cpu_count(), **alone) as pool:
        yield from pool.map(task, *items)
