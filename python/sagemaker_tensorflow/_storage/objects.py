# SPDX-License-Identifier: Apache-2.0
"""What a channel consists of."""

from __future__ import annotations

import dataclasses
from typing import Literal, TypeGuard

DataType = Literal["S3Prefix", "ManifestFile", "AugmentedManifestFile"]
"""What the URI of a data source names: the objects, or one that is a manifest of them."""


class SourceError(Exception):
    """Objects cannot be listed, or one cannot be read; the message names it."""


@dataclasses.dataclass(frozen=True, slots=True)
class DataObject:
    """An object as it was listed.

    Attributes:
        uri: ``s3://bucket/key``, or the absolute path of a local file.
        size: In bytes.
        version: Changes with the content: the ETag, or what a local file system has in its place.
        name: Its relative path in the folder of a channel in File mode.
    """

    uri: str
    size: int
    version: str
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Reference:
    """An object that a manifest names, not looked up yet."""

    uri: str
    name: str


@dataclasses.dataclass(frozen=True, slots=True)
class Value:
    """Bytes that a manifest holds itself.

    Attributes:
        uri: For messages: where it does.
        data: The bytes.
    """

    uri: str
    data: bytes

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.data)


Entry = DataObject | Reference | Value
Item = tuple[Entry, ...]
"""What shuffling and sharding keep together: an object, or what is sent of a manifest's line."""


def is_file(entry: Entry) -> TypeGuard[DataObject]:
    """Whether ``entry`` is a file of this machine."""
    return isinstance(entry, DataObject) and not is_s3(entry.uri)


def is_s3(uri: str) -> bool:
    """Whether ``uri`` is in S3, and not a local path."""
    return uri.startswith(("s3://", "S3://"))
