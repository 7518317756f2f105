# SPDX-License-Identifier: Apache-2.0
"""How far a channel is, and who waits for whom."""

from __future__ import annotations

import dataclasses
import threading
import time
from typing import Literal, Protocol

State = Literal["waiting for the script", "sending", "waiting for the source", "failed", "stopped"]


@dataclasses.dataclass(frozen=True)
class ChannelProgress:
    """One look at a channel. Counts are of all epochs together unless they say otherwise.

    Attributes:
        epoch: Number of the epoch whose FIFO is there, or was the last.
        epochs_finished: Epochs that were sent to their end.
        epochs_closed_early: Epochs whose reader closed the FIFO before.
        bytes_written: Bytes that went into the FIFOs, or into the folder of File mode.
        epoch_bytes_written: Of these, those of ``epoch``.
        objects_finished: Objects, and values of an augmented manifest, that were sent as a whole.
        object: What is being sent: an object's URI; empty if nothing is.
        total_bytes: How much ``epoch`` is in all; ``None`` if nobody can know before.
        seconds_waiting_for_reader: Time in which no reader had opened the FIFO, or the pipe was
            full.
        seconds_waiting_for_source: Time in which objects were fetched or inflated, and nothing was
            there to be written.
        seconds_writing: Time in which local files were read, and bytes went into the pipe.
        state: What the channel does at this moment.
    """

    epoch: int = 0
    epochs_finished: int = 0
    epochs_closed_early: int = 0
    bytes_written: int = 0
    epoch_bytes_written: int = 0
    objects_finished: int = 0
    object: str = ""
    total_bytes: int | None = None
    seconds_waiting_for_reader: float = 0.0
    seconds_waiting_for_source: float = 0.0
    seconds_writing: float = 0.0
    state: State = "waiting for the source"


class Writer(Protocol):
    """What writes into a FIFO, and waits when the pipe is full."""

    @property
    def seconds_waited(self) -> float:
        """How long it has waited so far."""

    @property
    def is_waiting(self) -> bool:
        """Whether it waits now."""


class ProgressMeter:
    """Keeps the progress of one channel. One thread reports, any thread may take a snapshot."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._progress = ChannelProgress()
        self._state: State = "waiting for the source"
        self._since: float | None = None
        self._seconds: dict[State, float] = {}
        self._epoch_began_at_byte = 0
        self._bytes_written = 0
        self._objects_finished = 0
        self._object = ""
        self._writer: Writer | None = None  # this, and what follows, guarded by _lock
        self._waited_before = 0.0  # it had waited so long when it began to write
        self._waited = 0.0  # of "sending"

    def enter(self, state: State) -> None:
        """From now on the channel is in ``state``."""
        with self._lock:
            self._take_time()
            self._state = state

    def begin_epoch(self, epoch: int, total_bytes: int | None) -> None:
        """An epoch begins."""
        with self._lock:
            self._epoch_began_at_byte = self._bytes_written
            self._progress = dataclasses.replace(
                self._progress, epoch=epoch, total_bytes=total_bytes
            )

    def begin_writing(self, writer: Writer) -> None:
        """From now on, ``writer`` tells how much of the time it waits for its reader."""
        with self._lock:
            self._writer = writer
            self._waited_before = writer.seconds_waited

    def end_writing(self) -> None:
        """It writes no more; nothing if none does."""
        with self._lock:
            self._waited += self._waited_now()
            self._writer = None

    def begin_object(self, uri: str) -> None:
        """An object is being sent."""
        self._object = uri

    def end_object(self) -> None:
        """All of it was sent."""
        self._objects_finished += 1

    def add_bytes(self, count: int) -> None:
        """Bytes went into the FIFO."""
        self._bytes_written += count

    def end_epoch(self, *, closed_early: bool) -> None:
        """An epoch is over."""
        with self._lock:
            self._object = ""
            name = "epochs_closed_early" if closed_early else "epochs_finished"
            self._progress = dataclasses.replace(
                self._progress, **{name: getattr(self._progress, name) + 1}
            )

    def snapshot(self) -> ChannelProgress:
        """Returns the progress up to this moment."""
        with self._lock:
            if self._since is not None:
                self._take_time()
            written = self._bytes_written
            waited = self._waited + self._waited_now()
            is_full = self._writer is not None and self._writer.is_waiting
            return dataclasses.replace(
                self._progress,
                bytes_written=written,
                epoch_bytes_written=written - self._epoch_began_at_byte,
                objects_finished=self._objects_finished,
                object=self._object,
                seconds_waiting_for_reader=(
                    self._seconds.get("waiting for the script", 0.0) + waited
                ),
                seconds_waiting_for_source=self._seconds.get("waiting for the source", 0.0),
                seconds_writing=max(self._seconds.get("sending", 0.0) - waited, 0.0),
                state="waiting for the script" if is_full else self._state,
            )

    def _waited_now(self) -> float:
        return self._writer.seconds_waited - self._waited_before if self._writer else 0.0

    def _take_time(self) -> None:
        now = time.monotonic()
        if self._since is not None:
            passed = now - self._since
            self._seconds[self._state] = self._seconds.get(self._state, 0.0) + passed
        self._since = now
