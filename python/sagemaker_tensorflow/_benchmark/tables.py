# SPDX-License-Identifier: Apache-2.0
"""Results as tables of text, for a terminal and for documents."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from rich.table import Table as RichTable
from rich.text import Text

from sagemaker_tensorflow._benchmark.goals import Reached
from sagemaker_tensorflow._benchmark.results import (
    LatencyResult,
    MemoryResult,
    Result,
    ThroughputResult,
)


@dataclasses.dataclass(frozen=True)
class Table:
    """Text in rows and columns.

    Attributes:
        title: Above all.
        headings: Of the columns, the first of which names the rows.
        rows: Their cells.
    """

    title: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def rich(self) -> RichTable:
        """Returns the table for a terminal."""
        made = RichTable(title=Text(self.title), title_justify="left", title_style="bold")
        made.add_column(self.headings[0])
        for heading in self.headings[1:]:
            made.add_column(heading, justify="right", no_wrap=True)
        for row in self.rows:
            made.add_row(*map(Text, row))
        return made

    def markdown(self) -> str:
        """Returns the table without its title for a document."""
        lines = [self.headings, ("---", *("---:" for _ in self.headings[1:])), *self.rows]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def of_case(result: Result) -> Table:
    """Returns the table of one case."""
    if isinstance(result, ThroughputResult):
        return _of_throughput(result)
    if isinstance(result, LatencyResult):
        return _of_latency(result)
    return _of_memory(result)


def of_goals(reached: Sequence[Reached]) -> Table:
    """Returns the table of goals."""
    rows = [(one.what, one.goal, one.value, "yes" if one.met else "no") for one in reached]
    return Table("Goals", ("", "goal", "reached", "met"), rows)


def with_prefix(value: float) -> str:
    """Returns ``value`` with three digits and an SI prefix."""
    for prefix, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{three_digits(value / size)} {prefix}"
    return three_digits(value)


def three_digits(value: float) -> str:
    """Returns ``value`` with three digits, or all of those before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _of_throughput(result: ThroughputResult) -> Table:
    """Columns that are empty for all contenders are left out."""
    title = f"{result.title} ({result.name})"
    if result.compression_ratio != 1:
        title += f", compressed {result.compression_ratio:.2f}:1"
    headings = ("", "records/s", "MB/s", "min-max", "x reference", "x pipe", "CPU s/GB", "writer's")
    rows = []
    for entry in result.entries:
        rates = [turn.megabytes_per_second for turn in entry.turns]
        writer = entry.median(lambda turn: turn.writer_cpu_seconds_per_gigabyte)
        rows.append(
            (
                entry.label,
                with_prefix(entry.median(lambda turn: turn.records_per_second)),
                three_digits(entry.median(lambda turn: turn.megabytes_per_second)),
                f"{three_digits(min(rates))}-{three_digits(max(rates))}",
                _ratio(result.ratio(entry.name, entry.reference)),
                _ratio(result.ratio(entry.name, "pipe")),
                three_digits(entry.median(lambda turn: turn.cpu_seconds_per_gigabyte)),
                three_digits(writer) if writer else "",
            )
        )
    used = [any(cells) for cells in zip(*rows, strict=True)]
    return Table(title, _only(used, headings), [_only(used, row) for row in rows])


def _of_latency(result: LatencyResult) -> Table:
    rows = [
        (
            samples.label,
            *(f"{three_digits(samples.quantile(q))} ms" for q in (0.5, 0.9, 0.99, 1.0)),
            str(len(samples.milliseconds)),
        )
        for samples in result.samples
    ]
    headings = ("", "median", "p90", "p99", "max", "n")
    return Table(f"{result.title} ({result.name})", headings, rows)


def _of_memory(result: MemoryResult) -> Table:
    rows = [
        (
            curve.label,
            f"{three_digits(curve.gigabytes[-1])} GB",
            f"{curve.start_mebibytes:.0f} MiB",
            f"{max(curve.mebibytes):.0f} MiB",
            f"{curve.mebibytes[-1]:.0f} MiB",
            f"{curve.growth_mebibytes:.0f} MiB",
        )
        for curve in result.curves
    ]
    headings = ("", "read", "start", "most", "end", "growth")
    return Table(f"{result.title} ({result.name})", headings, rows)


def _ratio(value: float | None) -> str:
    return "" if value is None else three_digits(value)


def _only(used: list[bool], cells: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(cell for cell, use in zip(cells, used, strict=True) if use)
