# SPDX-License-Identifier: Apache-2.0
"""Where in the data set a reader failed, from what the script said of it.

A reader knows the FIFO, the epoch and the byte; its message says them. Which object that byte came
from is what the feeder knows.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping

_RECORD = r"record \d+ at byte (?P<byte>\d+): "
# What is wrong is not the record, but the compressed stream, of which another byte is told.
_COMPRESSED = r"(?:(?:gzip|zlib) member \d+, near compressed byte (?P<compressed>\d+): )?"


@dataclasses.dataclass(frozen=True)
class ReaderError:
    """An error of a reader.

    Attributes:
        pipe_dir: The folder of its FIFO, as the reader named it.
        channel: Name of the channel.
        epoch: Number of the epoch, from 0.
        byte: Where the record begins; or, of a stream that cannot be inflated, how many bytes were
            read of it up to there.
        is_compressed: Whether it is the latter.
    """

    pipe_dir: str
    channel: str
    epoch: int
    byte: int
    is_compressed: bool


def find(text: str, pipe_dirs: Iterable[str], channels: Iterable[str]) -> list[ReaderError]:
    """Returns the errors that ``text`` tells of, in its order.

    Args:
        text: A traceback, a log, or a ``failure`` file.
        pipe_dirs: Which folders' FIFOs count.
        channels: Which channels do.
    """
    folder, channel = ("|".join(map(re.escape, names)) for names in (pipe_dirs, channels))
    # Readers of a channel put the path into parentheses, those of a file or FIFO into quotes.
    path = rf"(?P<pipe_dir>{folder})/(?P<channel>{channel})_(?P<epoch>\d+)[)']: "
    return [
        ReaderError(
            found["pipe_dir"],
            found["channel"],
            int(found["epoch"]),
            int(found["compressed"] or found["byte"]),
            is_compressed=found["compressed"] is not None,
        )
        for found in re.finditer(path + _RECORD + _COMPRESSED, text)
    ]


def last_of_each(
    said: Iterable[tuple[str | None, str]],
    pipe_dirs: Mapping[str, list[str]],
    channels: Iterable[str],
) -> dict[tuple[str, str], ReaderError]:
    """Returns the last error of each host's channels, by host and channel.

    Args:
        said: What scripts said, and the host whose script did; ``None``: that of several.
        pipe_dirs: The hosts whose FIFOs a folder holds, as their scripts see it.
        channels: The names of all channels.
    """
    names = list(channels)
    errors = {}
    for speaker, text in said:
        for error in find(text, pipe_dirs, names):
            hosts = pipe_dirs[error.pipe_dir]
            if speaker in hosts:
                errors[speaker, error.channel] = error
            elif len(hosts) == 1:
                errors[hosts[0], error.channel] = error
    return errors
