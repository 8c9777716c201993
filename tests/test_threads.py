import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from minivec.threads import in_threads, lone_blas


def blas_threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_results_come_in_order_whichever_thread_is_first():
    second_is_done = threading.Event()

    def task(i, double):
        if i == 0:
            assert second_is_done.wait(10)
        second_is_done.set()
        return double * i

    assert list(in_threads(task, range(3), [2, 2, 2, 2])) == [0, 2, 4]


def test_an_error_is_raised_where_its_result_is_due():
    results = in_threads(lambda i: 1 // i, [1, 0, 1])
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize("how", ["context", "threads"])
def test_products_take_one_thread_inside_and_as_many_as_before_afterwards(how):
    np.ones((2, 2)) @ np.ones((2, 2))
    before = blas_threads()
    if how == "context":
        with lone_blas():
            inside = blas_threads()
    else:
        (inside,) = in_threads(lambda _: blas_threads(), [0])
    assert inside == {1} and blas_threads() == before


def test_contexts_that_overlap_leave_the_number_of_threads_as_it_was():
    before = blas_threads()
    first, second = lone_blas(), lone_blas()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert blas_threads() == {1}
    second.__exit__(None, None, None)
    assert blas_threads() == before
