# SPDX-License-Identifier: Apache-2.0
"""A script in a process of its own, which takes everything that it started along when it ends."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sagemaker_tensorflow._local.script import keeper

_MAX_MESSAGE = 1 << 16


class ScriptError(Exception):
    """A script could not be started; the message says why."""


@dataclasses.dataclass(frozen=True)
class ScriptEnd:
    """How a script ended.

    Attributes:
        exit_code: Its exit status; -n if signal n killed it.
        left_behind: How many processes it left running; they have been killed.
    """

    exit_code: int
    left_behind: int

    @property
    def status(self) -> int:
        """The exit status that a shell would have."""
        return 128 - self.exit_code if self.exit_code < 0 else self.exit_code

    def __str__(self) -> str:
        if self.exit_code >= 0:
            return f"ended with exit status {self.exit_code}"
        with contextlib.suppress(ValueError):
            return f"was killed by {signal.Signals(-self.exit_code).name}"
        return f"was killed by signal {-self.exit_code}"


class Script:
    """A running script.

    It has a session and a process group of its own, and an empty standard input. If this process
    ends, in whatever way, so does the script.

    Args:
        command: The program and its arguments.
        environment: All its variables.
        cwd: Its working directory.
        output: File descriptors for its standard output and standard error; ``None``: ours.
        lifeline: A file descriptor that is open until nothing of the script is left; none of its
            processes has it.

    Raises:
        ScriptError: If it cannot be started. Perhaps only ``end`` does.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        cwd: Path,
        *,
        output: tuple[int | None, int | None] = (None, None),
        lifeline: int | None = None,
    ) -> None:
        self._connection, theirs = socket.socketpair()
        self._end: ScriptEnd | None = None
        with theirs:
            self._keeper = subprocess.Popen(  # noqa: S603
                # No site-packages: it is to be there at once.
                [sys.executable, "-I", "-S", keeper.__file__, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=output[0],
                stderr=output[1],
                pass_fds=[theirs.fileno(), *([] if lifeline is None else [lifeline])],
                start_new_session=True,
            )
        order = {
            "command": list(command),
            "environment": dict(environment),
            "cwd": str(cwd),
        }
        with contextlib.suppress(OSError):  # it has failed already, which end() tells
            self._connection.sendall(json.dumps(order).encode() + b"\n")

    def __enter__(self) -> Script:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """Returns what becomes readable when the script has ended, for ``select``."""
        return self._connection.fileno()

    def send(self, number: int) -> None:
        """Sends a signal: SIGINT to its group, SIGKILL to all it started, else to it alone."""
        with contextlib.suppress(OSError):  # it has ended
            self._connection.send(bytes([number]))

    def end(self) -> ScriptEnd:
        """Waits for the script's end, and for that of all it started.

        Raises:
            ScriptError: If it could not be started, or cannot be watched any more.
        """
        if self._end is None:
            message = self._connection.recv(_MAX_MESSAGE)
            self._keeper.wait()
            if not message:
                raise ScriptError("the process that watches over the script was killed")
            result = json.loads(message)
            if "error" in result:
                raise ScriptError(f"the script cannot be started: {result['error']}")
            self._end = ScriptEnd(**result)
        return self._end

    def close(self) -> None:
        """Kills the script, if it still runs, and all it started."""
        self._connection.close()
        self._keeper.wait()
