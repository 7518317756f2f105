# SPDX-License-Identifier: Apache-2.0
"""Objects wherever they are: each URI finds its way to the local files or to S3."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from sagemaker_tensorflow._storage import local_files
from sagemaker_tensorflow._storage.manifest import parse_augmented_manifest, parse_manifest
from sagemaker_tensorflow._storage.objects import (
    DataObject,
    DataType,
    Item,
    Reference,
    SourceError,
    is_s3,
)
from sagemaker_tensorflow._storage.read_ahead import FetchPool
from sagemaker_tensorflow._storage.s3 import S3

if TYPE_CHECKING:
    from typing_extensions import Buffer

# Of small objects, whose time is that of the answer, so many are on their way at once.
_CONNECTIONS = 16


class Store:
    """What a channel reads from.

    Attributes:
        pool: Threads for what takes its time.
    """

    def __init__(self, name: str) -> None:
        self.pool = FetchPool(_CONNECTIONS, name)
        self._lock = threading.Lock()
        self._s3: S3 | None = None  # guarded by _lock
        # What was referred to is, for as long as this lives, what it was at the first look.
        self._seen: dict[str, DataObject] = {}  # guarded by _lock

    def items(
        self, uri: str, data_type: DataType = "S3Prefix", attribute_names: tuple[str, ...] = ()
    ) -> list[Item]:
        """Returns what a data source consists of, in the order of its listing or manifest.

        The objects of a manifest are looked up if they are local. Of those in S3 only the first one
        is: it tells whether the way to them is open.

        Args:
            uri: A file, a folder, a glob or an S3 prefix; or the one object that is the manifest.
            data_type: Which of these it is.
            attribute_names: What is taken of each line of an augmented manifest.

        Raises:
            SourceError: If there is nothing, or something is wrong with it.
        """
        if data_type == "S3Prefix":
            if is_s3(uri):
                return [(found,) for found in self._open_s3().list_objects(uri)]
            return [(found,) for found in local_files.list_files(uri)]
        if not is_s3(uri) and local_files.local_path(uri).is_dir():
            raise SourceError(
                f"'{local_files.local_path(uri)}' is a folder, and with type "
                f"{data_type} the URI names the one file that is the manifest"
            )
        manifest = self.stat(Reference(uri, "manifest"))
        text = self.read_whole(manifest)
        if data_type == "ManifestFile":
            items = parse_manifest(text, manifest.uri)
        else:
            items = parse_augmented_manifest(text, manifest.uri, attribute_names)
        for entry in items[0]:
            if isinstance(entry, Reference):
                self.stat(entry)
        return [
            tuple(
                self.stat(entry) if isinstance(entry, Reference) and not is_s3(entry.uri) else entry
                for entry in item
            )
            for item in items
        ]

    def stat(self, reference: Reference) -> DataObject:
        """Looks an object up; one in S3 only once, and reading it fails if it changes after that.

        Raises:
            SourceError: If there is none.
        """
        if is_s3(reference.uri):
            with self._lock:
                seen = self._seen.get(reference.uri)
            if seen is None:
                seen = self._open_s3().stat_object(reference.uri, reference.name)
                with self._lock:
                    seen = self._seen.setdefault(reference.uri, seen)
            return dataclasses.replace(seen, name=reference.name)
        return local_files.stat_file(local_files.local_path(reference.uri), reference.name)

    def read(self, source: DataObject, start: int, end: int) -> Buffer:
        """Returns bytes of an object in S3.

        Raises:
            SourceError: If it cannot be read as it was listed.
        """
        return self._open_s3().read(source, start, end)

    def read_whole(self, source: DataObject) -> bytes:
        """Returns the content of an object that is known to be of moderate size.

        Raises:
            SourceError: If it cannot be read as it was listed.
        """
        if is_s3(source.uri):
            return bytes(self.read(source, 0, source.size)) if source.size else b""
        with local_files.opened(source):
            return Path(source.uri).read_bytes()

    def close(self) -> None:
        """Ends what is on its way, soon."""
        self.pool.close()
        with self._lock:
            if self._s3 is not None:
                self._s3.close()

    def _open_s3(self) -> S3:
        with self._lock:
            if self._s3 is None:
                self._s3 = S3(connections=_CONNECTIONS)
            return self._s3
