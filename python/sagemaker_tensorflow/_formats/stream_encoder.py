# SPDX-License-Identifier: Apache-2.0
"""Records as the bytes of a stream: framing by the C++ core, compression by Python's zlib."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from sagemaker_tensorflow._base import arguments
from sagemaker_tensorflow._native import InvalidArgumentError, encode

if TYPE_CHECKING:
    from typing_extensions import Buffer

DEFAULT_MAX_PART_BYTES = (1 << 29) - 1

# zlib's windowBits; 16 more asks for the gzip format. The header has no time in it: equal records
# make equal bytes.
_WINDOW_BITS = {"": None, "NONE": None, "GZIP": zlib.MAX_WBITS + 16, "ZLIB": zlib.MAX_WBITS}


class StreamEncoder:
    """Makes the bytes of one stream: ``encode`` for each record in turn, then ``finish``."""

    def __init__(
        self,
        record_format: str,
        *,
        compression_type: str | None = None,
        recordio_parts: str = "joined",
        recordio_max_part_bytes: int = DEFAULT_MAX_PART_BYTES,
    ) -> None:
        arguments.check(
            InvalidArgumentError,
            record_format=record_format,
            compression_type=compression_type,
            recordio_parts=recordio_parts,
            recordio_max_part_bytes=recordio_max_part_bytes,
        )
        self._record_format = record_format
        self._recordio_parts = recordio_parts
        self._recordio_max_part_bytes = recordio_max_part_bytes
        self._frame(b"")  # wrong arguments are errors now, and not at the first record
        name = compression_type or ""
        if name.upper() not in _WINDOW_BITS:
            raise InvalidArgumentError(
                f"compression_type '{name}' is not one of '' (none), 'GZIP', 'ZLIB'"
            )
        window_bits = _WINDOW_BITS[name.upper()]
        self._compressor = None if window_bits is None else zlib.compressobj(wbits=window_bits)

    def encode(self, record: Buffer) -> bytes:
        """Returns the bytes that are ready by now; with compression, these come late."""
        framed = self._frame(record)
        return framed if self._compressor is None else self._compressor.compress(framed)

    def cut(self) -> bytes:
        """Returns the bytes of all records so far, for a stream that is not to pass for whole."""
        return b"" if self._compressor is None else self._compressor.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        """Returns the rest of the stream."""
        return b"" if self._compressor is None else self._compressor.flush()

    def _frame(self, record: Buffer) -> bytes:
        return encode(
            record,
            self._record_format,
            recordio_parts=self._recordio_parts,
            recordio_max_part_bytes=self._recordio_max_part_bytes,
        )
