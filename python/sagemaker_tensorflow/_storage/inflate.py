# SPDX-License-Identifier: Apache-2.0
"""Inflates an object that is gzip."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from sagemaker_tensorflow._storage.objects import SourceError

if TYPE_CHECKING:
    from typing_extensions import Buffer

_GZIP_WINDOW_BITS = zlib.MAX_WBITS + 16
# A few bytes may inflate to very many: they come piece by piece.
_MAX_OUTPUT_BYTES = 1 << 20
# What zlib has not taken yet is copied at each call, so it is not given much at once.
_INPUT_BYTES = 1 << 17


def inflate(pieces: Iterable[Buffer], uri: str) -> Iterator[bytes]:
    """Yields the content of ``pieces``, any number of gzip members one after the other.

    Zeros after the last member are padding. No bytes at all are no members.

    Raises:
        SourceError: If it is not gzip, damaged, or ends within a member; it names ``uri``.
    """
    member = None
    members = 0
    for rest in _small(pieces):
        while rest:
            if member is None:
                rest = rest.lstrip(b"\0") if members else rest
                if not rest:
                    break
                member = zlib.decompressobj(_GZIP_WINDOW_BITS)
                members += 1
            try:
                inflated = member.decompress(rest, _MAX_OUTPUT_BYTES)
            except zlib.error as error:
                raise SourceError(
                    f"'{uri}' is not gzip, or damaged ({error}); without compression 'Gzip' "
                    "objects are sent as they are"
                ) from None
            if inflated:
                yield inflated
            if member.eof:
                rest, member = member.unused_data, None
            else:
                rest = member.unconsumed_tail
    if member is not None:
        raise SourceError(f"'{uri}' ends within a gzip member: it is truncated")


def _small(pieces: Iterable[Buffer]) -> Iterator[bytes]:
    for piece in pieces:
        view = memoryview(piece)
        for at in range(0, len(view), _INPUT_BYTES):
            yield bytes(view[at : at + _INPUT_BYTES])
