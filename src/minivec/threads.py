"""Threads for NumPy's work, beside a Keras backend that has threads of its own."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache, partial
from threading import Lock
from typing import Any

from threadpoolctl import ThreadpoolController, threadpool_limits

_lock = Lock()
_limits: list[threadpool_limits] = []  # one for each open context; the first holds the process's own numbers


@lru_cache(maxsize=1)
def _libraries(modules: int) -> ThreadpoolController:
    """The thread pools of BLAS and OpenMP; finding them takes milliseconds, and an import may have added some."""
    return ThreadpoolController()


def _limit(user_api: str) -> threadpool_limits:
    return _libraries(len(sys.modules)).limit(limits=1, user_api=user_api)


@contextmanager
def lone_blas() -> Iterator[None]:
    """A context, or a decorator, in which a matrix product takes one thread, in the whole process.

    Idle BLAS threads slow other threads down. Contexts may overlap in any order: the last to end restores what the
    first found.
    """
    with _lock:
        _limits.append(_limit("blas"))
    try:
        yield
    finally:
        with _lock:
            limit = _limits.pop()
            if not _limits:
                limit.restore_original_limits()


def in_threads(task: Callable[..., Any], *items: Iterable[Any]) -> Iterator[Any]:
    """As ``map``, with a thread for each processor, for tasks that spend their time in compiled code."""
    alone = partial(_limit, "openmp")  # OpenMP's limit is each thread's own
    with lone_blas(), ThreadPoolExecutor(os.cpu_count(), initializer=alone) as pool:
        yield from pool.map(task, *items)
