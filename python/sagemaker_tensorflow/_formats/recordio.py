# SPDX-License-Identifier: Apache-2.0
"""The frame of a RecordIO record, as MXNet defines it: magic number, length, payload, padding.

``encode`` of the C++ core frames records that are in memory. Here is what those need that send a
record while it is read.
"""

from __future__ import annotations

import struct

MAGIC = b"\x0a\x23\xd7\xce"
"""What each record begins with: 0xCED7230A in little-endian order."""

MAX_PAYLOAD_BYTES = (1 << 29) - 1
"""The length has 29 bits."""

_HEADER = struct.Struct("<4sI")
_ALIGNMENT = 4

HEADER_BYTES = _HEADER.size


def header(payload_bytes: int) -> bytes:
    """Returns what goes before a payload of at most ``MAX_PAYLOAD_BYTES``."""
    return _HEADER.pack(MAGIC, payload_bytes)


def padding(payload_bytes: int) -> bytes:
    """Returns what goes after the payload: zeros, up to a multiple of four bytes."""
    return bytes(-payload_bytes % _ALIGNMENT)
