# SPDX-License-Identifier: Apache-2.0
"""Lets the contenders of a case read in rounds: all of them once, then all of them again."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from typing import Any

from sagemaker_tensorflow._benchmark import remote, workloads, workplace
from sagemaker_tensorflow._benchmark.cases import Contender, Settings, ThroughputCase
from sagemaker_tensorflow._benchmark.remote import Remote
from sagemaker_tensorflow._benchmark.results import Entry, ThroughputResult, Turn
from sagemaker_tensorflow._benchmark.workloads import Stream
from sagemaker_tensorflow._benchmark.workplace import Workplace
from sagemaker_tensorflow._benchmark.writer import BlockWriter

# A turn this long, as part of a full one, tells the rate well enough.
_WARM = 0.25
_GROWTH = 4


def contenders(case: ThroughputCase) -> list[Contender]:
    """Returns the contenders for which all is installed."""
    return [c for c in case.contenders if c.program is None or shutil.which(c.program)]


def steps(case: ThroughputCase, settings: Settings) -> int:
    """Returns how often ``measure`` says that it goes on."""
    return len(contenders(case)) * (settings.rounds + 1)


def measure(
    case: ThroughputCase, settings: Settings, on_step: Callable[[str], None]
) -> ThroughputResult:
    """Measures ``case``, and calls ``on_step`` with what is done next."""
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(workplace.make())
        stream = remote.run(workloads.write, case.workload, place.data_dir)
        writer = stack.enter_context(Remote(BlockWriter, place.pipe_dir, stream.block_path))
        competitors = []
        for contender in contenders(case):
            reader = stack.enter_context(Remote(make_reader, contender, case, stream, place))
            competitors.append(_Competitor(contender, reader, writer, stream))
        place.declare(
            {
                name: c.contender.input_mode
                for c in competitors
                for name in c.contender.channel_names()
            }
        )
        for competitor in competitors:
            on_step(f"{competitor.contender.label}, warming up")
            competitor.warm_up(settings.seconds)
        turns: dict[str, list[Turn]] = {c.contender.name: [] for c in competitors}
        for _ in range(settings.rounds):
            for competitor in competitors:
                on_step(competitor.contender.label)
                turns[competitor.contender.name].append(competitor.turn())
        return ThroughputResult(
            name=case.name,
            title=case.title,
            batch_size=case.batch_size,
            record_bytes=stream.block_bytes / stream.block_records,
            compression_ratio=stream.compression_ratio,
            entries=[
                Entry(one.name, one.label, one.reference, turns[one.name])
                for one in contenders(case)
            ],
        )


class _Competitor:
    """A contender with its process."""

    def __init__(
        self, contender: Contender, reader: Remote, writer: Remote, stream: Stream
    ) -> None:
        self.contender = contender
        self._reader = reader
        self._writer = writer
        self._stream = stream
        self._epoch = 0
        self._blocks = 1

    def warm_up(self, seconds: float) -> None:
        """Finds out how much to read."""
        self.turn()  # TensorFlow sets up what it sets up once
        while (turn := self.turn()).seconds < _WARM * seconds:
            self._blocks *= _GROWTH
        self._blocks = max(1, round(self._blocks * seconds / turn.seconds))

    def turn(self) -> Turn:
        """Reads one stream."""
        contender = self.contender
        remotes = [self._reader]
        if contender.reads_fifo:
            self._writer.begin("write", contender.channel_names(), self._epoch, self._blocks)
            remotes.append(self._writer)
        self._reader.begin("read", self._epoch, self._blocks)
        reading, *writing = Remote.results(remotes)
        self._epoch += 1
        blocks = self._blocks * contender.channels
        return Turn(
            seconds=reading.seconds,
            records=blocks * self._stream.block_records,
            bytes=blocks * self._stream.block_bytes,
            cpu_seconds=reading.cpu_seconds,
            writer_cpu_seconds=sum(cost.cpu_seconds for cost in writing),
        )


def make_reader(
    contender: Contender, case: ThroughputCase, stream: Stream, place: Workplace
) -> Any:
    """Makes a ``Reader``; imports TensorFlow, so only another process is to call it."""
    from sagemaker_tensorflow._benchmark.contenders import Reader, Task

    # AutoGraph writes files, and this process is killed in the end.
    tempfile.tempdir = place.data_dir
    batch_size = contender.batch_size or case.batch_size
    return Reader(Task(contender, case.workload, stream, batch_size, place))
