# SPDX-License-Identifier: Apache-2.0
"""A ``ChannelWriter`` in a process of its own, so that it can be killed. For ``testing``.

The child serves one epoch: arguments as JSON on the command line, the stream on stdin. It answers
on stdout: a line when a reader has opened the FIFO, then one JSON object at the end.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
from typing import IO, TYPE_CHECKING, Any, cast

from sagemaker_tensorflow._native import CancelledError, ChannelWriter

if TYPE_CHECKING:
    from typing_extensions import Buffer

_PIECE_BYTES = 1 << 16


class WriterProcess:
    """Like ``ChannelWriter``, for one epoch; takes the same arguments."""

    def __init__(self, pipe_dir: str, channel: str, *, first_epoch: int, **options: Any) -> None:
        self.path = f"{pipe_dir}/{channel}_{first_epoch}"
        self.bytes_written = 0
        self.reader_closed = False
        arguments = {
            "pipe_dir": pipe_dir,
            "channel": channel,
            "first_epoch": first_epoch,
            **options,
        }
        self._fault_at_byte: int = options.get("fault_at_byte", 0)
        self._cancelled = False
        search_path = os.pathsep.join(entry for entry in sys.path if entry)
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", __name__, json.dumps(arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env={**os.environ, "PYTHONPATH": search_path},
        )
        self._stdin = cast("IO[bytes]", self._process.stdin)
        self._stdout = cast("IO[bytes]", self._process.stdout)

    def begin_epoch(self) -> None:
        """Waits until a reader has opened the FIFO."""
        if not self._stdout.readline():
            self._finish()

    def write(self, data: Buffer) -> bool:
        """Hands ``data`` to the child; returns ``False`` once the epoch is over early."""
        view = memoryview(data)
        try:
            while view:
                view = view[self._stdin.write(view) :]
        except BrokenPipeError:
            return False
        return True

    def end_epoch(self) -> None:
        """Waits until the child has written everything."""
        self._finish()

    def cancel(self) -> None:
        """Ends a blocked call of another thread with ``CancelledError``."""
        self._cancelled = True
        self._process.terminate()

    def _finish(self) -> None:
        output, errors = self._process.communicate()
        result = json.loads(output or "{}")
        self.bytes_written = result.get("bytes_written", 0)
        self.reader_closed = result.get("reader_closed", False)
        if result.get("finished"):
            return
        if self._cancelled:
            raise CancelledError("the writer is cancelled")
        if self._process.returncode != -signal.SIGKILL:
            raise RuntimeError(f"the process that writes '{self.path}' failed:\n{errors.decode()}")
        self.bytes_written = self._fault_at_byte


def _exit_with_parent() -> None:
    """Ends the process when nobody is left to read its stdout."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    poll.poll()
    os._exit(1)


def main() -> None:
    """Serves one epoch."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    arguments = json.loads(sys.argv[1])
    writer = ChannelWriter(**arguments)

    def finished() -> bool:
        return bool(writer.epoch > arguments["first_epoch"])

    def cancel(*_: object) -> None:
        if not finished():
            raise SystemExit(1)

    signal.signal(signal.SIGTERM, cancel)
    writer.begin_epoch()
    print(flush=True)
    try:
        while piece := os.read(sys.stdin.fileno(), _PIECE_BYTES):
            if not writer.write(piece):
                break
        writer.end_epoch()
    finally:
        report = {
            "bytes_written": writer.bytes_written,
            "reader_closed": writer.reader_closed,
            "finished": finished(),
        }
        print(json.dumps(report))


if __name__ == "__main__":
    main()
