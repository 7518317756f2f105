# SPDX-License-Identifier: Apache-2.0
"""Feeds the files of a folder through FIFOs, as the service feeds the objects of a channel.

So one op reads both, with the same records and the same errors.
"""

from __future__ import annotations

import gzip
import json
import logging
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from sagemaker_tensorflow._native import CancelledError, ChannelWriter, encode

Treatment = Literal["as they are", "inflated", "wrapped"]

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
        framed: Whether the records' format shows where a stream is cut off.

    Attributes:
        folder: Base folder of a job that has this one channel, in Pipe mode.
    """

    def __init__(
        self,
        channel: str,
        settings: dict[str, Any],
        files: Sequence[Path],
        treatment: Treatment,
        framed: bool,
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="pipemode-")
        self.folder = Path(self._temporary.name)
        config = {channel: {**settings, "TrainingInputMode": "Pipe"}}
        (self.folder / "inputdataconfig.json").write_text(json.dumps(config), encoding="utf-8")
        epochs = _Epochs(self.folder, channel, files, treatment, framed)
        weakref.finalize(self, epochs.stop)
        epochs.start(0)


class _Epochs:
    """The threads, one for each epoch that is being read, and one for the next."""

    def __init__(
        self, folder: Path, channel: str, files: Sequence[Path], treatment: Treatment, framed: bool
    ) -> None:
        self._folder = folder
        self._channel = channel
        self._files = files
        self._treatment = treatment
        self._framed = framed
        self._lock = threading.Lock()
        self._stopped = False
        self._writers: set[ChannelWriter] = set()

    def start(self, epoch: int) -> None:
        writer = ChannelWriter(self._folder, self._channel, first_epoch=epoch)
        with self._lock:
            if self._stopped:
                return
            self._writers.add(writer)
        name = f"folder-{self._channel}-{epoch}"
        threading.Thread(target=self._serve, args=(writer, epoch), name=name, daemon=True).start()

    def stop(self) -> None:
        """Makes all threads end soon, whatever they wait for."""
        with self._lock:
            self._stopped = True
            for writer in self._writers:
                writer.cancel()
            self._writers.clear()

    def _serve(self, writer: ChannelWriter, epoch: int) -> None:
        try:
            writer.begin_epoch()
            path = Path(writer.path)
            self.start(epoch + 1)
            try:
                for piece in self._pieces():
                    if not writer.write(piece):
                        break
            except CancelledError:
                raise
            except Exception:
                _LOG.exception("channel '%s' cannot be read to its end", self._channel)
                if not self._framed:
                    return  # the FIFO stays open: its end would be taken for that of the data
                writer.write(b"\xff")  # less than a record, so that the end is data loss
            writer.end_epoch()
            path.unlink(missing_ok=True)
        except CancelledError:
            return
        except Exception:
            if not self._stopped:  # which takes the folder away
                _LOG.exception("channel '%s' is served no more", self._channel)
        with self._lock:
            self._writers.discard(writer)

    def _pieces(self) -> Iterator[bytes]:
        for path in self._files:
            if self._treatment == "wrapped":
                yield encode(path.read_bytes(), "RecordIO")
                continue
            inflate = self._treatment == "inflated" and has_gzip_header(path)
            with gzip.open(path) if inflate else path.open("rb", buffering=0) as file:
                while piece := file.read(_PIECE_BYTES):
                    yield piece


def has_gzip_header(path: Path) -> bool:
    """Returns whether a file begins as gzip does."""
    with path.open("rb") as file:
        head = file.read(4)
    return head[:3] == b"\x1f\x8b\x08" and len(head) == 4 and head[3] & 0xE0 == 0
