# SPDX-License-Identifier: Apache-2.0
"""The feeders of all channels of all hosts of a job."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Iterator, Sequence

from sagemaker_tensorflow._feed.channel import Channel, ChannelError
from sagemaker_tensorflow._feed.channel_feeder import ChannelFeeder
from sagemaker_tensorflow._feed.channel_history import Row
from sagemaker_tensorflow._local.feed.reader_errors import ReaderError
from sagemaker_tensorflow._local.folders.host_folders import Layout
from sagemaker_tensorflow._local.request.job import Feed, Host, Job
from sagemaker_tensorflow._local.request.settings import Observer
from sagemaker_tensorflow._storage.objects import Reference, SourceError
from sagemaker_tensorflow._storage.store import Store

_TICK_SECONDS = 0.1
_NAMES_SHOWN = 3


class Feeders:
    """All feeders, prepared.

    Args:
        job: The job.
        layouts: The folders of its hosts.
        stack: Stops them at its end.
        observer: Sees how the folders of channels in File mode fill.

    Raises:
        ChannelError: If a channel cannot be fed.
    """

    def __init__(
        self,
        job: Job,
        layouts: Sequence[Layout],
        stack: contextlib.ExitStack,
        observer: Observer,
    ) -> None:
        self._hosts = job.hosts
        self._feeds: list[tuple[Host, Feed, ChannelFeeder]] = []
        for host, folders in zip(job.hosts, layouts, strict=True):
            for feed in job.feeds(host):
                feeder = ChannelFeeder(
                    feed.channel,
                    str(folders.data_dir),
                    host_index=feed.host_index,
                    host_count=feed.host_count,
                )
                stack.callback(feeder.stop)
                self._feeds.append((host, feed, feeder))
        with self._shown(observer):
            for _, _, feeder in self._feeds:
                feeder.prepare()
        self._warn(observer)

    def start(self) -> None:
        """Begins to feed."""
        for _, _, feeder in self._feeds:
            feeder.start()

    def stop(self) -> None:
        """Ends it; scripts have to have ended."""
        for _, _, feeder in self._feeds:
            feeder.stop()

    def locate(self, host: str, error: ReaderError) -> str | None:
        """Says, after ``stop``, where in the data set a host's reader failed, if that is known."""
        for one, feed, feeder in self._feeds:
            if (one.name, feed.channel.name) != (host, error.channel):
                continue
            # What is told of a compressed stream is how many bytes were taken.
            byte = max(error.byte - 1, 0) if error.is_compressed else error.byte
            place = feeder.locate(error.epoch, byte, is_compressed=error.is_compressed)
            if place is None:
                return None
            where = f" on {host}" if len(self._hosts) > 1 else ""
            position = f"channel '{error.channel}' epoch {error.epoch}{where}, "
            if error.is_compressed:
                return f"{position}near compressed byte {error.byte} of the stream: {place}"
            return f"{position}byte {error.byte} of the stream is {place}"
        return None

    def rows(self) -> list[Row]:
        """Returns how far each channel is, always in the same order."""
        return [
            Row(host.name, feed.channel, feeder.snapshot()) for host, feed, feeder in self._feeds
        ]

    def _warn(self, observer: Observer) -> None:
        """Names objects that may be sent by mistake, once for all hosts."""
        names = {feed.channel.name: feeder.unlikely_data() for _, feed, feeder in self._feeds}
        for channel, found in names.items():
            if not found:
                continue
            shown = ", ".join(map(repr, found[:_NAMES_SHOWN]))
            more = ", …" if len(found) > _NAMES_SHOWN else ""
            observer.say(
                f"channel '{channel}': as in the service, the script gets all objects, also "
                f"{len(found):,} with names that begin with '_' or '.', which often are not data: "
                f"{shown}{more}"
            )

    @contextlib.contextmanager
    def _shown(self, observer: Observer) -> Iterator[None]:
        """Shows how far preparing is, which may mean to fetch all that a channel has."""
        done = threading.Event()
        begun = time.monotonic()

        def show() -> None:
            while not done.wait(_TICK_SECONDS):
                observer.show(time.monotonic() - begun, self.rows())

        thread = threading.Thread(target=show, name="pipemode-preparing", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()

    def error(self) -> Exception | None:
        """Returns why a channel can be fed no more; ``None``: none has failed."""
        return next((feeder.error for _, _, feeder in self._feeds if feeder.error), None)


@dataclasses.dataclass(frozen=True)
class Contents:
    """What a channel holds.

    Attributes:
        objects: How many, or how many lines of an augmented manifest.
        bytes: Of all of them; ``None`` if that takes a look at each.
    """

    objects: int
    bytes: int | None


def look(channel: Channel) -> Contents:
    """Finds a channel's objects, as a job would.

    Raises:
        ChannelError: If there are none, or they cannot be listed.
    """
    store = Store(f"look-{channel.name}")
    try:
        items = store.items(channel.uri, channel.data_type, channel.attribute_names)
    except (SourceError, OSError) as error:
        raise ChannelError(channel.name, str(error)) from None
    finally:
        store.close()
    sizes = [
        None if isinstance(entry, Reference) else entry.size for item in items for entry in item
    ]
    known = [size for size in sizes if size is not None]
    return Contents(len(items), sum(known) if len(known) == len(sizes) else None)
