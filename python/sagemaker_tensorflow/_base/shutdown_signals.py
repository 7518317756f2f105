# SPDX-License-Identifier: Apache-2.0
"""Turns the signals that ask the host to end into exceptions, or into messages, as suits best."""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(SystemExit):
    """Somebody wants the host to end; its exit status is that of a process killed by the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self.signal_name = signal.Signals(number).name


class StopSignals:
    """Takes SIGINT, SIGTERM and SIGHUP while it is entered; does nothing but in a main thread.

    They raise ``Interrupted``, but within ``collected()`` they are kept for ``take``. One that is
    ignored stays so: nohup, or a shell's ``&``, has asked for that.
    """

    def __init__(self) -> None:
        self._collecting = False
        self._taken: list[int] = []
        self._before: dict[int, Any] = {}
        self._woken, self._wakeup = socket.socketpair()

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():
            for number in _SIGNALS:
                if signal.getsignal(number) is signal.SIG_IGN:
                    continue
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._woken.close()
        self._wakeup.close()

    def fileno(self) -> int:
        """Returns what becomes readable when there is something to take, for ``select``."""
        return self._woken.fileno()

    @contextlib.contextmanager
    def collected(self) -> Iterator[None]:
        """Keeps signals instead of raising them; drops, at its end, those that nobody took."""
        self._collecting = True
        try:
            yield
        finally:
            self._collecting = False
            self.take()

    def take(self) -> list[int]:
        """Returns the signals that came, once."""
        taken, self._taken = self._taken, []
        if taken:
            self._woken.recv(4096)
        return taken

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if not self._collecting:
            raise Interrupted(number)
        self._taken.append(number)
        self._wakeup.send(b"\0")
