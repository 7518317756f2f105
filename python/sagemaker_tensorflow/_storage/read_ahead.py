# SPDX-License-Identifier: Apache-2.0
"""Fetches ahead of whoever consumes: many calls at once, their results in order."""

from __future__ import annotations

import collections
import dataclasses
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

from sagemaker_tensorflow._storage.objects import SourceError

T = TypeVar("T")

Wait = Callable[[Future[Any]], None]
"""Called with what is not there yet; returns when it is."""

# Small objects, or such as nothing is to wait for, are no reason to hold a million of them.
_MAX_ITEMS_AHEAD = 1024


class FetchPool:
    """Threads that run calls. They are daemons: a server that hangs does not keep the process.

    Args:
        threads: How many; each is started when there is a call for it.
        name: For their names.
    """

    def __init__(self, threads: int, name: str) -> None:
        self._threads = threads
        self._name = name
        self._started = 0
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = (
            queue.SimpleQueue()
        )

    def submit(self, call: Callable[[], T]) -> Future[T]:
        """Runs ``call`` in one of the threads."""
        future: Future[T] = Future()
        self._calls.put((future, call))
        if self._started < self._threads:
            self._started += 1
            threading.Thread(
                target=self._run, name=f"{self._name}-{self._started}", daemon=True
            ).start()
        return future

    def close(self) -> None:
        """Ends each thread after the call that it is in; waits for none."""
        for _ in range(self._started):
            self._calls.put(None)

    def _run(self) -> None:
        while (entry := self._calls.get()) is not None:
            future, call = entry
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = call()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
                del result
            del entry, future, call  # or a body would live until the next call


@dataclasses.dataclass(slots=True)
class Work(Generic[T]):
    """Something to get.

    Attributes:
        call: Gets it.
        weight: What it takes of the budget until it is handed on. 0: nothing is to wait for, so it
            is got only when it is its turn.
    """

    call: Callable[[], T]
    weight: int


class InOrder(Generic[T]):
    """Iterates over the results of ``work``, and keeps getting those that come next.

    A ``SourceError`` of ``work``, and any error of a call, is raised when it is its turn.

    Args:
        work: What to get.
        pool: Who gets it.
        budget: Limit of the weights that are on the way or not handed on yet. One is always.
        wait: See ``Wait``.
    """

    def __init__(
        self,
        work: Iterator[Work[T]],
        pool: FetchPool,
        budget: int,
        wait: Wait,
    ) -> None:
        self._work = work
        self._pool = pool
        self._budget = budget
        self._wait = wait
        self._ahead: collections.deque[tuple[Work[T], Future[T] | None]] = collections.deque()
        self._weight = 0
        self._next: Work[T] | None = None
        self._failure: SourceError | None = None
        self._exhausted = False

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        self.fill()
        if not self._ahead:
            if self._next is None:
                raise self._failure or StopIteration
            work, self._next = self._next, None
            return work.call()
        work, future = self._ahead.popleft()
        self._weight -= work.weight
        if future is None:
            return work.call()
        if not future.done():
            self._wait(future)
        return future.result()

    def fill(self) -> None:
        """Begins to get as much as the budget allows."""
        while (work := self._peek()) is not None:
            if self._ahead:
                full = self._weight + work.weight > self._budget
                if full or len(self._ahead) == _MAX_ITEMS_AHEAD:
                    return
            elif work.weight == 0:
                return  # its turn is next
            self._next = None
            self._weight += work.weight
            self._ahead.append((work, self._pool.submit(work.call) if work.weight else None))

    def close(self) -> None:
        """Drops what has not begun, and whatever the work refers to."""
        self._exhausted = True
        self._work = iter(())
        self._next = None
        for _, future in self._ahead:
            if future is not None:
                future.cancel()
        self._ahead.clear()

    def _peek(self) -> Work[T] | None:
        if self._next is None and not self._exhausted:
            try:
                self._next = next(self._work)
            except StopIteration:
                self._exhausted = True
            except SourceError as error:
                self._exhausted, self._failure = True, error
        return self._next
