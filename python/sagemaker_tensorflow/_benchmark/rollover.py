# SPDX-License-Identifier: Apache-2.0
"""How long after the creation of its FIFO a reader that waits for it has the first record."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable
from typing import Any

from sagemaker_tensorflow._benchmark import workplace
from sagemaker_tensorflow._benchmark.cases import LatencyCase, Settings
from sagemaker_tensorflow._benchmark.remote import Remote
from sagemaker_tensorflow._benchmark.results import LatencyResult, Samples
from sagemaker_tensorflow._benchmark.writer import RecordWriter

LABELS = {
    "repeat": "the iterator of repeat()",
    "iterator": "an iterator for each epoch",
}
# The reader is to wait, and not at the same point of its wait each time.
_MIN_WAIT = 0.01
_MAX_WAIT = 0.1
_WARM_UP = 3


def steps(settings: Settings) -> int:
    """Returns how often ``measure`` says that it goes on."""
    return len(LABELS) * (_WARM_UP + settings.rollovers)


def measure(case: LatencyCase, settings: Settings, on_step: Callable[[str], None]) -> LatencyResult:
    """Measures ``case``, and calls ``on_step`` with what is done next."""
    source = random.Random(0)
    samples = []
    with workplace.make() as place:
        place.declare(dict.fromkeys(LABELS, "Pipe"))
        for name, label in LABELS.items():
            times = []
            with contextlib.ExitStack() as stack:
                reader = stack.enter_context(Remote(_make_reader, name, place))
                writer = stack.enter_context(Remote(RecordWriter, place.pipe_dir, name))
                for _ in range(_WARM_UP + settings.rollovers):
                    on_step(label)
                    reader.begin("first_record")
                    time.sleep(source.uniform(_MIN_WAIT, _MAX_WAIT))
                    writer.begin("begin")
                    received, created = Remote.results([reader, writer])
                    times.append(1e3 * (received - created))
                    writer.call("end")
                    reader.call("end")
            samples.append(Samples(name, label, times[_WARM_UP:]))
    return LatencyResult(case.name, case.title, samples)


def _make_reader(name: str, place: workplace.Workplace) -> Any:
    from sagemaker_tensorflow._benchmark.waiting_readers import EpochReader

    return EpochReader(name, place, repeat=name == "repeat")
