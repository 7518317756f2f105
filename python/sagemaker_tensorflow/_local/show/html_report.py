# SPDX-License-Identifier: Apache-2.0
"""A page about a job, in one HTML file that needs nothing else: tables, and plots as inline SVG."""

from __future__ import annotations

import html
import importlib.util
import io
import json
import re
import string
from collections.abc import Iterable, Sequence
from pathlib import Path

from sagemaker_tensorflow._feed.channel_history import History, Row
from sagemaker_tensorflow._local.request.job import Job
from sagemaker_tensorflow._local.request.request import Request
from sagemaker_tensorflow._local.run.runner import Result
from sagemaker_tensorflow._local.show import wording

_COLORS = {"sending": "#2a78b8", "script": "#e8973a", "source": "#b5418b"}
# Curves of more points only look noisy.
_POINTS = 240

_PAGE = string.Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto;
       padding: 0 1rem; }
h1 { font-size: 1.5rem; margin-bottom: 0; }
h2 { font-size: 1.15rem; margin-top: 2.2rem; }
table { border-collapse: collapse; }
th, td { text-align: right; padding: .25rem .8rem; border-bottom: 1px solid #ddd; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
.words td { text-align: left; }
thead th { border-bottom: 2px solid #888; font-weight: 600; }
.status { font-size: 1.1rem; margin-top: .3rem; }
.failed { color: #b3261e; } .completed { color: #1b7a3d; }
.note { color: #666; }
pre { background: #f5f5f5; padding: .8rem; overflow-x: auto; font-size: 13px; }
svg { width: 100%; height: auto; }
</style>
</head>
<body>
<h1>$title</h1>
<p class="status $kind">$status</p>
<h2>Channels</h2>
$channels
$remarks
<p class="note">Sending: bytes went into the pipe. Waited for script: the pipe was full, or
nobody had opened it: the script was at work, and data was ready. Waited for source: the script
could have had more; this is what makes a training slow.</p>
$plots
<h2>Job</h2>
$facts
<h2>Request</h2>
<pre>$request</pre>
</body>
</html>
""")


class ReportError(Exception):
    """A report cannot be made; the message says why."""


def check(path: Path) -> None:
    """Finds out, before anything runs, whether a report can be written.

    Raises:
        ReportError: If not.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise ReportError(
            "--report needs matplotlib for its plots: pip install 'sagemaker_tensorflow[report]'"
        )
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise ReportError(f"--report: '{path}' is not a file in a folder that exists")


def write(path: Path, job: Job, request: Request, result: Result) -> None:
    """Writes the page; ``request`` is what ``job`` was made from."""
    rows = result.history.totals
    plotted = [
        index
        for index, row in enumerate(rows)
        if row.channel.mode == "Pipe" and row.progress.bytes_written
    ]
    page = _PAGE.substitute(
        title=html.escape(job.name),
        kind="failed" if result.failure else "completed",
        status=html.escape(_status(result)),
        channels=_channels(rows),
        remarks="".join(f"<p>{html.escape(text)}</p>" for text in wording.remarks(rows)),
        plots="\n".join(_plots(result.history, index) for index in plotted),
        facts=_table((), _facts(job, result), "words"),
        request=html.escape(json.dumps(_without_secrets(request), indent=2)),
    )
    path.write_text(page, encoding="utf-8")


def _status(result: Result) -> str:
    time = wording.duration(result.seconds)
    return f"Failed after {time}: {result.failure}" if result.failure else f"Completed in {time}"


def _facts(job: Job, result: Result) -> list[tuple[str, str]]:
    return [
        ("Script", job.program),
        ("Exit status", str(result.status)),
        ("Hosts", str(len(job.hosts))),
        *(("Written", path) for path in result.outputs),
        *([("Folder", str(result.base_dir))] if result.base_dir else []),
        *([("Processes left behind", str(result.left_behind))] if result.left_behind else []),
    ]


def _channels(rows: Sequence[Row]) -> str:
    if not rows:
        return "<p>None.</p>"
    table = wording.summary_rows(rows)
    return _table(wording.SUMMARY_COLUMNS, table)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "numbers") -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "\n".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return (
        f'<table class="{kind}">\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table>"
    )


def _without_secrets(request: Request) -> Request:
    """Variables often hold credentials, and reports are handed round."""
    environment = dict.fromkeys(request.get("Environment", {}), "(not shown)")
    return {**request, **({"Environment": environment} if environment else {})}


def _plots(history: History, index: int) -> str:
    """Returns a channel's throughput, and what its feeder did, over time."""
    # The object-oriented interface: whatever matplotlib is set to, no window is opened.
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    curves = _Curves(history, index)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": str(index), "font.size": 9}):
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        throughput, shares = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
        throughput.stairs(
            curves.rates, curves.edges, color=_COLORS["sending"], fill=True, alpha=0.3
        )
        throughput.stairs(curves.rates, curves.edges, color=_COLORS["sending"])
        for begin in curves.epoch_begins:
            throughput.axvline(begin, color="#999", linewidth=0.6, linestyle=":")
        throughput.set_ylabel("MB/s")
        throughput.set_ylim(bottom=0)
        bottom = [0.0] * len(curves.rates)
        for name, label in (
            ("sending", "sending"),
            ("script", "waiting for script"),
            ("source", "waiting for source"),
        ):
            top = [low + part for low, part in zip(bottom, curves.shares[name], strict=True)]
            shares.stairs(
                top, curves.edges, baseline=bottom, fill=True, color=_COLORS[name], label=label
            )
            bottom = top
        shares.set_ylim(0, 100)
        shares.set_ylabel("% of time")
        shares.set_xlabel("seconds since the script was started; dotted: a new epoch")
        shares.set_xlim(curves.edges[0], max(curves.edges[-1], curves.edges[0] + 0.1))
        shares.legend(loc="upper center", bbox_to_anchor=(0.5, 1.35), ncols=3, frameon=False)
        for axes in (throughput, shares):
            axes.spines[["top", "right"]].set_visible(False)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    rows = history.samples[-1].rows
    name = html.escape(wording.label(rows[index], rows))
    return f"<h2>{name}</h2>\n{_inline(file.getvalue(), index)}"


class _Curves:
    """What is plotted of one channel.

    Attributes:
        edges: Times between which a value holds, in seconds; one more than values.
        rates: MB/s.
        shares: What the feeder did, in percent of the time.
        epoch_begins: When an epoch began, in seconds.
    """

    def __init__(self, history: History, index: int) -> None:
        samples = history.samples
        step = -(-len(samples) // _POINTS)
        points = [*samples[:-1:step], samples[-1]]
        progress = [sample.rows[index].progress for sample in points]
        self.edges = [sample.seconds for sample in points]
        seconds = [
            max(after - before, 1e-9)
            for before, after in zip(self.edges, self.edges[1:], strict=False)
        ]
        self.rates = [
            rate / 1e6 for rate in _slopes([one.bytes_written for one in progress], seconds)
        ]
        values = {
            "sending": [one.seconds_writing for one in progress],
            "script": [one.seconds_waiting_for_reader for one in progress],
            "source": [one.seconds_waiting_for_source for one in progress],
        }
        self.shares = {
            name: [min(100.0, 100 * slope) for slope in _slopes(value, seconds)]
            for name, value in values.items()
        }
        epochs = [sample.rows[index].progress.epoch for sample in samples]
        self.epoch_begins = [
            sample.seconds
            for sample, before, epoch in zip(samples[1:], epochs, epochs[1:], strict=False)
            if epoch != before
        ]


def _slopes(values: Sequence[float], seconds: Sequence[float]) -> list[float]:
    return [
        (after - before) / time
        for before, after, time in zip(values, values[1:], seconds, strict=False)
    ]


def _inline(svg: str, index: int) -> str:
    """Returns an SVG document as part of a page, with names that no other one on the page has."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'\b(id="|url\(#|href="#)', rf"\g<1>plot{index}-", svg)
    return re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
