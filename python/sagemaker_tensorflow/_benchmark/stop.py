# SPDX-License-Identifier: Apache-2.0
"""How long it takes to stop a reader that waits for what does not come."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from sagemaker_tensorflow._benchmark import workplace
from sagemaker_tensorflow._benchmark.cases import LatencyCase, Settings
from sagemaker_tensorflow._benchmark.remote import Remote
from sagemaker_tensorflow._benchmark.results import LatencyResult, Samples
from sagemaker_tensorflow._benchmark.workplace import Workplace
from sagemaker_tensorflow._benchmark.writer import RecordWriter

_BLOCKED = 0.1  # seconds after which a reader waits for sure

OnStep = Callable[[str], None]


def steps(settings: Settings) -> int:
    """Returns how often ``measure`` says that it goes on."""
    return len(WAYS) * settings.stops


def measure(case: LatencyCase, settings: Settings, on_step: OnStep) -> LatencyResult:
    """Measures ``case``, and calls ``on_step`` with what is done next."""
    samples = []
    for name, (label, prefetch, way) in WAYS.items():
        with contextlib.ExitStack() as stack:
            place = stack.enter_context(workplace.make())
            place.declare({name: "Pipe"})
            reader = stack.enter_context(Remote(_make_reader, name, place, prefetch))
            writer = stack.enter_context(Remote(RecordWriter, place.pipe_dir, name))
            seconds = way(reader, writer, settings.stops, functools.partial(on_step, label))
            samples.append(Samples(name, label, [1e3 * one for one in seconds]))
    return LatencyResult(case.name, case.title, samples)


def _interrupt_without_fifo(
    reader: Remote, _writer: Remote, count: int, on_step: Callable[[], None]
) -> list[float]:
    reader.call("start")
    return [_interrupt(reader, on_step) for _ in range(count)]


def _interrupt_without_data(
    reader: Remote, writer: Remote, count: int, on_step: Callable[[], None]
) -> list[float]:
    reader.call("start")
    _write_record(reader, writer)
    return [_interrupt(reader, on_step) for _ in range(count)]


def _interrupt(reader: Remote, on_step: Callable[[], None]) -> float:
    on_step()
    reader.begin("wait_for_interrupt")
    time.sleep(_BLOCKED)
    begun = time.monotonic()
    os.kill(reader.pid, signal.SIGINT)
    return float(reader.result()) - begun


def _drop(reader: Remote, writer: Remote, count: int, on_step: Callable[[], None]) -> list[float]:
    seconds = []
    for _ in range(count):
        on_step()
        reader.call("start")
        _write_record(reader, writer)
        time.sleep(_BLOCKED)
        seconds.append(reader.call("drop", writer.call("path")))
        writer.call("end")
    return seconds


def _write_record(reader: Remote, writer: Remote) -> None:
    reader.begin("first_record")
    writer.begin("begin")
    Remote.results([reader, writer])


def _make_reader(name: str, place: Workplace, prefetch: bool) -> Any:
    from sagemaker_tensorflow._benchmark.waiting_readers import BlockedReader

    return BlockedReader(name, place, prefetch)


WAYS = {
    "ctrl-c-fifo": ("Ctrl-C, waiting for the FIFO", False, _interrupt_without_fifo),
    "ctrl-c-data": ("Ctrl-C, waiting for data", False, _interrupt_without_data),
    "ctrl-c-prefetch": ("Ctrl-C, behind prefetch", True, _interrupt_without_data),
    "del-read-ahead": ("del, reading ahead", False, _drop),
    "del-prefetch": ("del, behind prefetch", True, _drop),
}
