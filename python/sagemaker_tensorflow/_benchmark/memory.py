# SPDX-License-Identifier: Apache-2.0
"""Looks at the memory of a process while it reads a long stream."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from sagemaker_tensorflow._benchmark import remote, throughput, workloads, workplace
from sagemaker_tensorflow._benchmark.cases import MemoryCase, Settings, ThroughputCase
from sagemaker_tensorflow._benchmark.remote import Remote
from sagemaker_tensorflow._benchmark.results import MemoryCurve, MemoryResult
from sagemaker_tensorflow._benchmark.writer import BlockWriter

_LOOK_SECONDS = 0.05
_WARM_UP_BLOCKS = 1


def steps(case: MemoryCase) -> int:
    """Returns how often ``measure`` says that it goes on."""
    return len(case.streams)


def measure(case: MemoryCase, settings: Settings, on_step: Callable[[str], None]) -> MemoryResult:
    """Measures ``case``, and calls ``on_step`` with what is done next."""
    curves = []
    for stream in case.streams:
        on_step(f"{stream.title}, {settings.gigabytes:g} GB")
        curves.append(_watch(stream, settings.gigabytes))
    return MemoryResult(case.name, case.title, curves)


def _watch(case: ThroughputCase, gigabytes: float) -> MemoryCurve:
    """Streams so much of ``case`` to its first contender."""
    contender = case.contenders[0]
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(workplace.make())
        stream = remote.run(workloads.write, case.workload, place.data_dir)
        place.declare(dict.fromkeys(contender.channel_names(), "Pipe"))
        writer = stack.enter_context(Remote(BlockWriter, place.pipe_dir, stream.block_path))
        reader = stack.enter_context(Remote(throughput.make_reader, contender, case, stream, place))

        def begin(epoch: int, blocks: int) -> None:
            writer.begin("write", contender.channel_names(), epoch, blocks)
            reader.begin("read", epoch, blocks)

        # What TensorFlow allocates once belongs to the start.
        begin(0, _WARM_UP_BLOCKS)
        Remote.results([reader, writer])
        start_bytes = _bytes_read(reader.pid)
        start = _resident_mebibytes(reader.pid)
        looks = []
        begin(1, max(1, round(1e9 * gigabytes / stream.block_bytes)))
        ended = False
        while not ended:
            ended = reader.is_ready(_LOOK_SECONDS)
            read = (_bytes_read(reader.pid) - start_bytes) * stream.compression_ratio
            looks.append((read / 1e9, _resident_mebibytes(reader.pid)))
        Remote.results([reader, writer])
    return MemoryCurve(
        name=case.name,
        label=f"{case.title}, batch({case.batch_size})",
        start_mebibytes=start,
        gigabytes=[read for read, _ in looks],
        mebibytes=[resident for _, resident in looks],
    )


def _resident_mebibytes(pid: int) -> float:
    return _proc_number(pid, "status", "VmRSS:") / 1024  # from KiB


def _bytes_read(pid: int) -> int:
    """Returns how much the process has read, from whatever descriptor."""
    return _proc_number(pid, "io", "rchar:")


def _proc_number(pid: int, file: str, key: str) -> int:
    for line in Path(f"/proc/{pid}/{file}").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/{pid}/{file} has no {key}")
