# SPDX-License-Identifier: Apache-2.0
"""``pipemode inspect``: what is in files that a channel is to carry."""

from __future__ import annotations

import contextlib
import enum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from sagemaker_tensorflow._datatools.named_objects import DataObject

# What tables need; a console that is no terminal has 80 columns.
_COLUMNS = 120


class RecordFormat(str, enum.Enum):
    """What a user may say that records are."""

    TFRECORD = "TFRecord"
    RECORDIO = "RecordIO"
    TEXTLINE = "TextLine"


class RecordIOParts(str, enum.Enum):
    """How records in several parts were written."""

    JOINED = "joined"
    DMLC = "dmlc"


class Compression(str, enum.Enum):
    """What a user may say that is around them."""

    GZIP = "gzip"
    ZLIB = "zlib"
    NONE = "none"


def inspect(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH",
            help="Files, folders, globs, s3://bucket/prefix, or a FIFO.",
            show_default=False,
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    max_records: Annotated[
        int | None, typer.Option(min=1, help="Read no more than so many records.")
    ] = None,
    consume: Annotated[
        bool,
        typer.Option("--consume", help="Do read a FIFO: what is in it is gone for a training."),
    ] = False,
    record_format: Annotated[
        RecordFormat | None,
        typer.Option(case_sensitive=False, help="Do not look, it is this."),
    ] = None,
    compression: Annotated[
        Compression | None,
        typer.Option(case_sensitive=False, help="Do not look, it is this."),
    ] = None,
    recordio_parts: Annotated[
        RecordIOParts, typer.Option(help="'dmlc' for RecordIO made by MXNet's tools.")
    ] = RecordIOParts.JOINED,
) -> None:
    """Show format, records and features of data, and the code that reads it from a channel.

    All checksums are verified. Ends with status 1 if anything is damaged, cut off or unknown.
    """
    import json
    import sys

    from rich.console import Console

    from sagemaker_tensorflow._datatools import findings_report, read_progress, scan

    options = scan.Options(
        record_format=record_format.value if record_format else None,
        compression=compression.value.upper() if compression else None,
        recordio_parts=recordio_parts.value,
        max_records=max_records,
    )
    try:
        with contextlib.ExitStack() as stack:
            objects = _find(paths, consume, stack)
            sizes = [data.size for data in objects]
            total = None if None in sizes or max_records else sum(size or 0 for size in sizes)
            on_read = stack.enter_context(read_progress.show(total, Console(stderr=True)))
            findings = scan.scan(objects, options, on_read)
    except KeyboardInterrupt:
        typer.echo("interrupted", err=True)
        raise typer.Exit(130) from None
    if as_json:
        json.dump(findings_report.to_json(findings), sys.stdout, indent=2)
        typer.echo()
    else:
        console = Console()
        if not console.is_terminal:
            console.width = _COLUMNS
        findings_report.print_findings(findings, console)
        for line in findings_report.problem_lines(findings):
            typer.echo(line, err=True)
    if findings.problems:
        raise typer.Exit(1)


def _find(paths: list[str], consume: bool, stack: contextlib.ExitStack) -> list[DataObject]:
    from sagemaker_tensorflow._datatools.named_objects import SourceError, find

    try:
        objects = find(paths, stack)
    except SourceError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from None
    for data in objects:
        if not data.is_fifo:
            continue
        if not consume:
            typer.echo(
                f"error: '{data.name}' is a FIFO: what is read here is gone for the training that "
                "waits for it, and so is the epoch. Add --consume if that is what you want, or "
                "inspect the data that its writer sends",
                err=True,
            )
            raise typer.Exit(2)
        typer.echo(f"reading '{data.name}', once it has a writer", err=True)
    return objects
