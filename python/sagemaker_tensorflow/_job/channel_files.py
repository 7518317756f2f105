# SPDX-License-Identifier: Apache-2.0
"""The files of a channel in File or FastFile mode: which ones, and in which order."""

from __future__ import annotations

import dataclasses
import fnmatch
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from sagemaker_tensorflow._storage.local_files import list_folder
from sagemaker_tensorflow._storage.objects import DataObject, SourceError
from sagemaker_tensorflow.exceptions import PipeModeDatasetException

FilesArgument = str | Sequence[str] | Callable[[str], bool] | None

_LOG = logging.getLogger(__name__)
_SHOWN_NAMES = 5

# What has been said of channels, so that it is said once.
_said: set[tuple[str, ...]] = set()


@dataclasses.dataclass(frozen=True)
class ChannelFiles:
    """The files of a channel, in the order in which they are read.

    Attributes:
        channel: Name of the channel.
        paths: Of the files, in that order.
        sizes: In bytes, when they were listed.
        shard: ``(num_shards, index)``: every ``num_shards``-th one is read, from ``index`` on. The
            others are listed, since the first file tells a repeated header.
        file_is_record: Whether each file is one record, whatever is in it.
        num_parallel_reads: How many to read at once; 0 leaves that to the op.
    """

    channel: str
    paths: list[str]
    sizes: list[int]
    shard: tuple[int, int] = (1, 0)
    file_is_record: bool = False
    num_parallel_reads: int = 0


def list_files(channel: str, folder: Path, chosen: FilesArgument) -> list[DataObject]:
    """Returns the files of ``channel`` in the order in which S3 lists keys: that of their bytes.

    Args:
        channel: Name of the channel.
        folder: Its folder.
        chosen: See ``channel_dataset``.

    Raises:
        PipeModeDatasetException: If ``folder`` or a folder below it cannot be read, or something in
            it is not a file; or if ``chosen`` matches none of its files.
        TypeError: If ``chosen`` is not what it may be.
    """
    try:
        files = list_folder(folder)
    except SourceError as error:
        raise PipeModeDatasetException(f"channel '{channel}': {error}") from None
    if callable(chosen):
        kept = [file for file in files if chosen(file.name)]
        return _kept(channel, folder, files, kept, chosen)
    visible = [file for file in files if not _is_hidden(file.name)]
    if len(visible) < len(files):
        _say_hidden(channel, [file for file in files if _is_hidden(file.name)])
    if chosen is None:
        return visible
    patterns = _patterns(chosen)
    kept = [file for file in visible if any(_matches(file.name, each) for each in patterns)]
    return _kept(channel, folder, visible, kept, chosen)


def _kept(
    channel: str,
    folder: Path,
    files: list[DataObject],
    kept: list[DataObject],
    chosen: FilesArgument,
) -> list[DataObject]:
    if kept or not files:
        return kept
    raise PipeModeDatasetException(
        f"channel '{channel}': files={chosen!r} matches none of the {len(files)} files in "
        f"'{folder}': {_shown([file.name for file in files])}"
    )


def _patterns(chosen: str | Sequence[str]) -> list[str]:
    """Returns globs; a name that begins with a dot, and has no wildcard, is a suffix."""
    patterns = [chosen] if isinstance(chosen, str) else chosen
    if (
        not isinstance(patterns, Sequence)
        or not patterns
        or not all(isinstance(each, str) for each in patterns)
    ):
        raise TypeError(
            "files must be a glob, a sequence of globs or suffixes, or a function of a name, not "
            f"{chosen!r}"
        )
    return [f"*{each}" if _is_suffix(each) else each for each in patterns]


def _is_suffix(pattern: str) -> bool:
    return pattern.startswith(".") and not set(pattern) & set("*?[/")


def _matches(name: str, pattern: str) -> bool:
    """Returns whether a glob matches the relative path ``name``, or the last part of it."""
    if "/" not in pattern:
        name = name.rpartition("/")[2]
    return fnmatch.fnmatchcase(name, pattern)


def _is_hidden(name: str) -> bool:
    """Whether Spark and Hadoop would not take ``name``, a relative path, for data."""
    return any(part.startswith(("_", ".")) for part in name.split("/"))


def _say_hidden(channel: str, files: list[DataObject]) -> None:
    names = [file.name for file in files]
    if (channel, *names) in _said:
        return
    _said.add((channel, *names))
    # An empty marker, such as Spark's _SUCCESS, is of interest to nobody.
    level = logging.WARNING if any(file.size for file in files) else logging.INFO
    _LOG.log(
        level,
        "channel '%s': left out %d files whose names begin with '_' or '.': %s; "
        "files=lambda name: True reads them",
        channel,
        len(names),
        _shown(names),
    )


def _shown(names: list[str]) -> str:
    more = len(names) - _SHOWN_NAMES
    return ", ".join(names[:_SHOWN_NAMES]) + (f" and {more} more" if more > 0 else "")
