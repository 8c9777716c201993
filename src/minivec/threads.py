"""Threads for NumPy's work, beside a Keras backend that has threads of its own."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Lock
from typing import Any

from threadpoolctl import threadpool_limits

_lock = Lock()
_limits: list[threadpool_limits] = []  # one for each open context; the first holds the process's own numbers


@contextmanager
def lone_blas() -> Iterator[None]:
    """A context, or a decorator, in which a matrix product takes one thread, in the whole process.

    Idle BLAS threads slow other threads down. Contexts may overlap in any order: the last to end restores what the
    first found.
    """
    with _lock:
        _limits.append(threadpool_limits(1, "blas"))
    try:
        yield
    finally:
        with _lock:
            limit = _limits.pop()
            if not _limits:
                limit.restore_original_limits()


def in_threads(task: Callable[..., Any], *items: Iterable[Any]) -> Iterator[Any]:
    """As ``map``, with a thread for each processor, for tasks that spend their time in compiled code."""
    alone = {"initializer": threadpool_limits, "initargs": (1, "openmp")}  # OpenMP's limit is each thread's own
    with lone_blas(), ThreadPoolExecutor(os.cpu_count(), **alone) as pool:
        yield from pool.map(task, *items)
