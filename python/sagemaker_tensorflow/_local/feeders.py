# SPDX-License-Identifier: Apache-2.0
"""The feeders of all channels of all hosts of a job."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from sagemaker_tensorflow._local.feeder import ChannelFeeder
from sagemaker_tensorflow._local.history import Row
from sagemaker_tensorflow._local.job import Feed, Host, Job
from sagemaker_tensorflow._local.layout import Layout


class Feeders:
    """All feeders, prepared.

    Args:
        job: The job.
        layouts: The folders of its hosts.
        stack: Stops them at its end.

    Raises:
        ChannelError: If a channel cannot be fed.
    """

    def __init__(self, job: Job, layouts: Sequence[Layout], stack: contextlib.ExitStack) -> None:
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
                feeder.prepare()
                self._feeds.append((host, feed, feeder))

    def start(self) -> None:
        """Begins to feed."""
        for _, _, feeder in self._feeds:
            feeder.start()

    def stop(self) -> None:
        """Ends it; scripts have to have ended."""
        for _, _, feeder in self._feeds:
            feeder.stop()

    def rows(self) -> list[Row]:
        """Returns how far each channel is, always in the same order."""
        return [
            Row(host.name, feed.channel, feeder.snapshot()) for host, feed, feeder in self._feeds
        ]

    def error(self) -> Exception | None:
        """Returns why a channel can be fed no more; ``None``: none has failed."""
        return next((feeder.error for _, _, feeder in self._feeds if feeder.error), None)
