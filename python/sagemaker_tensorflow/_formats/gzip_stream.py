# SPDX-License-Identifier: Apache-2.0
"""Gzip on several cores: one member, as every reader understands it.

The stream is compressed in blocks, each with the end of the block before it as dictionary, so
that they can be compressed at the same time and still make one deflate stream (RFC 1951).
"""

from __future__ import annotations

import zlib
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

GZIP_MAGIC = b"\x1f\x8b\x08"
"""What each member begins with: the magic number, and deflate as the method."""

_BLOCK_BYTES = 1 << 20
_WINDOW_BYTES = 1 << 15
# RFC 1952: no flags, no time (equal records make equal files), no level, Unix.
_HEADER = GZIP_MAGIC + b"\x00\x00\x00\x00\x00\x00\x03"
# An empty last block.
_LAST_BLOCK = b"\x03\x00"


class GzipStream:
    """Makes the bytes of one gzip stream: ``add`` for each piece in turn, then ``finish``.

    Both return what will become the next bytes; ``result()`` of each has to be taken in order.
    """

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._pending = bytearray()
        self._window = b""
        self._crc = 0
        self._size = 0
        self._begun = False

    def add(self, data: Buffer) -> list[Future[bytes]]:
        """Takes more of what is to be compressed."""
        self._pending += memoryview(data)
        futures = []
        while len(self._pending) >= _BLOCK_BYTES:
            futures.append(self._submit(bytes(self._pending[:_BLOCK_BYTES])))
            del self._pending[:_BLOCK_BYTES]
        return futures

    def finish(self) -> list[Future[bytes]]:
        """Ends the stream."""
        last = self._submit(bytes(self._pending))
        trailer: Future[bytes] = Future()
        trailer.set_result(
            _LAST_BLOCK
            + self._crc.to_bytes(4, "little")
            + (self._size & 0xFFFFFFFF).to_bytes(4, "little")
        )
        return [last, trailer]

    def _submit(self, block: bytes) -> Future[bytes]:
        self._crc = zlib.crc32(block, self._crc)
        self._size += len(block)
        header = b"" if self._begun else _HEADER
        self._begun = True
        future = self._executor.submit(_compress, header, block, self._window)
        self._window = block[-_WINDOW_BYTES:]
        return future


def _compress(header: bytes, block: bytes, window: bytes) -> bytes:
    """Returns ``header`` and the block as deflate blocks that end at a byte."""
    compressor = zlib.compressobj(wbits=-zlib.MAX_WBITS, zdict=window)
    return header + compressor.compress(block) + compressor.flush(zlib.Z_SYNC_FLUSH)
