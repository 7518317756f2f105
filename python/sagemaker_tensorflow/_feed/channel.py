# SPDX-License-Identifier: Apache-2.0
"""The description of one channel of a job, as the host feeds it."""

from __future__ import annotations

import dataclasses
import re
from typing import Literal, get_args

from sagemaker_tensorflow._storage.objects import DataType, is_s3

Mode = Literal["Pipe", "File", "FastFile"]
Distribution = Literal["FullyReplicated", "ShardedByS3Key"]
Compression = Literal["None", "Gzip"]
RecordWrapper = Literal["None", "RecordIO"]

_NAME = re.compile(r"[A-Za-z0-9.\-_]{1,64}")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*)://")
_MAX_ATTRIBUTES = 16  # as in the service
_MAX_SEED = 2**64 - 1


class ChannelError(Exception):
    """A channel cannot be fed; the message names the channel, the object, and what to change."""

    def __init__(self, channel: str, problem: str) -> None:
        super().__init__(f"channel '{channel}': {problem}")
        self.channel = channel


@dataclasses.dataclass(frozen=True)
class Channel:
    """One channel of a job. The values are those of a ``CreateTrainingJob`` request.

    Attributes:
        name: 1 to 64 letters, digits, ``.``, ``-``, ``_``.
        uri: The objects: a local path or ``file://`` URI of a file, a folder (with all below it) or
            a glob, or ``s3://bucket/prefix``. With manifests, the one object that is the manifest.
        mode: How the script gets them: as FIFOs, or as the files of a folder.
        data_type: Whether ``uri`` names the objects or a manifest of them.
        distribution: Whether each host gets all objects or a share of its own.
        attribute_names: What is sent of each line of an augmented manifest, in this order.
        compression: ``'Gzip'``: the host inflates the objects.
        record_wrapper: ``'RecordIO'``: each whole object is sent as one RecordIO record.
        shuffle_seed: The objects, or the lines of a manifest, are sent in another order each epoch,
            which follows from this number; ``None``: always in the same one.
        content_type: Nothing but handed on to the script's configuration.

    Raises:
        ChannelError: If a value is not one of those allowed, or does not go with another one.
    """

    name: str
    uri: str
    mode: Mode = "Pipe"
    data_type: DataType = "S3Prefix"
    distribution: Distribution = "FullyReplicated"
    attribute_names: tuple[str, ...] = ()
    compression: Compression = "None"
    record_wrapper: RecordWrapper = "None"
    shuffle_seed: int | None = None
    content_type: str | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or self.name in (".", ".."):
            raise ChannelError(
                self.name,
                "not a valid channel name: 1 to 64 letters, digits, '.', '-', '_' are allowed, "
                "and no path",
            )
        scheme = _SCHEME.match(self.uri)
        if scheme and scheme[1].lower() not in ("file", "s3"):
            raise self._error(f"'{self.uri}' is neither a local path nor a file:// or s3:// URI")
        if not self.uri or (scheme and scheme.end() == len(self.uri)):
            raise self._error(f"'{self.uri}' names no data: a path or an s3:// URI is needed")
        self._check_choice("mode", Mode)
        self._check_choice("data_type", DataType)
        self._check_choice("distribution", Distribution)
        self._check_choice("compression", Compression)
        self._check_choice("record_wrapper", RecordWrapper)
        if self.shuffle_seed is not None and not 0 <= self.shuffle_seed <= _MAX_SEED:
            raise self._error(f"shuffle seed {self.shuffle_seed} is not in 0 to 2^64-1")
        self._check_attributes()
        self._check_mode()

    @property
    def is_s3(self) -> bool:
        """Whether the objects, or their manifest, lie in S3."""
        return is_s3(self.uri)

    def _check_choice(self, field: str, choices: object) -> None:
        allowed = get_args(choices)
        if getattr(self, field) not in allowed:
            raise self._error(
                f"{field.replace('_', ' ')} {getattr(self, field)!r} is not one of "
                + ", ".join(map(repr, allowed))
            )

    def _check_attributes(self) -> None:
        if self.data_type != "AugmentedManifestFile":
            if self.attribute_names:
                raise self._error("attribute names go with data type 'AugmentedManifestFile' only")
            return
        if not 1 <= len(self.attribute_names) <= _MAX_ATTRIBUTES or "" in self.attribute_names:
            raise self._error(
                f"an augmented manifest needs 1 to {_MAX_ATTRIBUTES} attribute names: those of "
                "each line that are sent, in their order"
            )

    def _check_mode(self) -> None:
        # The service's rules. Whoever relies on what breaks them, would fail there.
        if self.mode == "Pipe":
            return
        for used, what in (
            (self.data_type == "AugmentedManifestFile", "an augmented manifest"),
            (self.compression != "None", "compression 'Gzip' (the files come as they are)"),
            (self.record_wrapper != "None", "record wrapper 'RecordIO'"),
        ):
            if used:
                raise self._error(f"{what} needs mode 'Pipe', not '{self.mode}'")

    def _error(self, problem: str) -> ChannelError:
        return ChannelError(self.name, problem)
