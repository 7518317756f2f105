# SPDX-License-Identifier: Apache-2.0
"""Shows on standard error how a job goes: a live table on a terminal, plain lines elsewhere.

The script's output passes through as it is. Where it goes to the terminal that the live table is
on, it goes through this process, so that it scrolls by above the table; everywhere else the script
has our own standard output and error.
"""

from __future__ import annotations

import codecs
import collections
import os
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import IO, cast

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from sagemaker_tensorflow._feed.channel_history import Row, Sample
from sagemaker_tensorflow._local.show import wording
from sagemaker_tensorflow._local.show.lasting_stderr import LastingStream

_LINE_SECONDS = 10.0
_RATE_SECONDS = 2.0
_MAX_TAIL = 1 << 16


class PlainDisplay:
    """A line for each channel now and then."""

    output: tuple[int | None, int | None] = (None, None)

    def __init__(self, console: Console) -> None:
        self._console = console
        self._before: Sample | None = None
        self._next = _LINE_SECONDS

    def __enter__(self) -> PlainDisplay:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def say(self, text: str) -> None:
        """Prints a line."""
        self._console.print(f"pipemode: {text}", markup=False, highlight=False, soft_wrap=True)

    def show(self, seconds: float, rows: Sequence[Row]) -> None:
        """Prints how far the channels are, every ten seconds."""
        now = Sample(seconds, rows)
        if self._before is None or seconds < self._before.seconds:  # or the script begins now
            self._before, self._next = now, _LINE_SECONDS
        before = self._before
        if seconds < self._next:
            return
        for index, row in enumerate(rows):
            if row.channel.mode != "Pipe" and not wording.is_filling(row):
                continue
            rate = wording.rate_text(wording.rate(before, now, index))
            count = wording.size(row.progress.bytes_written)
            if row.channel.mode == "Pipe":
                what = f"epoch {row.progress.epoch}, {count} sent"
            else:
                what = " ".join(filter(None, [count, wording.share(row)]))
            self.say(
                f"{wording.duration(seconds)}  {wording.label(row, rows)}: {what}, "
                f"{rate}, {wording.state(row)}"
            )
        self._before = now
        self._next = seconds + _LINE_SECONDS


class LiveDisplay:
    """A table that stays at the bottom of a terminal."""

    def __init__(self, console: Console, title: str) -> None:
        self._console = console
        self._title = title
        self._recent: collections.deque[Sample] = collections.deque()
        # Of the script's output, what has no end of line yet. It is part of what is redrawn.
        self._tail = ""
        self._live = Live(
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            get_renderable=self._render,
        )
        self._lock = threading.Lock()
        self.output: tuple[int | None, int | None] = (None, None)

    def __enter__(self) -> LiveDisplay:
        self._read_end, self._write_end = os.pipe()
        os.set_inheritable(self._write_end, True)
        # Of the two, what goes to a terminal.
        to_terminal = [self._write_end if os.isatty(fd) else None for fd in (1, 2)]
        self.output = (to_terminal[0], to_terminal[1])
        self._pump = threading.Thread(target=self._pass_on, name="pipemode-output", daemon=True)
        self._pump.start()
        self._live.start(refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._write_end)
        self._pump.join()
        os.close(self._read_end)
        with self._lock:
            tail, self._tail = self._tail, ""
            if tail:
                self._print(tail + "\n")
            self._live.stop()

    def say(self, text: str) -> None:
        """Prints a line above the table."""
        with self._lock:
            self._print(f"pipemode: {text}\n")

    def show(self, seconds: float, rows: Sequence[Row]) -> None:
        """Shows how far the channels are."""
        with self._lock:
            if self._recent and seconds < self._recent[-1].seconds:  # the script begins now
                self._recent.clear()
            self._recent.append(Sample(seconds, rows))
            while seconds - self._recent[0].seconds > _RATE_SECONDS:
                self._recent.popleft()
            self._live.refresh()

    def _pass_on(self) -> None:
        # Whatever bytes the script writes are to arrive, text or not.
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        while piece := os.read(self._read_end, 1 << 16):
            lines, newline, tail = (self._tail + decoder.decode(piece)).rpartition("\n")
            with self._lock:
                if len(tail) > _MAX_TAIL:
                    lines, newline, tail = lines + newline + tail, "", ""
                self._tail = tail
                if lines or newline:
                    self._print(lines + newline)
                else:
                    self._live.refresh()

    def _print(self, text: str) -> None:
        self._console.print(_Verbatim(text), crop=False, end="")

    def _render(self) -> RenderableType:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
        table.add_column("channel", no_wrap=True)
        for name in ("epoch", "of it", "sent", "rate"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("now")  # what gives way first
        parts: list[RenderableType] = []
        if self._tail:
            # Progress bars go back to the beginning of their line.
            last = self._tail.replace("\b", "").rstrip("\r").rpartition("\r")[2]
            parts.append(Text.from_ansi(last, no_wrap=True, overflow="crop"))
        if not self._recent:
            return Group(*parts, Text(self._title, style="bold"))
        first, now = self._recent[0], self._recent[-1]
        for index, row in enumerate(now.rows):
            if row.channel.mode != "Pipe" and not wording.is_filling(row):
                table.add_row(wording.label(row, now.rows), "", "", "", "", wording.state(row))
                continue
            progress = row.progress
            table.add_row(
                wording.label(row, now.rows),
                str(progress.epoch) if row.channel.mode == "Pipe" else "",
                wording.share(row),
                wording.size(progress.bytes_written),
                wording.rate_text(wording.rate(first, now, index)),
                wording.state(row),
            )
        title = f"{self._title}  {wording.duration(now.seconds)}"
        return Group(*parts, Text(title, style="bold"), table)


class _Verbatim:
    """Text that rich writes as it is."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __rich_console__(self, _console: Console, _options: ConsoleOptions) -> RenderResult:
        yield Segment(self._text)


def create(title: str) -> PlainDisplay | LiveDisplay:
    """Returns the display that fits our standard error."""
    # Bytes that are no text come as surrogates, and are to leave as they came.
    stream = open(  # noqa: SIM115  for as long as the process lives
        2, "w", encoding="utf-8", errors="surrogateescape", buffering=1, closefd=False
    )
    console = Console(file=cast(IO[str], LastingStream(stream)))
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveDisplay(console, title)
    return PlainDisplay(console)
