# SPDX-License-Identifier: Apache-2.0
"""Readers that wait for what does not come, each for a process of its own."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

from sagemaker_tensorflow._benchmark.contenders import pipe_mode
from sagemaker_tensorflow._benchmark.workplace import Workplace


class EpochReader:
    """Reads epochs of one record.

    Args:
        channel: The channel.
        place: The folders.
        repeat: Whether a single iterator reads them all.
    """

    def __init__(self, channel: str, place: Workplace, repeat: bool) -> None:
        dataset = pipe_mode(channel, "TFRecord", place)
        self._dataset = dataset.repeat() if repeat else dataset
        self._repeat = repeat
        self._iterator: Any = iter(self._dataset)

    def first_record(self) -> float:
        """Waits for the next epoch; returns ``time.monotonic()`` when its record is there."""
        next(self._iterator)
        return time.monotonic()

    def end(self) -> None:
        """Comes to the end of the epoch, if there is one for the iterator."""
        if not self._repeat:
            for _ in self._iterator:
                raise RuntimeError("an epoch has more than one record")
            self._iterator = iter(self._dataset)


class BlockedReader:
    """Reads one record of each epoch and is stopped when it waits for another.

    Args:
        channel: The channel.
        place: The folders.
        prefetch: Whether a thread of TensorFlow waits, too.
    """

    def __init__(self, channel: str, place: Workplace, prefetch: bool) -> None:
        dataset = pipe_mode(channel, "TFRecord", place)
        self._dataset = dataset.prefetch(1) if prefetch else dataset
        self._iterator: Any = None

    def start(self) -> None:
        """Makes an iterator."""
        self._iterator = iter(self._dataset)

    def first_record(self) -> None:
        """Reads the record."""
        next(self._iterator)

    def wait_for_interrupt(self) -> float:
        """Waits for what does not come; returns ``time.monotonic()`` at Ctrl-C."""
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            next(self._iterator)
        except KeyboardInterrupt:
            return time.monotonic()
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise RuntimeError("a record came, or the epoch ended")

    def drop(self, fifo: Path) -> float:
        """Drops the iterator; returns the seconds until ``fifo`` is closed."""
        begun = time.monotonic()
        self._iterator = None
        while _is_open(fifo):
            time.sleep(0.0001)
        return time.monotonic() - begun


def _is_open(path: Path) -> bool:
    for entry in os.scandir("/proc/self/fd"):
        try:
            if Path(entry.path).readlink() == path:
                return True
        except FileNotFoundError:
            pass
    return False
