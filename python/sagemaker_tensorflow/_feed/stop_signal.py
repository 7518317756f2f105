# SPDX-License-Identifier: Apache-2.0
"""Ends whatever a thread waits for."""

from __future__ import annotations

import concurrent.futures
import os
import select
import threading
import weakref
from collections.abc import Callable
from typing import Any

# Nobody tells poll(2) of a future that is done.
_LOOK_AT_FUTURE_SECONDS = 0.1


class Stopped(Exception):  # noqa: N818 - no error
    """The thread is to end."""


class StopSignal:
    """A switch from off to on that can be waited for together with a file descriptor."""

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._close = weakref.finalize(self, os.close, self._descriptor)
        self._lock = threading.Lock()
        self._is_set = False  # set with _lock held
        self._actions: list[Callable[[], None]] = []  # guarded by _lock

    def set(self) -> None:
        """Ends every wait, and all later ones at once, with ``Stopped``; calls what is attached."""
        with self._lock:
            self._is_set = True
            actions, self._actions = self._actions, []
        if self._close.alive:
            os.eventfd_write(self._descriptor, 1)
        for action in actions:
            action()

    def attach(self, action: Callable[[], None]) -> None:
        """Lets ``action`` be called, once, by the thread that turns the switch on; or right now."""
        with self._lock:
            if not self._is_set:
                self._actions.append(action)
                return
        action()

    def detach(self, action: Callable[[], None]) -> None:
        """Takes ``action`` away again, if it has not been called."""
        with self._lock:
            if action in self._actions:
                self._actions.remove(action)

    def is_set(self) -> bool:
        """Whether it is on."""
        return self._is_set

    def close(self) -> None:
        """Gives the descriptor back, when nobody waits any more."""
        self._close()

    def sleep(self, seconds: float | None) -> None:
        """Waits; ``None`` is for ever.

        Raises:
            Stopped: When the switch is on.
        """
        self._poll([], seconds)

    def wait_readable(self, descriptor: int) -> None:
        """Waits until a pipe has data, or no writer.

        Raises:
            Stopped: When the switch is on.
        """
        self._poll([(descriptor, select.POLLIN)], None)

    def wait_for(self, future: concurrent.futures.Future[Any]) -> None:
        """Waits until ``future`` is done.

        Raises:
            Stopped: When the switch is on.
        """
        while not self._is_set:
            if concurrent.futures.wait([future], _LOOK_AT_FUTURE_SECONDS).done:
                return
        raise Stopped

    def _poll(self, events: list[tuple[int, int]], seconds: float | None) -> None:
        poll = select.poll()
        poll.register(self._descriptor, select.POLLIN)
        for descriptor, mask in events:
            poll.register(descriptor, mask)
        poll.poll(None if seconds is None else seconds * 1000)
        if self._is_set:
            raise Stopped
