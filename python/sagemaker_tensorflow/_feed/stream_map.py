# SPDX-License-Identifier: Apache-2.0
"""Which object a byte of an epoch's stream came from."""

from __future__ import annotations

import bisect
import dataclasses
import zlib
from array import array

# Of an object's first bytes, so many tell whether it is compressed.
HEAD_BYTES = 512

_GZIP_OR_ZLIB_WINDOW_BITS = zlib.MAX_WBITS + 32
_GZIP_MAGIC = b"\x1f\x8b\x08"
_GZIP_RESERVED_FLAGS = 0xE0
_DEFLATE = 8
_MAX_ZLIB_METHOD = 0x78


@dataclasses.dataclass(frozen=True)
class Place:
    """A place in an epoch's objects.

    Attributes:
        index: Which object of the epoch, from 0.
        offset: Bytes of the stream between the object's begin and the place.
        is_end: Whether it is the end of the stream, which is not within any object.
    """

    index: int
    offset: int
    is_end: bool


class StreamMap:
    """Where each object of one epoch begins in the FIFO: 8 bytes of memory for each.

    It knows numbers alone; which object has which one follows from the order of the epoch. One
    thread writes it, and others may read when that has ended.
    """

    def __init__(self) -> None:
        self._starts = array("Q")
        self._end = 0
        self._is_whole = False
        # From here on, the bytes that a reader counts may be those that it has inflated.
        self._compressed_from: int | None = None

    def begin_object(self, position: int) -> None:
        """The next object begins at a byte of the stream."""
        self._starts.append(position)

    def look_at(self, head: bytes) -> None:
        """Takes the first ``HEAD_BYTES`` of what is sent of the object, or all if that is less."""
        if self._compressed_from is None and _is_compressed(head):
            self._compressed_from = self._starts[-1]

    def end(self, position: int, *, is_whole: bool) -> None:
        """No more comes; so many bytes were sent, and whether these are all."""
        self._end = position
        self._is_whole = is_whole

    def find(self, byte: int, *, as_sent: bool) -> Place | None:
        """Returns the place of a byte.

        Args:
            byte: From 0; the number of all bytes stands for the end of a whole epoch.
            as_sent: Whether ``byte`` is certain to count what was sent, and not what its reader has
                inflated.

        Returns:
            ``None`` if it cannot be told: it is not known to count what was sent, or no such byte
            was sent.
        """
        compressed_from = self._compressed_from
        if not as_sent and compressed_from is not None and byte > compressed_from:
            return None
        is_end = self._is_whole and byte == self._end
        if not self._starts or not (0 <= byte < self._end or is_end):
            return None
        # An object without bytes holds none, and has the same start as the next one.
        index = bisect.bisect_right(self._starts, byte - 1 if is_end and byte else byte) - 1
        return Place(index, byte - self._starts[index], is_end)


def _is_compressed(head: bytes) -> bool:
    """Whether an object begins like gzip, or like zlib, which takes a closer look."""
    if len(head) >= 4 and head.startswith(_GZIP_MAGIC):
        return not head[3] & _GZIP_RESERVED_FLAGS
    if len(head) < 2 or head[0] & 0x0F != _DEFLATE or head[0] > _MAX_ZLIB_METHOD:
        return False
    try:
        zlib.decompressobj(_GZIP_OR_ZLIB_WINDOW_BITS).decompress(head, HEAD_BYTES)
    except zlib.error:
        return False
    return True
