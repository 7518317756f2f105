# SPDX-License-Identifier: Apache-2.0
"""Writes the epochs of a channel into their FIFOs, small pieces at once, and counts what it takes.

The bytes themselves are moved by the ``ChannelWriter`` of the C++ core.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from sagemaker_tensorflow._feed.channel_progress import ProgressMeter
from sagemaker_tensorflow._feed.fifos import wait_until_closed
from sagemaker_tensorflow._feed.stop_signal import StopSignal
from sagemaker_tensorflow._native import ChannelWriter

if TYPE_CHECKING:
    from typing_extensions import Buffer

# What an unprivileged process may ask for; four to thirteen times as fast as the default of 64 KiB.
_PIPE_BYTES = 1 << 20
# What is smaller than the one is gathered until it would be more than the other.
_LARGE_BYTES = 1 << 16
_GATHER_BYTES = 1 << 18
# Of one call, so that progress shows in between.
_CALL_BYTES = 1 << 20


class ReaderClosedError(Exception):
    """The reader has closed the FIFO before the epoch's end, which it may."""


class FifoWriter:
    """The writing end of a channel: ``begin_epoch``, any number of writes, ``end_epoch``.

    Args:
        pipe_dir: Folder of the FIFOs; must exist.
        channel: Name of the channel.
        stop: Closes the FIFO, and ends every call with ``CancelledError`` or ``Stopped``.
        meter: Where bytes and waiting times are counted.
    """

    def __init__(self, pipe_dir: str, channel: str, stop: StopSignal, meter: ProgressMeter) -> None:
        self._writer = ChannelWriter(pipe_dir, channel, pipe_bytes=_PIPE_BYTES)
        self._path = ""
        self._stop = stop
        self._meter = meter
        self._gather = memoryview(bytearray(_GATHER_BYTES))
        self._gathered = 0
        stop.attach(self._cancel)

    @property
    def position(self) -> int:
        """How many bytes the epoch has so far, those that are gathered among them."""
        return self._writer.bytes_written + self._gathered

    def begin_epoch(self) -> None:
        """Makes the FIFO of the next epoch, from 0 on, and waits until a reader has opened it.

        Raises:
            PipeError: If the FIFO cannot be made.
        """
        self._path = self._writer.path
        self._gathered = 0
        self._meter.enter("waiting for the script")
        self._writer.begin_epoch()
        self._meter.begin_writing(self._writer)
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
            wanted = min(left, _CALL_BYTES)
            count = self._writer.write_file(source, wanted)
            if count is None:
                raise OSError(errno.EINVAL, "cannot be moved into a pipe")
            self._count(count)
            left -= count
            if count < wanted:
                break
        return size - left

    def flush(self) -> None:
        """Writes what is gathered.

        Raises:
            ReaderClosedError: If the reader has closed the FIFO.
        """
        if self._gathered:
            gathered, self._gathered = self._gathered, 0
            self._write_all(self._gather[:gathered])

    def end_epoch(self) -> None:
        """Ends the epoch for its reader."""
        self._meter.end_writing()
        self._writer.end_epoch()

    def wait_until_reader_is_done(self) -> None:
        """Waits, after ``end_epoch``, until nobody has the FIFO open any more.

        Raises:
            Stopped: When it is to stop.
        """
        self._meter.enter("waiting for the script")
        wait_until_closed(self._path, self._stop)

    def close(self) -> None:
        """Closes the FIFO wherever its epoch is."""
        self._meter.end_writing()
        self._stop.detach(self._cancel)
        self._writer.cancel()

    def _cancel(self) -> None:
        # The thread that stops us has other things to do, should a file hang.
        self._writer.cancel(wait=False)

    def _write_all(self, view: memoryview) -> None:
        while view:
            piece, view = view[:_CALL_BYTES], view[_CALL_BYTES:]
            before = self._writer.bytes_written
            self._writer.write(piece)
            self._count(self._writer.bytes_written - before)

    def _count(self, written: int) -> None:
        self._meter.add_bytes(written)
        if self._writer.reader_closed:
            raise ReaderClosedError
