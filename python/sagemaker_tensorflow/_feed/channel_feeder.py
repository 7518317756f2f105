# SPDX-License-Identifier: Apache-2.0
"""Feeds one channel, as the service does: FIFO after FIFO, or a folder of files."""

from __future__ import annotations

import contextlib
import errno
import functools
import itertools
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from sagemaker_tensorflow._feed.channel import Channel, ChannelError
from sagemaker_tensorflow._feed.channel_progress import ChannelProgress, ProgressMeter
from sagemaker_tensorflow._feed.epoch_order import epoch_items
from sagemaker_tensorflow._feed.fifo_writer import FifoWriter, ReaderClosedError
from sagemaker_tensorflow._feed.fifos import remove_fifos
from sagemaker_tensorflow._feed.file_mode import lay_out
from sagemaker_tensorflow._feed.stop_signal import Stopped, StopSignal
from sagemaker_tensorflow._feed.stream_map import HEAD_BYTES, StreamMap
from sagemaker_tensorflow._formats import recordio
from sagemaker_tensorflow._native import PipeError
from sagemaker_tensorflow._storage import local_files
from sagemaker_tensorflow._storage.bodies import Bodies, Body
from sagemaker_tensorflow._storage.inflate import inflate
from sagemaker_tensorflow._storage.objects import (
    DataObject,
    Item,
    Reference,
    SourceError,
    Value,
    is_file,
)
from sagemaker_tensorflow._storage.store import Store

__all__ = ["ChannelFeeder", "ChannelProgress"]

DEFAULT_READ_AHEAD_BYTES = 64 << 20

_UNLIKELY_BEGINS = ("_", ".")
# A reader fails in the epoch that is being sent; its script may end after the next ones have begun.
_EPOCHS_MAPPED = 3
# An object that is cut short is inflated on into the next one, until that shows.
_INFLATED_PAST_AN_END_BYTES = 1 << 16

_LOG = logging.getLogger(__name__)
_JOIN_SECONDS = 10.0
_SPLICE_BYTES = 1 << 16


