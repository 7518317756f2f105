# SPDX-License-Identifier: Apache-2.0
"""Plots of results. Needs matplotlib, the extra ``bench``."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, NullFormatter

from sagemaker_tensorflow._benchmark.goals import MEMORY_GROWTH_MEBIBYTES
from sagemaker_tensorflow._benchmark.results import Entry, Results, ThroughputResult, Turn
from sagemaker_tensorflow._benchmark.tables import three_digits

_STYLE: dict[Any, Any] = {
    "figure.facecolor": "white",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#dddddd",
    "legend.frameon": False,
    "savefig.dpi": 120,
    # Equal results make equal files.
    "svg.hashsalt": "pipemode",
}
_WIDTH = 9.0  # inches
_ROW = 0.3  # inches for a line of a chart with labelled rows

# A contender's colour is the same in all plots. Found by the beginning of its name, the longest
# first; distinct for the colour-blind, too (Okabe and Ito).
_COLOURS = {
    "file-record": "#e69f00",
    "file-batch": "#d55e00",
    "generator": "#8c8c8c",
    "memory": "#009e73",
    "iterators": "#cc79a7",
    "shuffle": "#cc79a7",
    "record": "#56b4e9",
    "igzip": "#009e73",
    "pipe": "#222222",
}
_OURS = "#0072b2"

_TFRECORDS = ("tfrecord-100b", "tfrecord-1kb", "tfrecord-10kb", "tfrecord-100kb", "tfrecord-1mb")
_FORMATS = ("recordio-1kb", "textline-100b", "gzip", "parse")
_ADVICE = ("advice-batch-size", "advice-read-ahead", "advice-prefetch")
_LATENCIES = ("rollover", "stop", "import")

Value = Callable[[Turn], float]


def save(results: Results, folder: Path) -> list[Path]:
    """Writes each plot that ``results`` suffice for, as PNG and as SVG; returns the paths."""
    paths = []
    with mpl.rc_context(_STYLE):
        for name, plot in _PLOTS.items():
            figure = plot(results)
            if figure is None:
                continue
            for suffix, metadata in (("png", None), ("svg", {"Date": None})):
                path = folder / f"{name}.{suffix}"
                figure.savefig(path, metadata=metadata)
                paths.append(path)
    return paths


def _tfrecord(results: Results) -> Figure | None:
    cases = _measured(results, _TFRECORDS)
    if len(cases) < 2:
        return None
    figure = Figure((_WIDTH, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _lines(left, cases, lambda turn: turn.megabytes_per_second)
    left.set(title="TFRecord: rate", xlabel="bytes of a record", ylabel="MB/s")
    _lines(right, cases, lambda turn: turn.cpu_seconds_per_gigabyte)
    right.set(title="TFRecord: CPU time", xlabel="bytes of a record", ylabel="CPU seconds for a GB")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def _lines(axes: Axes, cases: Sequence[ThroughputResult], value: Value) -> None:
    """Draws a line for each contender over the size of a record, medians with min and max."""
    for entry in cases[0].entries:
        entries = [case.entry(entry.name) for case in cases]
        present = [
            (case.record_bytes, one) for case, one in zip(cases, entries, strict=True) if one
        ]
        medians = [one.median(value) for _, one in present]
        axes.errorbar(
            [size for size, _ in present],
            medians,
            yerr=_whiskers([one for _, one in present], value),
            label=entry.label,
            color=_colour(entry.name),
            marker="o",
            markersize=4,
            capsize=2,
        )
    axes.set(xscale="log", yscale="log")
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,g}"))


def _formats(results: Results) -> Figure | None:
    """Dots and not bars: on a logarithmic axis, the length of a bar says nothing."""
    cases = _measured(results, _FORMATS)
    if not cases:
        return None
    figure, panels = _panels([len(case.entries) for case in cases], logarithmic=True)
    for axes, case in zip(panels, cases, strict=True):
        _rows(axes, [entry.label for entry in case.entries])
        for row, entry in enumerate(case.entries):
            rate = entry.median(lambda turn: turn.megabytes_per_second)
            axes.errorbar(
                [rate],
                [row],
                xerr=_whiskers([entry], lambda turn: turn.megabytes_per_second),
                color=_colour(entry.name),
                marker="o",
                capsize=2,
            )
            axes.annotate(
                three_digits(rate),
                (rate, row),
                textcoords="offset points",
                xytext=(0, 5),
                ha="center",
                fontsize=8,
            )
        axes.set_title(case.title)
    panels[-1].set_xlabel("MB/s")
    return figure


def _channels(results: Results) -> Figure | None:
    cases = _measured(results, ("channels",))
    if not cases:
        return None
    figure, (axes,) = _panels([len(cases[0].entries)])
    _bars(axes, cases[0], lambda turn: turn.megabytes_per_second)
    axes.set(title=cases[0].title, xlabel="MB/s, all channels together")
    return figure


def _advice(results: Results) -> Figure | None:
    cases = _measured(results, _ADVICE)
    if not cases:
        return None
    figure, panels = _panels([len(case.entries) for case in cases])
    for axes, case in zip(panels, cases, strict=True):
        _bars(axes, case, lambda turn: turn.records_per_second)
        axes.set_title(case.title)
        axes.xaxis.set_major_formatter(EngFormatter())
    panels[-1].set_xlabel("records/s")
    return figure


def _latencies(results: Results) -> Figure | None:
    found = [results.latency(name) for name in _LATENCIES]
    cases = [case for case in found if case is not None]
    if not cases:
        return None
    figure, panels = _panels([len(case.samples) for case in cases], logarithmic=True)
    for axes, case in zip(panels, cases, strict=True):
        _rows(axes, [samples.label for samples in case.samples])
        for row, samples in enumerate(case.samples):
            times = samples.milliseconds
            axes.plot(times, [row] * len(times), "o", color=_OURS, alpha=0.3, markersize=4)
            axes.plot([samples.quantile(0.5)], [row], "|", color="black", markersize=14)
        axes.set_title(case.title)
    panels[-1].set_xlabel("ms; the bar is the median")
    return figure


def _memory(results: Results) -> Figure | None:
    case = results.memory("memory")
    if case is None:
        return None
    figure = Figure((_WIDTH, 3.6), layout="constrained")
    axes = figure.subplots()
    colours = itertools.cycle((_OURS, "#d55e00", "#009e73"))
    for curve, colour in zip(case.curves, colours, strict=False):
        growth = [mebibytes - curve.start_mebibytes for mebibytes in curve.mebibytes]
        axes.plot(curve.gigabytes, growth, label=curve.label, color=colour)
    axes.axhline(MEMORY_GROWTH_MEBIBYTES, color="black", linestyle="--", label="goal")
    axes.set(title=case.title, xlabel="GB read", ylabel="MiB above the start")
    axes.set_xlim(left=0)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _measured(results: Results, names: Sequence[str]) -> list[ThroughputResult]:
    found = (results.throughput(name) for name in names)
    return [case for case in found if case is not None]


def _panels(rows: Sequence[int], logarithmic: bool = False) -> tuple[Figure, list[Axes]]:
    """Returns a figure with panels below each other, for so many labelled rows each.

    Logarithmic ones share their axis.
    """
    height = sum(_ROW * count + 0.5 for count in rows) + 0.3
    figure = Figure((_WIDTH, height), layout="constrained")
    grid = figure.subplots(
        len(rows),
        1,
        sharex=logarithmic,
        squeeze=False,
        height_ratios=[1 + count for count in rows],
    )
    panels = list(grid[:, 0])
    if logarithmic:
        for axes in panels:
            axes.set_xscale("log")
            axes.tick_params(labelbottom=True)
        panels[0].xaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,g}"))
        panels[0].xaxis.set_minor_formatter(NullFormatter())
    return figure, panels


def _rows(axes: Axes, labels: Sequence[str]) -> None:
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(len(labels) - 0.4, -0.8)
    axes.grid(visible=False, axis="y")


def _bars(axes: Axes, case: ThroughputResult, value: Value) -> None:
    _rows(axes, [entry.label for entry in case.entries])
    axes.barh(
        range(len(case.entries)),
        [entry.median(value) for entry in case.entries],
        xerr=_whiskers(case.entries, value),
        color=[_colour(entry.name) for entry in case.entries],
        height=0.7,
        capsize=2,
        ecolor="#666666",
    )
    axes.set_xlim(left=0)


def _whiskers(entries: Sequence[Entry], value: Value) -> list[list[float]]:
    """Returns how far the least and the most are from the median, as error bars want it."""
    return [
        [entry.median(value) - min(map(value, entry.turns)) for entry in entries],
        [max(map(value, entry.turns)) - entry.median(value) for entry in entries],
    ]


def _colour(name: str) -> str:
    return next((colour for start, colour in _COLOURS.items() if name.startswith(start)), _OURS)


_PLOTS: dict[str, Callable[[Results], Figure | None]] = {
    "tfrecord": _tfrecord,
    "formats": _formats,
    "channels": _channels,
    "latency": _latencies,
    "memory": _memory,
    "advice": _advice,
}
