# SPDX-License-Identifier: Apache-2.0
"""``pipemode bench``: how fast channels are read, beside what else could be used."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from sagemaker_tensorflow._benchmark.cases import Case, Settings
    from sagemaker_tensorflow._benchmark.results import Results

# What tables need; a console that is no terminal has 80 columns.
_COLUMNS = 130
_RESULTS_FILE = "results.json"


def bench(
    case: Annotated[
        list[str] | None,
        typer.Option("--case", metavar="NAME", help="Measure only this; may be repeated."),
    ] = None,
    list_cases: Annotated[bool, typer.Option("--list", help="List the cases and exit.")] = False,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Measure a few cases, or those named, for a short time; no verdicts.",
        ),
    ] = False,
    rounds: Annotated[
        int | None, typer.Option(min=1, help="Turns of each contender.", show_default="5")
    ] = None,
    seconds: Annotated[
        float | None,
        typer.Option(min=0.01, help="Length of a turn, about.", show_default="1.0"),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(file_okay=False, help="Folder for results.json and plots, made if missing."),
    ] = None,
    json_to_stdout: Annotated[
        bool, typer.Option("--json", help="Print JSON to stdout, and tables to stderr.")
    ] = False,
    from_file: Annotated[
        Path | None,
        typer.Option("--from", dir_okay=False, help="Measure nothing, show these results (JSON)."),
    ] = None,
    write_docs: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="Markdown file whose marked parts are made anew; plots go into images beside it.",
        ),
    ] = None,
) -> None:
    """Measure how fast PipeModeDataset reads, beside what else could be used.

    Writers in processes of their own feed real FIFOs. The contenders of each case take turns.
    """
    from rich.console import Console

    from sagemaker_tensorflow._benchmark import cases, goals, results_json, tables

    console = Console(stderr=json_to_stdout)
    if not console.is_terminal:
        console.width = _COLUMNS
    if list_cases:
        for one in cases.CASES:
            typer.echo(f"{one.name:18} {one.title}")
        return
    if output is not None or write_docs is not None:
        _check_plots()
    if from_file is None:
        results = _measure(
            _selected(case, quick), _settings(quick, rounds, seconds), console, output
        )
    else:
        try:
            results = results_json.load(from_file)
        except results_json.ResultsError as error:
            raise _failure(str(error)) from error
        for result in results.cases:
            console.print(tables.of_case(result).rich())
    too_short = goals.no_verdict(results)
    console.print(too_short or tables.of_goals(goals.reached(results)).rich())
    if busy := goals.busy(results):
        console.print(busy, style="bold yellow")
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / _RESULTS_FILE).write_text(results_json.dump(results))
        _plot(results, output)
    if write_docs is not None:
        _write_docs(results, write_docs)
    if json_to_stdout:
        typer.echo(results_json.dump(results), nl=False)


def _measure(
    selected: Sequence[Case], settings: Settings, console: Console, output: Path | None
) -> Results:
    """Measures and shows the table of each case; what is done by then is in ``output``."""
    from rich.console import Console

    from sagemaker_tensorflow._benchmark import (
        machine,
        results,
        results_json,
        run_progress,
        runner,
        tables,
    )

    # Folders and processes are cleaned up as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    errors = Console(stderr=True)
    for program in runner.missing_programs(selected):
        errors.print(f"Without {program}, which is not installed: try apt-get install isal")
    measured = results.Results(machine.describe(), dataclasses.asdict(settings), [])
    steps = functools.partial(runner.steps, settings=settings)
    with run_progress.show(selected, steps, errors) as on_step:
        for result in runner.run(selected, settings, on_step):
            measured.cases.append(result)
            console.print(tables.of_case(result).rich())
            if output is not None:
                output.mkdir(parents=True, exist_ok=True)
                (output / _RESULTS_FILE).write_text(results_json.dump(measured))
    # What is plotted now, and what is plotted from the file, is to be the same.
    return results_json.parse(results_json.dump(measured))


def _selected(names: list[str] | None, quick: bool) -> Sequence[Case]:
    from sagemaker_tensorflow._benchmark.cases import CASES, QUICK_CASES

    known = {case.name: case for case in CASES}
    for name in names or []:
        if name not in known:
            raise typer.BadParameter(
                f"no case {name!r}; there are: {', '.join(known)}", param_hint="--case"
            )
    chosen = names or (QUICK_CASES if quick else known)
    return [known[name] for name in dict.fromkeys(chosen)]


def _settings(quick: bool, rounds: int | None, seconds: float | None) -> Settings:
    from sagemaker_tensorflow._benchmark.cases import QUICK, Settings

    settings = QUICK if quick else Settings()
    return dataclasses.replace(
        settings, rounds=rounds or settings.rounds, seconds=seconds or settings.seconds
    )


def _check_plots() -> None:
    """Fails before anything is measured, and not after."""
    if importlib.util.find_spec("matplotlib") is None:
        raise _failure(
            "plots need matplotlib: pip install 'sagemaker_tensorflow[bench]'; without --output "
            "and --write-docs there are tables and JSON"
        )


def _plot(results: Results, folder: Path) -> None:
    from sagemaker_tensorflow._benchmark import plots

    for path in plots.save(results, folder):
        typer.echo(f"wrote {path}", err=True)


def _write_docs(results: Results, path: Path) -> None:
    from sagemaker_tensorflow._benchmark import document

    try:
        updated = document.update(path.read_text(encoding="utf-8"), results)
    except document.DocumentError as error:
        raise _failure(f"{path}: {error}") from error
    path.write_text(updated, encoding="utf-8")
    typer.echo(f"wrote {path}", err=True)
    images = path.parent / "images"
    images.mkdir(exist_ok=True)
    _plot(results, images)


def _failure(message: str) -> typer.Exit:
    typer.echo(f"error: {message}", err=True)
    return typer.Exit(1)
