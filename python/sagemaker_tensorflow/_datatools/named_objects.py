# SPDX-License-Identifier: Apache-2.0
"""The objects behind what a user names: files, folders, globs, FIFOs, S3 prefixes."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sagemaker_tensorflow._storage import local_files
from sagemaker_tensorflow._storage.bodies import Bodies, Body
from sagemaker_tensorflow._storage.objects import DataObject as Listed
from sagemaker_tensorflow._storage.objects import SourceError, is_s3
from sagemaker_tensorflow._storage.store import Store

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["DataObject", "SourceError", "find"]

_READ_BYTES = 1 << 20
_READ_AHEAD_BYTES = 64 << 20


@dataclasses.dataclass(frozen=True)
class DataObject:
    """One object: what a channel sends as one piece.

    Attributes:
        name: What a user calls it; text that can be printed.
        size: In bytes; ``None`` if that is not known before it is read.
        path: Of a regular file that can be read more than once, else ``None``.
        chunks: Yields the bytes of what is no regular file; each is valid until the next one.
    """

    name: str
    size: int | None
    path: str | None = None
    chunks: Callable[[], Iterator[Buffer]] | None = None

    @property
    def is_fifo(self) -> bool:
        """Whether reading it takes it away from whoever else waits for it."""
        return self.size is None

    def last_byte(self) -> bytes:
        """Returns the last byte of a regular file, or nothing if it is empty."""
        with Path(self.path or os.devnull).open("rb") as file:
            if file.seek(0, os.SEEK_END) == 0:
                return b""
            file.seek(-1, os.SEEK_END)
            return file.read(1)


def find(names: Iterable[str], stack: contextlib.ExitStack) -> list[DataObject]:
    """Returns the objects behind ``names``, in the order in which a channel sends those of each.

    Args:
        names: Files, folders (all files below them), globs, FIFOs, ``file://`` and ``s3://`` URIs.
        stack: Is to be closed when they are read.

    Raises:
        SourceError: If there are none, or they cannot be listed.
    """
    store = Store("inspect")
    stack.callback(store.close)
    return [found for name in names for found in _find(name, store)]


def _find(name: str, store: Store) -> list[DataObject]:
    path = None if is_s3(name) else local_files.local_path(name)
    if path is not None and path.is_fifo():
        return [DataObject(_printable(name), None, chunks=lambda: _fifo_chunks(path))]
    listed = [cast(Listed, item[0]) for item in store.items(name)]
    if path is None:
        objects = _S3Objects(listed, store)
        return [
            DataObject(one.uri, one.size, chunks=functools.partial(objects.chunks, number))
            for number, one in enumerate(listed)
        ]
    # As absolute or relative as the user writes them.
    is_relative = not name.removeprefix("file://").startswith("/")
    return [
        DataObject(
            _printable(os.path.relpath(one.uri) if is_relative else one.uri),
            one.size,
            path=one.uri,
        )
        for one in listed
    ]


def _printable(path: str) -> str:
    r"""Returns a path as text: bytes that are not UTF-8, which Linux allows, as ``\xff``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _fifo_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as fifo:
        while chunk := fifo.read(_READ_BYTES):
            yield chunk


class _S3Objects:
    """Objects that are fetched ahead while they are read in their order."""

    def __init__(self, listed: Sequence[Listed], store: Store) -> None:
        self._listed = listed
        self._store = store
        self._bodies: Iterator[Body] | None = None
        self._next = 0

    def chunks(self, number: int) -> Iterator[Buffer]:
        """Yields the bytes of one object."""
        if self._bodies is None or self._next != number:
            items = [(one,) for one in self._listed[number:]]
            self._bodies = iter(Bodies(items, self._store, _READ_AHEAD_BYTES, _wait))
        bodies = self._bodies
        # Until all of this one is taken, the next one is not next.
        self._bodies = None
        yield from next(bodies).pieces
        self._bodies, self._next = bodies, number + 1


def _wait(future: concurrent.futures.Future[object]) -> None:
    concurrent.futures.wait([future])
