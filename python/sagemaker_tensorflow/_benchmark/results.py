# SPDX-License-Identifier: Apache-2.0
"""What was measured: all that reports and plots need to know."""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, TypeVar


@dataclasses.dataclass(frozen=True)
class Turn:
    """One contender reading one stream.

    Attributes:
        seconds: Time it took.
        records: How many records were read.
        bytes: How many bytes, with frames; without compression.
        cpu_seconds: CPU time, user and system, of whoever reads.
        writer_cpu_seconds: CPU time of the writer; 0 if a file was read.
    """

    seconds: float
    records: int
    bytes: int
    cpu_seconds: float
    writer_cpu_seconds: float

    @property
    def records_per_second(self) -> float:
        """Records a second."""
        return self.records / self.seconds

    @property
    def megabytes_per_second(self) -> float:
        """Megabytes (10^6) a second."""
        return self.bytes / self.seconds / 1e6

    @property
    def cpu_seconds_per_gigabyte(self) -> float:
        """CPU time of whoever reads, for a gigabyte (10^9)."""
        return self.cpu_seconds / self.bytes * 1e9

    @property
    def writer_cpu_seconds_per_gigabyte(self) -> float:
        """CPU time of the writer for a gigabyte."""
        return self.writer_cpu_seconds / self.bytes * 1e9


@dataclasses.dataclass(frozen=True)
class Entry:
    """A contender with its turns, one for each round.

    Attributes:
        name: Of the contender, within its case.
        label: For people.
        reference: The name of the contender it is to be compared with.
        turns: The turns in order.
    """

    name: str
    label: str
    reference: str | None
    turns: list[Turn]

    def median(self, value: Callable[[Turn], float]) -> float:
        """Returns the median of a value over the turns."""
        return statistics.median(map(value, self.turns))


@dataclasses.dataclass(frozen=True)
class ThroughputResult:
    """How fast each contender read one kind of stream.

    Attributes:
        name: Of the case.
        title: For people.
        batch_size: Records in a batch, where there are batches.
        record_bytes: Mean length of a record, with its frame.
        compression_ratio: So many times smaller the stream was by compression.
        entries: The contenders.
    """

    kind: ClassVar[str] = "throughput"
    name: str
    title: str
    batch_size: int
    record_bytes: float
    compression_ratio: float
    entries: list[Entry]

    def entry(self, name: str) -> Entry | None:
        """Returns the contender of that name, if it took part."""
        return _named(name, self.entries)

    def ratio(self, name: str, reference: str | None) -> float | None:
        """Returns how many times faster ``name`` is than ``reference``, if both took part.

        It is the median of the ratios within each round: what slows a whole round cancels out.
        """
        own, other = self.entry(name), self.entry(reference or "")
        if own is None or other is None:
            return None
        return statistics.median(
            a.megabytes_per_second / b.megabytes_per_second
            for a, b in zip(own.turns, other.turns, strict=True)
        )


@dataclasses.dataclass(frozen=True)
class Samples:
    """One thing that was timed several times.

    Attributes:
        name: Within its case.
        label: For people.
        milliseconds: The times, in the order measured.
    """

    name: str
    label: str
    milliseconds: list[float]

    def quantile(self, fraction: float) -> float:
        """Returns the smallest time that ``fraction`` of all do not exceed."""
        return sorted(self.milliseconds)[math.ceil(fraction * len(self.milliseconds)) - 1]


@dataclasses.dataclass(frozen=True)
class LatencyResult:
    """How long things took.

    Attributes:
        name: Of the case.
        title: For people.
        samples: The things.
    """

    kind: ClassVar[str] = "latency"
    name: str
    title: str
    samples: list[Samples]


@dataclasses.dataclass(frozen=True)
class MemoryCurve:
    """Resident memory of a process that reads a stream.

    Attributes:
        name: Within its case.
        label: For people.
        start_mebibytes: Before the stream; by then a first one was read.
        gigabytes: How much (10^9 bytes, without compression) was read at each look.
        mebibytes: The memory at each look.
    """

    name: str
    label: str
    start_mebibytes: float
    gigabytes: list[float]
    mebibytes: list[float]

    @property
    def growth_mebibytes(self) -> float:
        """How far the most was above the start."""
        return max(self.mebibytes) - self.start_mebibytes


@dataclasses.dataclass(frozen=True)
class MemoryResult:
    """Memory over long streams.

    Attributes:
        name: Of the case.
        title: For people.
        curves: The streams.
    """

    kind: ClassVar[str] = "memory"
    name: str
    title: str
    curves: list[MemoryCurve]


Result = ThroughputResult | LatencyResult | MemoryResult

_Result = TypeVar("_Result", ThroughputResult, LatencyResult, MemoryResult)
_Named = TypeVar("_Named", Entry, ThroughputResult, LatencyResult, MemoryResult)


@dataclasses.dataclass(frozen=True)
class Results:
    """All that one run measured.

    Attributes:
        environment: The machine, versions and the date, for people.
        settings: What ``cases.Settings`` were in force.
        cases: The results.
    """

    environment: dict[str, str]
    settings: dict[str, Any]
    cases: list[Result]

    def throughput(self, name: str) -> ThroughputResult | None:
        """Returns the result of a throughput case, if that was measured."""
        return _named(name, self._of(ThroughputResult))

    def latency(self, name: str) -> LatencyResult | None:
        """Returns the result of a latency case, if that was measured."""
        return _named(name, self._of(LatencyResult))

    def memory(self, name: str) -> MemoryResult | None:
        """Returns the result of a memory case, if that was measured."""
        return _named(name, self._of(MemoryResult))

    def _of(self, kind: type[_Result]) -> Iterator[_Result]:
        return (case for case in self.cases if isinstance(case, kind))


def _named(name: str, items: Iterable[_Named]) -> _Named | None:
    return next((item for item in items if item.name == name), None)
