# SPDX-License-Identifier: Apache-2.0
"""Records of one object, whatever it is, through the C++ reader."""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from sagemaker_tensorflow._datatools.named_objects import DataObject
from sagemaker_tensorflow._formats.sniff import HEAD_BYTES, Encoding, sniff
from sagemaker_tensorflow._native import RecordReader

if TYPE_CHECKING:
    from typing_extensions import Buffer

BATCH_RECORDS = 1 << 16
BATCH_BYTES = 4 << 20
"""Limits of one ``read_batch``: few calls for small records, little memory for large ones."""


class Opened:
    """An object whose bytes can be looked at before its records are read. A context manager.

    Attributes:
        head: Its first bytes.
        content: The same without compression.
        encoding: How its records lie in it.
    """

    def __init__(
        self,
        data: DataObject,
        record_format: str | None = None,
        compression: str | None = None,
        recordio_parts: str = "joined",
    ) -> None:
        """Looks at the first bytes; waits for the writer of a FIFO.

        Args:
            data: The object.
            record_format: What the user says it is; ``None`` looks at the bytes.
            compression: The same; ``'NONE'`` is none.
            recordio_parts: As for ``RecordReader``; the bytes do not tell.
        """
        self._data = data
        self._recordio_parts = recordio_parts
        self._stack = contextlib.ExitStack()
        self._relay: _Relay | None = None
        if data.path is not None:
            with Path(data.path).open("rb") as file:
                self.head = file.read(HEAD_BYTES)
        else:
            with contextlib.ExitStack() as stack:
                self._relay = stack.enter_context(contextlib.closing(_Relay(data)))
                self.head = self._relay.wait_for_head()
                self._stack = stack.pop_all()
        found, self.content = sniff(self.head, compression)
        self.encoding = Encoding(record_format or found.record_format, found.compression)

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def assume(self, record_format: str) -> None:
        """Takes the records for such ones, whatever the bytes say."""
        self.encoding = Encoding(record_format, self.encoding.compression)

    def reader(self) -> RecordReader:
        """Returns the reader of the records; ``encoding`` must be known. To be called once.

        Reading it may raise what ``RecordReader`` raises; after that, and at its end, ask
        ``raise_source_error``.
        """
        path = self._relay.path if self._relay is not None else self._data.path or ""
        reader = RecordReader(
            path,
            self.encoding.record_format or "",
            compression_type=self.encoding.compression,
            recordio_parts=self._recordio_parts,
            read_timeout=None,
            name=self._data.name,
        )
        self._stack.enter_context(reader)
        return reader

    def raise_source_error(self) -> None:
        """Raises what went wrong while the object's bytes were fetched, if something did."""
        if self._relay is not None:
            self._relay.raise_error()


class _Relay:
    """Hands what is no file to the C++ reader, through a pipe that a thread fills."""

    def __init__(self, data: DataObject) -> None:
        if data.chunks is None:
            raise ValueError(f"{data.name}: no bytes")
        self._chunks = data.chunks
        self._error: BaseException | None = None
        self._head = b""
        self._head_is_ready = threading.Event()
        self._read_fd, self._write_fd = os.pipe()
        self.path = f"/dev/fd/{self._read_fd}"
        # A daemon, because a FIFO may have no writer for ever.
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._thread.start()

    def wait_for_head(self) -> bytes:
        self._head_is_ready.wait()
        self.raise_error()
        return self._head

    def raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Lets the thread see that nobody reads any more."""
        os.close(self._read_fd)

    def _run(self) -> None:
        try:
            with contextlib.closing(self._chunks()) as chunks:  # type: ignore[type-var]
                for chunk in chunks:
                    if not self._head_is_ready.is_set():
                        self._head += bytes(chunk)
                        if len(self._head) < HEAD_BYTES:
                            continue
                        chunk = self._head
                        self._head_is_ready.set()
                    self._write(chunk)
            if not self._head_is_ready.is_set():
                self._head_is_ready.set()
                self._write(self._head)
        except BrokenPipeError:
            pass
        except Exception as error:
            self._error = error
        finally:
            os.close(self._write_fd)
            self._head_is_ready.set()

    def _write(self, chunk: Buffer) -> None:
        rest = memoryview(chunk)
        while rest:
            rest = rest[os.write(self._write_fd, rest) :]
