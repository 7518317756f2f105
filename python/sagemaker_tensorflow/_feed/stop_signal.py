# SPDX-License-Identifier: Apache-2.0
"""Ends whatever a thread waits for."""

from __future__ import annotations

import concurrent.futures
import os
import select
from typing import Any

# Nobody tells poll(2) of a future that is done.
_LOOK_AT_FUTURE_SECONDS = 0.1


class Stopped(Exception):  # noqa: N818 - no error
    """The thread is to end."""


class StopSignal:
    """A switch from off to on that can be waited for together with a file descriptor."""

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._is_set = False

    def set(self) -> None:
        """Ends every wait, and all later ones at once, with ``Stopped``."""
        self._is_set = True
        if self._descriptor >= 0:
            os.eventfd_write(self._descriptor, 1)

    def is_set(self) -> bool:
        """Whether it is on."""
        return self._is_set

    def close(self) -> None:
        """Gives the descriptor back, when nobody waits any more."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def sleep(self, seconds: float | None) -> None:
        """Waits; ``None`` is for ever.

        Raises:
            Stopped: When the switch is on.
        """
        self._poll([], seconds)

    def wait_writable(self, descriptor: int) -> None:
        """Waits until a pipe has room, or no reader.

        Raises:
            Stopped: When the switch is on.
        """
        self._poll([(descriptor, select.POLLOUT)], None)

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
