# SPDX-License-Identifier: Apache-2.0
"""Writes one epoch into its FIFO.

``ChannelWriter`` of the C++ core does that, too, for tests and benchmarks. This one hands files on
without touching their bytes (splice), tells waiting from writing, and keeps the FIFO open when the
channel fails.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

from sagemaker_tensorflow._feed.channel_progress import ProgressMeter
from sagemaker_tensorflow._feed.stop_signal import StopSignal
from sagemaker_tensorflow._native import has_reader

if TYPE_CHECKING:
    from typing_extensions import Buffer

# What an unprivileged process may ask for; four to thirteen times as fast as the default of 64 KiB.
_PIPE_BYTES = 1 << 20
# What is smaller than the one is gathered until it would be more than the other.
_LARGE_BYTES = 1 << 16
_GATHER_BYTES = 1 << 18
_SPLICE_BYTES = 1 << 20

# A reader's open() and close() can only be found out by trying: often at first, where readers that
# go from epoch to epoch come, later so that it costs nothing.
_FIRST_LOOK_SECONDS = 0.001
_LAST_LOOK_SECONDS = 0.016


class ReaderClosedError(Exception):
    """The reader has closed the FIFO before the epoch's end, which it may."""


class FifoWriter:
    """The writing end of one FIFO.

    Args:
        path: The FIFO. It is made.
        stop: Ends every wait with ``Stopped``.
        meter: Where bytes and waiting times are counted.

    Raises:
        OSError: If the FIFO cannot be made.
    """

    def __init__(self, path: str, stop: StopSignal, meter: ProgressMeter) -> None:
        self._path = path
        self._stop = stop
        self._meter = meter
        self._descriptor = -1
        self._gather = memoryview(bytearray(_GATHER_BYTES))
        self._gathered = 0
        self._written = 0
        os.mkfifo(path, 0o600)

    @property
    def position(self) -> int:
        """How many bytes the epoch has so far, those that are gathered among them."""
        return self._written + self._gathered

    def open(self) -> None:
        """Waits until a reader has opened the FIFO."""
        self._meter.enter("waiting for the script")
        delay = _FIRST_LOOK_SECONDS
        while self._descriptor < 0:
            try:
                flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC
                self._descriptor = os.open(self._path, flags)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                self._stop.sleep(delay)
                delay = min(2 * delay, _LAST_LOOK_SECONDS)
        with contextlib.suppress(OSError):  # it works without, only slower
            fcntl.fcntl(self._descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        self._meter.enter("sending")

    def write(self, data: Buffer) -> None:
        """Writes ``data``, a little of it perhaps only with the next ``write`` or ``flush``.

        Raises:
            ReaderClosedError: If the reader has closed the FIFO.
        """
        view = memoryview(data)
        if len(view) >= _LARGE_BYTES:
            self.flush()
            self._write_all(view)
            return
        end = self._gathered + len(view)
        if end > _GATHER_BYTES:
            self.flush()
            end = len(view)
        self._gather[self._gathered : end] = view
        self._gathered = end

    def write_file(self, source: int, size: int) -> int:
        """Writes up to ``size`` bytes of a file, from its position on, without reading them.

        Returns:
            How many it were: fewer if the file ends before.

        Raises:
            ReaderClosedError: If the reader has closed the FIFO.
            OSError: If the file cannot be read; EINVAL: not in this way.
        """
        self.flush()
        left = size
        while left > 0:
            try:
                count = os.splice(
                    source,
                    self._descriptor,
                    min(left, _SPLICE_BYTES),
                    flags=os.SPLICE_F_NONBLOCK | os.SPLICE_F_MOVE,
                )
            except BlockingIOError:
                self._wait()
                continue
            except BrokenPipeError:
                raise ReaderClosedError from None
            if count == 0:
                break
            self._count(count)
            left -= count
        return size - left

    def flush(self) -> None:
        """Writes what is gathered.

        Raises:
            ReaderClosedError: If the reader has closed the FIFO.
        """
        if self._gathered:
            gathered, self._gathered = self._gathered, 0
            self._write_all(self._gather[:gathered])

    def close(self) -> None:
        """Ends the epoch for its reader."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def wait_until_reader_is_done(self) -> None:
        """Waits, after ``close``, until nobody has the FIFO open any more."""
        self._meter.enter("waiting for the script")
        delay = _FIRST_LOOK_SECONDS
        while has_reader(self._path):
            self._stop.sleep(delay)
            delay = min(2 * delay, _LAST_LOOK_SECONDS)

    def _write_all(self, view: memoryview) -> None:
        while view:
            try:
                count = os.write(self._descriptor, view)
            except BlockingIOError:
                self._wait()
                continue
            except BrokenPipeError:
                raise ReaderClosedError from None
            self._count(count)
            view = view[count:]

    def _count(self, written: int) -> None:
        self._written += written
        self._meter.add_bytes(written)

    def _wait(self) -> None:
        self._meter.enter("waiting for the script")
        self._stop.wait_writable(self._descriptor)
        self._meter.enter("sending")


def remove_fifos(pipe_dir: str, channel: str) -> None:
    """Removes all FIFOs of ``channel``, and nothing else.

    Raises:
        FileExistsError: If something else has the name of one.
    """
    for path in Path(pipe_dir).iterdir():
        name, _, epoch = path.name.rpartition("_")
        if name != channel or not epoch.isdecimal():
            continue
        if not path.is_fifo():
            raise FileExistsError(errno.EEXIST, "in the way of a FIFO", str(path))
        path.unlink()
