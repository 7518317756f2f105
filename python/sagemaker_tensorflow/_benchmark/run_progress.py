# SPDX-License-Identifier: Apache-2.0
"""Shows how far a run is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from sagemaker_tensorflow._benchmark.cases import Case

OnStep = Callable[[Case, str], None]
"""Is called when a step begins, with its case and what is done."""


@contextlib.contextmanager
def show(cases: Sequence[Case], steps: Callable[[Case], int], console: Console) -> Iterator[OnStep]:
    """Shows on ``console`` how far ``cases`` are.

    Args:
        cases: What is measured, in this order.
        steps: Tells how many steps a case has.
        console: Where to show it.

    Yields:
        What is to be called for each step.
    """
    if not console.is_terminal:
        yield _line_for_each(cases, console)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting", total=len(cases))
        begun = dict.fromkeys((case.name for case in cases), 0)

        def on_step(case: Case, what: str) -> None:
            completed = cases.index(case) + begun[case.name] / steps(case)
            begun[case.name] += 1
            progress.update(task, completed=completed, description=f"{case.title}: {what}")

        yield on_step


def _line_for_each(cases: Sequence[Case], console: Console) -> OnStep:
    started = time.monotonic()
    said: set[str] = set()

    def on_step(case: Case, _what: str) -> None:
        if case.name not in said:
            said.add(case.name)
            seconds = time.monotonic() - started
            console.print(f"{seconds:4.0f} s  {len(said)}/{len(cases)}  {case.title}")

    return on_step
