# SPDX-License-Identifier: Apache-2.0
"""Shows how far reading is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

OnRead = Callable[[str, int, int], None]
"""Is called with what is read, how many of its stored bytes so far, and the records in all."""

WRITING = "writing"
"""The name for what is written after all was read."""

_LINE_SECONDS = 10.0


@contextlib.contextmanager
def show(total_bytes: int | None, console: Console) -> Iterator[OnRead]:
    """Shows on ``console`` how far reading is.

    Args:
        total_bytes: Of all that is read; ``None`` if that is not known.
        console: Where to show it.

    Yields:
        What is to be called after each piece.
    """
    if not console.is_terminal:
        yield _lines(total_bytes, console)
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("reading", total=total_bytes)
        count = _Counter()

        def on_read(name: str, read: int, records: int) -> None:
            progress.update(
                task, completed=count.add(name, read), description=_described(name, records)
            )

        yield on_read


class _Counter:
    """Bytes of all that was read, from those of each part so far."""

    def __init__(self) -> None:
        self._name = ""
        self._before = 0
        self._read = 0

    def add(self, name: str, read: int) -> int:
        if name != self._name:
            self._before += self._read
            self._name = name
        self._read = read
        return self._before + read


def _described(name: str, records: int) -> str:
    return f"{records:,} records" + (" written" if name == WRITING else "")


def _lines(total_bytes: int | None, console: Console) -> OnRead:
    started = last = time.monotonic()
    count = _Counter()

    def on_read(name: str, read: int, records: int) -> None:
        nonlocal last
        done = count.add(name, read)
        now = time.monotonic()
        if now - last < _LINE_SECONDS:
            return
        last = now
        share = f"{100 * done / total_bytes:3.0f} %  " if total_bytes else ""
        console.print(
            f"{now - started:4.0f} s  {share}{_described(name, records)}", highlight=False
        )

    return on_read
