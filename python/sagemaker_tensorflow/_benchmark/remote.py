# SPDX-License-Identifier: Apache-2.0
"""Objects in processes of their own.

Each process is forked from a server that has TensorFlow imported but never used: it starts in
milliseconds, and as fresh as a new interpreter.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Self

# TensorFlow speaks of oneDNN at every import, and nothing here uses it.
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "0"}

_CONTEXT = multiprocessing.get_context("forkserver")
# The command line too: a forked process imports its parent's main module.
_CONTEXT.set_forkserver_preload(
    ["sagemaker_tensorflow._benchmark.contenders", "sagemaker_tensorflow.cli"]
)


class RemoteError(RuntimeError):
    """What an object of another process raised; the message is its traceback."""


class Remote:
    """An object that lives in another process; one call at a time.

    Args:
        make: Makes the object there. Must be importable, as what it and the calls take and return
            must be picklable.
        arguments: Its arguments.
    """

    def __init__(self, make: Callable[..., Any], *arguments: Any) -> None:
        _ensure_server()
        self._connection, far_end = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(
            target=_serve, args=(far_end, make, arguments), daemon=True
        )
        self._process.start()
        far_end.close()

    @property
    def pid(self) -> int:
        """The number of the process."""
        return self._process.pid or 0

    def begin(self, method: str, *arguments: Any) -> None:
        """Begins a call; ``result`` ends it."""
        self._connection.send((method, arguments))

    def is_ready(self, timeout: float) -> bool:
        """Waits up to ``timeout`` seconds for ``result``; returns whether it is there."""
        return self._connection.poll(timeout)

    def result(self) -> Any:
        """Waits for the call to end.

        Raises:
            RemoteError: If it failed, or the process is gone.
        """
        try:
            succeeded, value = self._connection.recv()
        except EOFError:
            self._process.join()
            raise RemoteError(f"the process ended: status {self._process.exitcode}") from None
        if not succeeded:
            raise RemoteError(value)
        return value

    def call(self, method: str, *arguments: Any) -> Any:
        """Begins a call and waits for it."""
        self.begin(method, *arguments)
        return self.result()

    def close(self) -> None:
        """Ends the process, whatever it does."""
        self._process.kill()
        self._process.join()
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @staticmethod
    def results(remotes: list[Remote]) -> list[Any]:
        """Waits for a call of each; raises at once what the first of them to fail raises."""
        results: dict[Remote, Any] = {}
        while len(results) < len(remotes):
            waiting = {r._connection: r for r in remotes if r not in results}
            for connection in wait(list(waiting)):
                remote = waiting[connection]  # type: ignore[index]
                results[remote] = remote.result()
        return [results[remote] for remote in remotes]


def run(function: Callable[..., Any], *arguments: Any) -> Any:
    """Calls ``function`` in another process."""
    with Remote(functools.partial, function) as remote:
        return remote.call("__call__", *arguments)


def _ensure_server() -> None:
    """Starts the server; what it inherits is for it alone."""
    environment = dict(os.environ)
    os.environ.update(_QUIET)
    # Ctrl-C is for this process to handle, also while the server imports.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        forkserver.ensure_running()
    finally:
        signal.signal(signal.SIGINT, handler)
        for name in _QUIET.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)


def _serve(connection: Connection, make: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    made = None
    while True:
        try:
            method, call_arguments = connection.recv()
        except EOFError:
            return
        try:
            if made is None:
                made = make(*arguments)
            answer = (True, getattr(made, method)(*call_arguments))
        except Exception:
            answer = (False, traceback.format_exc())
        connection.send(answer)


def _exit_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
    os._exit(1)
