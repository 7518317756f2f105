# SPDX-License-Identifier: Apache-2.0
"""How the channels of a job went on over time, in bounded memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from sagemaker_tensorflow._feed.channel import Channel
from sagemaker_tensorflow._feed.channel_progress import ChannelProgress

_FIRST_INTERVAL = 0.1
_MAX_SAMPLES = 1200
_TIMES = ("seconds_waiting_for_reader", "seconds_waiting_for_source", "seconds_writing")


@dataclasses.dataclass(frozen=True)
class Row:
    """How far one channel of one host is.

    Attributes:
        host: Name of the host.
        channel: The channel.
        progress: What its feeder says.
    """

    host: str
    channel: Channel
    progress: ChannelProgress


@dataclasses.dataclass(frozen=True)
class Sample:
    """All channels at one moment.

    Attributes:
        seconds: Since the script was started.
        rows: The channels, always in the same order.
    """

    seconds: float
    rows: Sequence[Row]


class History:
    """Samples over a job of any length: the longer it runs, the further they are apart."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []
        self._interval = _FIRST_INTERVAL

    def add(self, seconds: float, rows: Sequence[Row], *, last: bool = False) -> None:
        """Keeps a sample, if the one before is long enough ago or this is the last."""
        if self.samples and not last and seconds - self.samples[-1].seconds < self._interval:
            return
        if len(self.samples) >= _MAX_SAMPLES:
            del self.samples[1::2]
            self._interval *= 2
        self.samples.append(Sample(seconds, rows))

    @property
    def totals(self) -> list[Row]:
        """What became of each channel, with times from the first sample on."""
        if not self.samples:
            return []
        pairs = zip(self.samples[0].rows, self.samples[-1].rows, strict=True)
        return [dataclasses.replace(last, progress=_since(first, last)) for first, last in pairs]


def _since(first: Row, last: Row) -> ChannelProgress:
    changed = {
        name: getattr(last.progress, name) - getattr(first.progress, name) for name in _TIMES
    }
    return dataclasses.replace(last.progress, **changed)
