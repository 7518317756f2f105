# SPDX-License-Identifier: Apache-2.0
"""Feeds a channel with records that a program makes, as ``testing.serve`` does."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from sagemaker_tensorflow._feed.fifos import wait_until_closed
from sagemaker_tensorflow._feed.stop_signal import Stopped, StopSignal
from sagemaker_tensorflow._feed.writer_process import WriterProcess
from sagemaker_tensorflow._formats.stream_encoder import StreamEncoder
from sagemaker_tensorflow._native import CancelledError, ChannelWriter, has_reader

if TYPE_CHECKING:
    from typing_extensions import Buffer

_LOG = logging.getLogger(__name__)
# Bytes to gather before they are handed to a writer.
_PIECE_BYTES = 1 << 20

Epoch = bytes | Iterable[bytes]
"""What one FIFO carries: records, or, as ``bytes``, the stream itself as it is."""

Channel = Iterable[Epoch] | Callable[[int], Epoch | None]
"""The epochs of a channel in order, or a function from epoch number to epoch, ``None`` at the end.

It is asked for an epoch when the one before it is over, in a thread of its own.
"""


@dataclasses.dataclass(frozen=True)
class EpochReport:
    """What became of one epoch.

    Attributes:
        channel: Name of the channel.
        epoch: Number of the epoch, from 0.
        path: Its FIFO.
        records: How many records were encoded for it, ``None`` for an epoch given as a stream. When
            the reader closed early, more than it has read.
        bytes: How many bytes were written into the FIFO.
        seconds: From the moment a reader opened the FIFO to the end of writing.
        reader_closed: Whether the reader closed it before everything was written.
    """

    channel: str
    epoch: int
    path: str
    records: int | None
    bytes: int
    seconds: float
    reader_closed: bool


class RecordFeeder(threading.Thread):
    """Feeds one channel, in a thread of its own, until its epochs are over or it is stopped.

    Args:
        channel: Name of the channel.
        epochs: What to send.
        make_encoder: Makes what encodes the records of an epoch.
        make_writer: Makes what writes an epoch of a channel into its FIFO.
        reports: Where what became of each epoch is added.

    Raises:
        TypeError: If ``epochs`` is one epoch.
    """

    def __init__(
        self,
        channel: str,
        epochs: Channel,
        make_encoder: Callable[[], StreamEncoder],
        make_writer: Callable[[str, int], ChannelWriter | WriterProcess],
        reports: list[EpochReport],
    ) -> None:
        # A daemon, so that a user's iterable that never returns cannot keep the process alive.
        super().__init__(name=f"pipe-mode-{channel}", daemon=True)
        if isinstance(epochs, bytes | str):
            raise TypeError(f"channel '{channel}': a list of epochs expected, not one epoch")
        self.error: BaseException | None = None
        self._channel = channel
        self._epochs = epochs
        self._make_encoder = make_encoder
        self._make_writer = make_writer
        self._reports = reports
        self._switch = StopSignal()

    def run(self) -> None:
        """Feeds."""
        try:
            for epoch, content in enumerate(self._contents()):
                if self._switch.is_set():
                    break
                self._serve(epoch, content)
        except BaseException as error:
            if not (isinstance(error, CancelledError | Stopped) and self._switch.is_set()):
                # The reader may wait long for what does not come: say now why.
                _LOG.error("channel '%s' is served no more: %r", self._channel, error)
                self.error = error

    def stop(self) -> None:
        """Makes the thread end soon, whatever it waits for."""
        self._switch.set()

    def join(self, timeout: float | None = None) -> None:
        """Waits for the end, as ``Thread.join`` does."""
        super().join(timeout)
        if not self.is_alive():
            self._switch.close()

    def _contents(self) -> Iterator[Epoch]:
        if not callable(self._epochs):
            yield from self._epochs
            return
        for epoch in itertools.count():
            content = self._epochs(epoch)
            if content is None:
                return
            yield content

    def _serve(self, epoch: int, content: Epoch) -> None:
        writer = self._make_writer(self._channel, epoch)
        self._switch.attach(writer.cancel)
        try:
            report = self._write(epoch, content, writer)
        finally:
            self._switch.detach(writer.cancel)
            writer.cancel()  # closes the FIFO, wherever the epoch is
        self._reports.append(report)
        wait_until_closed(report.path, self._switch)

    def _write(
        self, epoch: int, content: Epoch, writer: ChannelWriter | WriterProcess
    ) -> EpochReport:
        path = writer.path
        writer.begin_epoch()
        begun = time.perf_counter()
        records: int | None = None
        reader_closed = False
        try:
            for count, piece in self._pieces(content):
                records = count
                if not writer.write(piece):
                    break
            writer.end_epoch()
        except CancelledError:
            # The reader may have closed it early just before.
            reader_closed = not has_reader(path)
            if not reader_closed:
                raise
        return EpochReport(
            channel=self._channel,
            epoch=epoch,
            path=path,
            records=records,
            bytes=writer.bytes_written,
            seconds=time.perf_counter() - begun,
            reader_closed=reader_closed or writer.reader_closed,
        )

    def _pieces(self, content: Epoch) -> Iterator[tuple[int | None, Buffer]]:
        """Yields the stream in pieces, each with the number of records encoded so far."""
        if isinstance(content, bytes):
            yield None, content
            return
        # What is made as it is read may wait for what the reader does with the record before.
        piece_bytes = _PIECE_BYTES if isinstance(content, Sequence) else 1
        encoder = self._make_encoder()
        count = 0
        piece = bytearray()
        for record in content:
            piece += encoder.encode(record)
            count += 1
            if len(piece) >= piece_bytes:
                yield count, piece
                piece.clear()
        yield count, piece + encoder.finish()
