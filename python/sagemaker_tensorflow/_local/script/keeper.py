# SPDX-License-Identifier: Apache-2.0
"""A process that starts a script and lets nothing of it outlive the script.

It is to a script what the container is in the service. All descendants of the script, also those
that have made themselves independent, become children of this process when their parents are gone
(``PR_SET_CHILD_SUBREAPER``), and are killed when the script has ended, or when the process that
started this one has: even that may be killed at any moment. It removes no file: that the job's
folder is not this process's to remove is what ``job_folder`` says.

``script.Script`` runs it as a program; it imports the standard library alone, to be there at once.
A socket, whose file descriptor is the argument, brings a JSON object (``command``, ``environment``,
``cwd``) in a line, then signals for the script, a byte each; ``SIGKILL`` is for all that it
started. At the end it takes a JSON object back: ``exit_code``, as ``subprocess`` has it, and
``left_behind``, how many processes had to be killed; or ``error``.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
# What a shell may have let us ignore, and a script relies on.
_DEFAULT_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)
_LIBC = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Runs one script."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    for number in _DEFAULT_SIGNALS:
        signal.signal(number, signal.SIG_IGN)  # they are for the script, or for the parent
    if _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")
    order, signals = _receive_order(connection)
    if order is None:
        return
    try:
        script = _Script(order)
    except (OSError, ValueError) as error:
        _send(connection, {"error": str(error)})
        return
    parent_lives = script.wait(connection, signals)
    left_behind = script.kill_descendants()
    if parent_lives:
        exit_code = os.waitstatus_to_exitcode(script.status or 0)
        _send(connection, {"exit_code": exit_code, "left_behind": left_behind})


class _Script:
    """The script's process, and all that comes from it."""

    def __init__(self, order: dict[str, Any]) -> None:
        self.status: int | None = None  # its wait status, once it has ended
        self._wakeup, woken = socket.socketpair()
        woken.setblocking(False)
        signal.set_wakeup_fd(woken.detach())
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # Kept, for when it goes it waits for the process itself, and then we would in vain.
        self._process = subprocess.Popen(  # noqa: S603
            order["command"],
            cwd=order["cwd"],
            env=order["environment"],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_prepare,  # there are no threads here
        )
        self._pid = self._process.pid

    def wait(self, connection: socket.socket, signals: bytes) -> bool:
        """Passes on signals until the script has ended; returns whether somebody wants to know."""
        while True:
            for number in signals:
                self._reap()
                if self.status is None:  # else its number may be another's by now
                    self._pass_on(number)
            signals = b""
            self._reap()
            if self.status is not None:
                return True
            ready, _, _ = select.select([connection, self._wakeup], [], [])
            if self._wakeup in ready:
                self._wakeup.recv(4096)
            if connection in ready:
                try:
                    signals = connection.recv(4096)
                except OSError:
                    return False
                if not signals:
                    return False

    def kill_descendants(self) -> int:
        """Kills all that is left until nothing is; returns how many there were but the script.

        Whoever loses its parent becomes a child of this process, so killing children is enough.
        """
        killed: set[int] = set()
        while True:
            children = _children()
            _kill(children)
            killed.update(children)
            try:
                self._took_leave(*os.waitpid(-1, 0))
            except ChildProcessError:
                return len(killed - {self._pid})

    def _pass_on(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            if number == signal.SIGINT:
                os.killpg(self._pid, number)  # to the whole group, as a terminal does
            elif number == signal.SIGKILL:
                _kill(_children())
            else:
                os.kill(self._pid, number)

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                self._took_leave(*ended)

    def _took_leave(self, pid: int, status: int) -> None:
        if pid == self._pid:
            self.status = status


def _receive_order(connection: socket.socket) -> tuple[dict[str, Any] | None, bytes]:
    """Returns the order, and what was sent after it."""
    received = b""
    while b"\n" not in received:
        piece = connection.recv(1 << 16)
        if not piece:
            return None, b""
        received += piece
    order, _, signals = received.partition(b"\n")
    return json.loads(order), signals


def _prepare() -> None:
    """In the script's process, before the script."""
    for number in _DEFAULT_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _children() -> list[int]:
    me = os.getpid()
    path = Path(f"/proc/{me}/task/{me}/children")
    try:
        return [int(child) for child in path.read_text().split()]
    except OSError:  # a kernel without CONFIG_PROC_CHILDREN
        numbers = [entry.name for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
        return [child for child in map(int, numbers) if _parent_of(child) == me]


def _parent_of(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return None


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _send(connection: socket.socket, message: dict[str, object]) -> None:
    with contextlib.suppress(OSError):
        connection.sendall(json.dumps(message).encode())


if __name__ == "__main__":
    main()
