# SPDX-License-Identifier: Apache-2.0
"""Feeds the files of a folder through FIFOs, as the service feeds the objects of a channel.

So one op reads both, with the same records and the same errors.
"""

from __future__ import annotations

import atexit
import gzip
import json
import logging
import os
import queue
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from sagemaker_tensorflow._native import CancelledError, ChannelWriter, encode

Treatment = Literal["as they are", "inflated", "wrapped"]
Framing = Literal["none", "words", "bytes"]

_LOG = logging.getLogger(__name__)
_PIECE_BYTES = 1 << 20


class FolderFeeder:
    """Feeds ``files`` in every epoch for as long as it lives.

    A FIFO is there before it is asked for, and the next one as soon as it is opened, so that
    several iterators may read at once, each a whole epoch.

    Args:
        channel: Name of the channel.
        settings: What ``inputdataconfig.json`` says of it.
        files: The objects, in order.
        treatment: ``'inflated'``: what is gzipped is sent inflated. ``'wrapped'``: each file is
            sent as one RecordIO record.
        framing: What shows that a stream is cut off: ``'none'``: nothing. ``'words'``: a length
            that is no multiple of 4, and in the midst of a frame nothing may be added, for that
            would be taken for data. ``'bytes'``: lengths and checksums.

    Attributes:
        folder: Base folder of a job that has this one channel, in Pipe mode.
    """

    def __init__(
        self,
        channel: str,
        settings: dict[str, Any],
        files: Sequence[Path],
        treatment: Treatment,
        framing: Framing,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pipemode-"))
        config = {channel: {**settings, "TrainingInputMode": "Pipe"}}
        (self.folder / "inputdataconfig.json").write_text(json.dumps(config), encoding="utf-8")
        epochs = _Epochs(self.folder, channel, files, treatment, framing)
        # A finalizer runs in any thread, in the midst of anything, with whatever locks that one
        # holds. So it must not wait, and to end what waits is left to a thread: put is made for it.
        let_go: queue.SimpleQueue[None] = queue.SimpleQueue()
        weakref.finalize(self, let_go.put, None).atexit = False
        epochs.serve_until(let_go)


class _Epochs:
    """The threads, one for each epoch that is being read, and one for the next."""

    def __init__(
        self,
        folder: Path,
        channel: str,
        files: Sequence[Path],
        treatment: Treatment,
        framing: Framing,
    ) -> None:
        self._folder = folder
        self._channel = channel
        self._files = files
        self._treatment = treatment
        self._framing = framing
        self._lock = threading.Lock()
        self._stopped = False
        self._writers: set[ChannelWriter] = set()
        self._process = os.getpid()

    def serve_until(self, let_go: queue.SimpleQueue[None]) -> None:
        """Serves all epochs, until something is put into ``let_go``, or Python ends."""
        atexit.register(self._end)
        self._start_thread("end", self._end_at, let_go)
        self._start(0)

    def _start_thread(self, name: str, target: Callable[..., None], argument: object) -> None:
        name = f"folder-{self._channel}-{name}"
        threading.Thread(target=target, args=(argument,), name=name, daemon=True).start()

    def _start(self, epoch: int) -> None:
        """Serves ``epoch`` in a thread of its own."""
        self._start_thread(str(epoch), self._serve, epoch)

    def _end_at(self, let_go: queue.SimpleQueue[None]) -> None:
        let_go.get()
        self._end()
        atexit.unregister(self._end)

    def _end(self) -> None:
        """Makes all threads end soon, whatever they wait for, and takes the folder away."""
        if os.getpid() != self._process:  # a forked child ends, without any of the threads
            return
        with self._lock:
            self._stopped = True
            for writer in self._writers:
                writer.cancel()
            self._writers.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _serve(self, epoch: int) -> None:
        while self._serve_one(epoch):
            epoch += 1
        if self._stopped:  # and a FIFO was made in that very moment, maybe
            shutil.rmtree(self._folder, ignore_errors=True)

    def _serve_one(self, epoch: int) -> bool:
        """Serves an epoch; returns whether the next one is still without a thread."""
        writer = ChannelWriter(self._folder, self._channel, first_epoch=epoch)
        with self._lock:
            if self._stopped:
                return False
            self._writers.add(writer)
        try:
            writer.begin_epoch()
            fifo = Path(writer.path)
            is_last = self._is_without_next(epoch)
            if not self._send(writer):
                return False
            writer.end_epoch()
            fifo.unlink(missing_ok=True)
        except CancelledError:
            return False
        except Exception:
            if not self._stopped:  # which takes the folder away
                _LOG.exception("channel '%s' is served no more", self._channel)
            return False  # the FIFO stays open: its end would be taken for that of the data
        with self._lock:
            self._writers.discard(writer)
        return is_last

    def _is_without_next(self, epoch: int) -> bool:
        """Starts the thread of the next epoch; returns whether that is not possible."""
        try:
            self._start(epoch + 1)
        except RuntimeError as error:
            _LOG.warning(
                "channel '%s': %s; its next epoch has to wait for the end of this one",
                self._channel,
                error,
            )
            return True
        return False

    def _send(self, writer: ChannelWriter) -> bool:
        """Sends all files; returns whether the FIFO may be closed."""
        for file in self._files:
            try:
                for piece in self._pieces(file):
                    if not writer.write(piece):
                        return True
            except CancelledError:
                raise
            except Exception:
                _LOG.exception("channel '%s': cannot read '%s' to its end", self._channel, file)
                if self._framing == "none":
                    return False  # its end would be taken for that of the data
                # The end that comes must not be that of a record.
                whole_words = writer.bytes_written % 4 == 0
                count = int(whole_words) if self._framing == "words" else 8
                writer.write(b"\xff" * count)
                return True
        return True

    def _pieces(self, path: Path) -> Iterator[bytes]:
        if self._treatment == "wrapped":
            yield encode(path.read_bytes(), "RecordIO")
            return
        inflate = self._treatment == "inflated" and has_gzip_header(path)
        with gzip.open(path) if inflate else path.open("rb") as file:
            # What comes before an error is data: read() would drop it.
            while piece := file.read1(_PIECE_BYTES):
                yield piece


def has_gzip_header(path: Path) -> bool:
    """Returns whether a file begins as gzip does."""
    with path.open("rb") as file:
        head = file.read(4)
    return head[:3] == b"\x1f\x8b\x08" and len(head) == 4 and head[3] & 0xE0 == 0
