# SPDX-License-Identifier: Apache-2.0
"""Our standard error, which may go away while a job runs.

The terminal is closed, the ``head`` of a pipe has seen enough, the disk of a log is full: a job
has to go on, or to end as its signals say, and must not lose its model for a line that nobody
reads.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from typing import TextIO


class LastingStream(io.TextIOBase):
    """A text stream that goes silent once it cannot be written.

    From then on its file descriptor leads to /dev/null, so what it still holds cannot fail later:
    Python flushes at its exit, and changes the exit status if it cannot.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the bytes."""
        return self._stream.encoding

    def fileno(self) -> int:
        """Of the stream."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        return self._stream.isatty()

    def write(self, text: str) -> int:
        """Writes ``text``, or does nothing."""
        with self._silent_when_gone():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Writes what is held back, or does nothing."""
        with self._silent_when_gone():
            self._stream.flush()

    def close(self) -> None:
        """Does nothing: whose the stream is may have closed it already."""

    @contextlib.contextmanager
    def _silent_when_gone(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            try:
                os.dup2(nowhere, self._stream.fileno())
            finally:
                os.close(nowhere)
