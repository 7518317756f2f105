# SPDX-License-Identifier: Apache-2.0
"""The bytes of an epoch's objects, one after the other, fetched ahead where that takes time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from sagemaker_tensorflow._storage import local_files
from sagemaker_tensorflow._storage.objects import DataObject, Entry, Item, Reference, Value, is_file
from sagemaker_tensorflow._storage.read_ahead import InOrder, Wait, Work
from sagemaker_tensorflow._storage.store import Store

if TYPE_CHECKING:
    from typing_extensions import Buffer

_PIECE_BYTES = 1 << 20
_SMALL_BYTES = 1 << 16
# One request brings so much, so that several at once make a fast stream of a large object.
_MAX_PART_BYTES = 8 << 20
_MIN_PART_BYTES = 1 << 18
_PARTS_AHEAD = 8
_LOOK_UPS_AHEAD = 64


@dataclasses.dataclass(slots=True)
class Body:
    """The bytes of one object, or of one value of a manifest.

    Attributes:
        source: What it is of.
        pieces: The bytes, to be taken once; each piece is valid until the next one. A
            ``SourceError`` tells that there will be no more.
    """

    source: DataObject | Value
    pieces: Iterator[Buffer]


@dataclasses.dataclass(slots=True)
class _Part:
    source: DataObject | Value
    data: Buffer | None  # None: a file, which is read when it is its turn
    is_last: bool = True


class Bodies:
    """Iterates over the bodies of ``items``, in their order. Each is to be read before the next.

    Args:
        items: The epoch.
        store: Where they are.
        budget_bytes: How much is fetched ahead, about.
        wait: Called with what has not come yet; returns when it has.
    """

    def __init__(self, items: Iterable[Item], store: Store, budget_bytes: int, wait: Wait) -> None:
        self._store = store
        self._part_bytes = min(_MAX_PART_BYTES, max(_MIN_PART_BYTES, budget_bytes // _PARTS_AHEAD))
        entries = (entry for item in items for entry in item)
        self._sources: InOrder[DataObject | Value] = InOrder(
            map(self._look_up, entries), store.pool, _LOOK_UPS_AHEAD, wait
        )
        parts = (part for source in self._sources for part in self._parts(source))
        self._parts_ahead: InOrder[_Part] = InOrder(parts, store.pool, budget_bytes, wait)

    def fill(self) -> None:
        """Begins to fetch."""
        self._parts_ahead.fill()

    def close(self) -> None:
        """Drops what is not fetched yet."""
        self._parts_ahead.close()
        self._sources.close()

    def __iter__(self) -> Iterator[Body]:
        for part in self._parts_ahead:
            source = part.source
            if part.data is None and isinstance(source, DataObject):
                yield Body(source, _read_file(source))
            else:
                yield Body(source, self._join(part))

    def _look_up(self, entry: Entry) -> Work[DataObject | Value]:
        if isinstance(entry, Reference):
            return Work(partial(self._store.stat, entry), weight=1)
        return Work(lambda: entry, weight=0)

    def _parts(self, source: DataObject | Value) -> Iterator[Work[_Part]]:
        """Yields what there is to fetch of ``source``: one part at least."""
        if isinstance(source, Value):
            yield Work(partial(_Part, source, source.data), weight=0)
        elif is_file(source):
            yield Work(partial(_Part, source, None), weight=0)
        elif source.size == 0:
            yield Work(partial(_Part, source, b""), weight=0)
        else:
            for start in range(0, source.size, self._part_bytes):
                end = min(start + self._part_bytes, source.size)
                yield Work(partial(self._fetch, source, start, end), weight=end - start)

    def _fetch(self, source: DataObject, start: int, end: int) -> _Part:
        return _Part(source, self._store.read(source, start, end), is_last=end == source.size)

    def _join(self, part: _Part) -> Iterator[Buffer]:
        while True:
            if part.data is not None:
                yield part.data
            if part.is_last:
                return
            part = next(self._parts_ahead)


def _read_file(file: DataObject) -> Iterator[Buffer]:
    if file.size <= _SMALL_BYTES:
        yield local_files.read_small(file)
        return
    with local_files.opened(file) as descriptor:
        yield from local_files.read_pieces(descriptor, file, _PIECE_BYTES)
