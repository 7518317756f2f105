# SPDX-License-Identifier: Apache-2.0
"""Getting things ahead of their consumer: in order, within a budget."""

import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sagemaker_tensorflow._storage.objects import SourceError
from sagemaker_tensorflow._storage.read_ahead import FetchPool, InOrder, Work


class Gauge:
    """How much is fetched and not handed on."""

    def __init__(self):
        self.value = self.highest = 0
        self._lock = threading.Lock()

    def add(self, count):
        with self._lock:
            self.value += count
            self.highest = max(self.highest, self.value)


def result(future):
    future.exception(timeout=30)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 100), st.integers(1, 4))
def test_in_order_within_the_budget(weights, budget, threads):
    pool = FetchPool(threads, "test")
    gauge = Gauge()

    def get(number, weight):
        gauge.add(weight)
        return number

    work = (
        Work(lambda number=number, weight=weight: get(number, weight), weight)
        for number, weight in enumerate(weights)
    )
    numbers = []
    for number in InOrder(work, pool, budget, result):
        gauge.add(-weights[number])
        numbers.append(number)
    pool.close()
    assert numbers == list(range(len(weights)))
    assert gauge.highest <= max(budget, *weights, 0) + max(weights, default=0)


def test_many_at_once():
    pool = FetchPool(8, "test")
    together = threading.Barrier(8, timeout=30)
    work = (Work(together.wait, 1) for _ in range(16))
    assert sorted(InOrder(work, pool, 100, result)) == sorted([*range(8)] * 2)
    pool.close()


@pytest.mark.parametrize("weight", [0, 1])
def test_errors_come_in_their_turn(weight):
    def fail():
        raise SourceError("third")

    def work():
        yield Work(lambda: 1, weight)
        yield Work(lambda: 2, weight)
        yield Work(fail, weight)

    pool = FetchPool(2, "test")
    ahead = InOrder(work(), pool, 100, result)
    assert [next(ahead), next(ahead)] == [1, 2]
    with pytest.raises(SourceError, match="third"):
        next(ahead)
    pool.close()


def test_an_error_of_the_work_itself():
    def work():
        yield Work(lambda: 1, 1)
        raise SourceError("no more")

    pool = FetchPool(2, "test")
    ahead = InOrder(work(), pool, 100, result)
    assert next(ahead) == 1
    for _ in range(2):
        with pytest.raises(SourceError, match="no more"):
            next(ahead)
    pool.close()


def test_what_is_dropped_never_begins():
    pool = FetchPool(1, "test")
    begun, go_on = threading.Event(), threading.Event()
    calls = []

    def first():
        begun.set()
        go_on.wait(30)

    work = iter([Work(first, 1), *(Work(lambda: calls.append(1), 1) for _ in range(5))])
    ahead = InOrder(work, pool, 100, result)
    ahead.fill()
    assert begun.wait(30)
    ahead.close()
    go_on.set()
    last = pool.submit(lambda: "last")
    assert last.result(30) == "last"
    assert calls == []
    assert list(ahead) == []
    pool.close()


def test_a_pool_starts_no_more_threads_than_it_may():
    before = threading.active_count()
    pool = FetchPool(3, "test")
    futures = [pool.submit(threading.get_ident) for _ in range(20)]
    assert len({future.result(30) for future in futures}) <= 3
    assert threading.active_count() - before <= 3
    pool.close()
