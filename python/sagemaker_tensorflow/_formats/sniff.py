# SPDX-License-Identifier: Apache-2.0
"""Tells record format and compression from the first bytes of a stream."""

from __future__ import annotations

import dataclasses
import zlib

from sagemaker_tensorflow._formats import recordio
from sagemaker_tensorflow._formats.gzip_stream import GZIP_MAGIC
from sagemaker_tensorflow._native import encode

HEAD_BYTES = 1 << 16
"""How many bytes are looked at."""

_TFRECORD_HEADER_BYTES = 12
_WINDOW_BITS = {"GZIP": zlib.MAX_WBITS + 16, "ZLIB": zlib.MAX_WBITS}
# A length that nobody doubts, for a TFRecord whose first checksum is damaged.
_PLAUSIBLE_LENGTH = 1 << 30
# Text holds no control characters but tab, newline, form feed, return and escape.
_NOT_TEXT = frozenset(range(32)) - frozenset(b"\t\n\f\r\x1b") | {0x7F}


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How records lie in a stream.

    Attributes:
        record_format: ``'TFRecord'``, ``'RecordIO'`` or ``'TextLine'``; ``None`` if it is none of
            them, or if there are no bytes that could tell.
        compression: ``'GZIP'``, ``'ZLIB'`` or ``None``.
    """

    record_format: str | None
    compression: str | None


def sniff(head: bytes, compression: str | None = None) -> tuple[Encoding, bytes]:
    """Returns how the stream that begins with ``head`` is to be read, and what is in it.

    Args:
        head: The first ``HEAD_BYTES`` bytes, fewer only if the stream has no more.
        compression: What the user says it is, ``'NONE'`` for none; ``None`` looks at the bytes.

    Returns:
        The encoding, and the first bytes without compression; none of them if they are damaged.
    """
    if compression is None:
        compression = _compression(head)
    if compression == "NONE":
        return Encoding(_format(head), None), head
    content = _inflate(head, _WINDOW_BITS[compression])
    return Encoding(_format(content), compression), content


def _compression(head: bytes) -> str:
    # A TFRecord's header has a checksum, so it goes first: no other guess is as sure.
    if _begins_with_tfrecord(head):
        return "NONE"
    if head.startswith(GZIP_MAGIC):
        return "GZIP"
    return "ZLIB" if _may_be_zlib(head) and _inflate(head, zlib.MAX_WBITS) else "NONE"


def _format(head: bytes) -> str | None:
    if _begins_with_tfrecord(head):
        return "TFRecord"
    if head.startswith(recordio.MAGIC):
        return "RecordIO"
    if _begins_with_damaged_tfrecord(head):
        return "TFRecord"
    return "TextLine" if head and _is_text(head) else None


def _masked_crc(data: bytes) -> bytes:
    # A TFRecord ends with this of its payload.
    return encode(data, "TFRecord")[-4:]


def _begins_with_tfrecord(head: bytes) -> bool:
    if len(head) < _TFRECORD_HEADER_BYTES:
        return False
    return _masked_crc(head[:8]) == head[8:12]


def _begins_with_damaged_tfrecord(head: bytes) -> bool:
    """Whether only the checksum of the first length is wrong, and that of the payload is right."""
    length = int.from_bytes(head[:8], "little")
    end = _TFRECORD_HEADER_BYTES + length
    if length > _PLAUSIBLE_LENGTH or len(head) < end + 4:
        return False
    return _masked_crc(head[_TFRECORD_HEADER_BYTES:end]) == head[end : end + 4]


def _may_be_zlib(head: bytes) -> bool:
    """The header of RFC 1950: deflate, a window of at most 32 KiB, a multiple of 31."""
    return (
        len(head) >= 2
        and head[0] & 0x0F == 8
        and head[0] >> 4 <= 7
        and int.from_bytes(head[:2], "big") % 31 == 0
    )


def _inflate(head: bytes, window_bits: int) -> bytes:
    """Returns what ``head`` begins with, inflated; what is damaged is left to the reader."""
    decompressor = zlib.decompressobj(window_bits)
    try:
        inflated = decompressor.decompress(head, HEAD_BYTES)
        # Objects may begin with empty members, which make no bytes.
        while not inflated and decompressor.eof and decompressor.unused_data:
            rest = decompressor.unused_data
            decompressor = zlib.decompressobj(window_bits)
            inflated = decompressor.decompress(rest, HEAD_BYTES)
    except zlib.error:
        return b""
    return inflated


def _is_text(head: bytes) -> bool:
    """Whatever its encoding, UTF-16 excepted, which no reader of lines could cut."""
    return _NOT_TEXT.isdisjoint(head)
