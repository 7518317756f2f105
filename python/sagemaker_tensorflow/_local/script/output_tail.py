# SPDX-License-Identifier: Apache-2.0
"""Passes a script's output on as it is, and keeps the end of it: a script's last words."""

from __future__ import annotations

import contextlib
import os
import select
import threading

from sagemaker_tensorflow._feed.stop_signal import Stopped, StopSignal

_PIECE_BYTES = 1 << 16
_TAIL_BYTES = 1 << 18
_CLOSE_SECONDS = 1.0


class OutputTail:
    """Stands between a script and where its standard output and standard error go.

    A terminal is left to the script, which may ask whether it is one. Where both go to the same
    place they go through the same pipe, so that what is written one after the other arrives so.

    Args:
        output: File descriptors for both; ``None``: ours.

    Attributes:
        output: What the script is to get in their place.
    """

    def __init__(self, output: tuple[int | None, int | None]) -> None:
        targets = [number if given is None else given for number, given in enumerate(output, 1)]
        self._streams: list[_Stream] = []
        passed: list[int | None] = []
        for given, target in zip(output, targets, strict=True):
            if not _is_for_us(target):
                passed.append(given)
            elif passed and self._streams and _are_same(*targets):
                passed.append(passed[0])
            else:
                self._streams.append(_Stream(target))
                passed.append(self._streams[-1].write_end)
        self.output = (passed[0], passed[1])

    def __enter__(self) -> OutputTail:
        return self

    def __exit__(self, *_: object) -> None:
        self.begin()
        self.finish(_CLOSE_SECONDS)

    def begin(self) -> None:
        """Passes on, from when the script has been given ``output``."""
        for stream in self._streams:
            stream.begin()

    def finish(self, seconds: float | None = None) -> None:
        """Waits until all is passed on, after the end of the script; so long at most."""
        for stream in self._streams:
            stream.finish(seconds)

    def text(self) -> str:
        """Returns the last of what was passed on so far."""
        return "\n".join(stream.tail() for stream in self._streams)


class _Stream:
    def __init__(self, target: int) -> None:
        # A copy, which stays open for as long as it is needed.
        self._target = os.dup(target)
        self._read_end, self.write_end = os.pipe()
        self._tail = bytearray()
        self._lock = threading.Lock()
        self._ended = StopSignal()
        # A daemon, for what is at the other end of the target may never take it.
        self._thread = threading.Thread(target=self._run, name="pipemode-output", daemon=True)

    def begin(self) -> None:
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1
            self._thread.start()

    def finish(self, seconds: float | None) -> None:
        self._ended.set()
        self._thread.join(seconds)
        if not self._thread.is_alive():
            self._ended.close()

    def tail(self) -> str:
        with self._lock:
            return self._tail[-_TAIL_BYTES:].decode(errors="replace")

    def _run(self) -> None:
        try:
            while piece := self._read():
                with self._lock:
                    self._tail += piece
                    if len(self._tail) > 2 * _TAIL_BYTES:
                        del self._tail[:-_TAIL_BYTES]
                self._write(piece)
        except BrokenPipeError:
            pass  # the script is to be told the same when it writes again
        finally:
            os.close(self._read_end)
            os.close(self._target)

    def _read(self) -> bytes:
        """Waits for output; returns none at its end, or when there is none after the script's."""
        with contextlib.suppress(Stopped):
            self._ended.wait_readable(self._read_end)
        # The pipe may never end: something that is not the script's may have been given it.
        if self._ended.is_set() and not _is_ready(self._read_end, select.POLLIN, 0):
            return b""
        return os.read(self._read_end, _PIECE_BYTES)

    def _write(self, piece: bytes) -> None:
        """Passes a piece on; drops it if it cannot be written, as on a disk that is full.

        Raises:
            BrokenPipeError: If what it goes to is not read any more.
        """
        view = memoryview(piece)
        while view:
            try:
                view = view[os.write(self._target, view) :]
            except BlockingIOError:  # somebody has made it so
                _is_ready(self._target, select.POLLOUT, None)
            except BrokenPipeError:
                raise
            except OSError:
                return


def _is_ready(descriptor: int, event: int, milliseconds: int | None) -> bool:
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(milliseconds))


def _is_for_us(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:  # it is closed, and is to be so for the script
        return False
    return not os.isatty(descriptor)


def _are_same(one: int, other: int) -> bool:
    return os.path.samestat(os.fstat(one), os.fstat(other))