class ChannelFeeder:
    """Feeds one channel of one host.

    In Pipe mode, a thread makes ``<pipe_dir>/<name>_0``, writes the epoch into it as soon as a
    reader opens it, waits until that reader has closed it, and goes on with the next epoch, until
    ``stop``.

    When an object fails for good, the FIFO stays open and nothing more is written: its reader waits
    and never takes it for the end of the epoch. ``error`` tells what happened; whoever runs the
    script has to end it, then calls ``stop``.

    Args:
        channel: What to feed.
        pipe_dir: Folder of the FIFOs and of the channels' folders; must exist.
        host_index: Which host of a job this is, from 0.
        host_count: How many there are.
        read_ahead_bytes: How much of what is in S3 is fetched ahead, about.
    """

    def __init__(
        self,
        channel: Channel,
        pipe_dir: str,
        *,
        host_index: int = 0,
        host_count: int = 1,
        read_ahead_bytes: int = DEFAULT_READ_AHEAD_BYTES,
    ) -> None:
        self.error: Exception | None = None
        self._channel = channel
        self._pipe_dir = pipe_dir
        self._host_index = host_index
        self._host_count = host_count
        self._read_ahead_bytes = read_ahead_bytes
        self._stop = StopSignal()
        self._meter = ProgressMeter()
        self._store = Store(f"fetch-{channel.name}")
        self._items: Sequence[Item] = ()
        self._map = StreamMap()
        self._maps: dict[int, StreamMap] = {}
        # Of this epoch. What is in the pipe of a file is still the file's own memory.
        self._spliced: list[DataObject] = []
        self._thread: threading.Thread | None = None

    def prepare(self) -> None:
        """Finds the objects; in File and FastFile mode, lays out the folder.

        FIFOs of an earlier job in ``pipe_dir`` are removed.

        Raises:
            ChannelError: If the channel cannot be fed, whatever the reason; it says what to change.
        """
        channel = self._channel
        self._meter.enter("waiting for the source")
        try:
            self._items = self._store.items(channel.uri, channel.data_type, channel.attribute_names)
            if channel.mode == "Pipe":
                self._check_sizes()
                remove_fifos(self._pipe_dir, [channel.name])
                self._meter.enter("waiting for the script")
                return
            items = self._epoch_items(0)
            self._meter.begin_epoch(0, self._total_bytes(items))
            lay_out(
                Path(self._pipe_dir) / channel.name,
                items,
                Bodies(items, self._store, self._read_ahead_bytes, self._stop.wait_for),
                self._meter,
                link_files=channel.mode == "FastFile",
            )
            self._meter.end_epoch(closed_early=False)
            self._meter.enter("stopped")
        except (SourceError, OSError) as error:
            raise ChannelError(channel.name, str(error)) from None

    def start(self) -> None:
        """Begins to feed the FIFOs, in a thread; nothing in the other modes.

        Raises:
            RuntimeError: Before ``prepare``, or a second time.
        """
        if not self._items or self._thread is not None:
            raise RuntimeError("start() comes once, after prepare()")
        if self._channel.mode == "Pipe":
            # A daemon, so that a file system that hangs does not keep the process.
            self._thread = threading.Thread(
                target=self._run, name=f"feed-{self._channel.name}", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Ends the feeding wherever it is, and removes the FIFOs.

        A script that still reads would take that for the end of the epoch: end it first. ``error``
        may tell afterwards that a file has changed under its reader.
        """
        self._stop.set()
        thread = self._thread
        if thread is not None:
            thread.join(_JOIN_SECONDS)
        self._store.close()  # nobody asks it for anything any more
        if thread is not None and thread.is_alive():
            _LOG.warning("channel '%s': reading its data hangs", self._channel.name)
            return
        self._stop.close()
        try:
            self._check_spliced()
        except SourceError as error:
            self.error = self.error or ChannelError(self._channel.name, str(error))
        if self._channel.mode == "Pipe":
            with contextlib.suppress(OSError):  # the script may have done anything to the folder
                remove_fifos(self._pipe_dir, [self._channel.name])

    def unlikely_data(self) -> list[str]:
        """Returns the names of objects that are sent, but by their names may not be data.

        These begin with ``_`` or ``.``, or are in a folder whose name does: so Spark and Hadoop
        name what they put beside data (``_SUCCESS``, ``.part-0.crc``, ``_temporary/0``). Objects
        that add nothing to the stream are left out, and so are those that a manifest names: they
        are wanted.
        """
        if self._channel.mode != "Pipe" or self._channel.data_type != "S3Prefix":
            return []
        is_sent = self._channel.record_wrapper == "RecordIO"  # without a byte, too
        return [
            entry.name
            for item in self._items
            for entry in item
            if isinstance(entry, DataObject)
            and (entry.size or is_sent)
            and any(part.startswith(_UNLIKELY_BEGINS) for part in entry.name.split("/"))
        ]

    def snapshot(self) -> ChannelProgress:
        """Returns how far the channel is. Cheap, and safe in any thread."""
        return self._meter.snapshot()

    def locate(self, epoch: int, byte: int, *, is_compressed: bool) -> str | None:
        """Says, after ``stop``, where in the data set a byte of an epoch's stream comes from.

        Args:
            epoch: From 0.
            byte: From 0; the length of the stream stands for its end.
            is_compressed: Whether its reader could not inflate the stream near this byte. Else, of
                a stream that is compressed, the byte may be one of what the reader has inflated.

        Returns:
            Words for what the byte is; ``None`` if it cannot be told.
        """
        if epoch not in self._maps:
            return None
        place = self._maps[epoch].find(byte, as_sent=is_compressed)
        if place is None:
            return None
        items = self._epoch_items(epoch)
        first = max(place.index - 1, 0)
        entries = itertools.islice(itertools.chain.from_iterable(items), first, place.index + 1)
        *before, source = entries
        content = source.uri
        if self._channel.compression == "Gzip" and not isinstance(source, Value):
            content = f"what {source.uri} inflates to"
        noun = "value" if self._channel.data_type == "AugmentedManifestFile" else "object"
        which = f"({noun} {place.index + 1:,} of {sum(map(len, items)):,})"
        if place.is_end:
            return f"the end of {content} {which}"
        if self._channel.record_wrapper == "RecordIO":
            return f"in the record that holds {content} {which}"
        words = f"byte {place.offset} of {content} {which}"
        if is_compressed and before and place.offset < _INFLATED_PAST_AN_END_BYTES:
            words += f"; if {before[0].uri}, which comes before it, is cut short, that shows here"
        return words

    def _run(self) -> None:
        fifo = FifoWriter(self._pipe_dir, self._channel.name, self._stop, self._meter)
        try:
            for epoch in itertools.count():
                self._feed(epoch, fifo)
        except Exception as error:
            if self._stop.is_set():  # whatever that broke
                self._meter.enter("stopped")
            else:
                self._fail(error)
        finally:
            fifo.close()

    def _fail(self, error: Exception) -> None:
        self._meter.enter("failed")
        if isinstance(error, SourceError | OSError | PipeError):
            self.error = ChannelError(self._channel.name, str(error))
        else:
            _LOG.error("channel '%s' failed", self._channel.name, exc_info=error)
            self.error = error
        with contextlib.suppress(Stopped):
            self._stop.sleep(None)

    def _feed(self, epoch: int, fifo: FifoWriter) -> None:
        items = self._epoch_items(epoch)
        self._meter.begin_epoch(epoch, self._total_bytes(items))
        self._map = self._maps[epoch] = StreamMap()
        self._maps.pop(epoch - _EPOCHS_MAPPED, None)
        bodies = Bodies(
            items, self._store, self._read_ahead_bytes, functools.partial(self._wait_for, fifo)
        )
        is_whole = False
        try:
            bodies.fill()
            fifo.begin_epoch()
            for body in bodies:
                self._send(body, fifo)
            fifo.flush()
            is_whole = True
        except ReaderClosedError:
            pass
        finally:
            bodies.close()
            self._map.end(fifo.position, is_whole=is_whole)
        fifo.end_epoch()
        self._meter.end_epoch(closed_early=not is_whole)
        fifo.wait_until_reader_is_done()
        self._check_spliced()

    def _check_spliced(self) -> None:
        spliced, self._spliced = self._spliced, []
        for file in spliced:
            local_files.check_untouched(file)

    def _send(self, body: Body, fifo: FifoWriter) -> None:
        source = body.source
        self._meter.begin_object(source.uri)
        self._map.begin_object(fifo.position)
        pieces, size = body.pieces, source.size
        compressed = self._channel.compression == "Gzip" and isinstance(source, DataObject)
        wrapped = self._channel.record_wrapper == "RecordIO"
        if compressed:
            pieces = self._awaited(inflate(pieces, source.uri))
            if wrapped:  # the length comes first
                content = b"".join(pieces)
                pieces, size = iter([content]), len(content)
        if wrapped:
            _check_record_size(source.uri, size)
            fifo.write(recordio.header(size))
        is_sent = False
        # Smaller files are read and gathered: handing each one on by itself costs more.
        if size >= _SPLICE_BYTES and not compressed and is_file(source):
            is_sent = self._send_file(source, fifo)
        if not is_sent:
            for number, piece in enumerate(pieces):
                if number == 0 and not wrapped:
                    self._map.look_at(bytes(memoryview(piece)[:HEAD_BYTES]))
                fifo.write(piece)
        if wrapped:
            fifo.write(recordio.padding(size))
        self._meter.end_object()

    def _send_file(self, file: DataObject, fifo: FifoWriter) -> bool:
        """Hands a file on as it is; returns whether that is possible."""
        with local_files.opened(file) as descriptor:
            self._spliced.append(file)
            try:
                if self._channel.record_wrapper == "None":
                    self._map.look_at(os.pread(descriptor, HEAD_BYTES, 0))
                if fifo.write_file(descriptor, file.size) < file.size:
                    raise local_files.changed(file)
            except OSError as error:
                if error.errno != errno.EINVAL:  # a file system that cannot
                    raise SourceError(f"'{file.uri}': {error.strerror}") from None
                return False
        return True

    def _awaited(self, source: Iterable[Any]) -> Iterator[Any]:
        """Yields what ``source`` does, and counts the time that it takes."""
        iterator = iter(source)
        while True:
            self._meter.enter("waiting for the source")
            try:
                value = next(iterator)
            except StopIteration:
                return
            finally:
                self._meter.enter("sending")
            yield value

    def _wait_for(self, fifo: FifoWriter, future: Future[Any]) -> None:
        fifo.flush()
        self._meter.enter("waiting for the source")
        self._stop.wait_for(future)
        self._meter.enter("sending")

    def _epoch_items(self, epoch: int) -> Sequence[Item]:
        return epoch_items(
            self._items,
            epoch,
            shuffle_seed=self._channel.shuffle_seed,
            sharded=self._channel.distribution == "ShardedByS3Key",
            host_index=self._host_index,
            host_count=self._host_count,
        )

    def _total_bytes(self, items: Sequence[Item]) -> int | None:
        """Returns how many bytes go into the FIFO, if that is known before."""
        total = 0
        for item in items:
            for entry in item:
                if isinstance(entry, Reference):
                    return None
                if isinstance(entry, DataObject) and self._channel.compression == "Gzip":
                    return None
                total += entry.size
                if self._channel.record_wrapper == "RecordIO":
                    total += recordio.HEADER_BYTES + len(recordio.padding(entry.size))
        return total

    def _check_sizes(self) -> None:
        if self._channel.record_wrapper == "RecordIO" and self._channel.compression == "None":
            for item in self._items:
                for entry in item:
                    if not isinstance(entry, Reference):
                        _check_record_size(entry.uri, entry.size)


def _check_record_size(uri: str, size: int) -> None:
    if size > recordio.MAX_PAYLOAD_BYTES:
        raise SourceError(
            f"'{uri}' has {size:,} bytes, and a RecordIO record holds less than 2^29: split it, or "
            "send it without record wrapper 'RecordIO'"
        )
