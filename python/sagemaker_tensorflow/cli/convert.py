# SPDX-License-Identifier: Apache-2.0
"""``pipemode convert``: data that a channel can carry, from data that it cannot."""

from __future__ import annotations

import contextlib
import enum
import json
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from sagemaker_tensorflow.cli.inspect import RecordIOParts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sagemaker_tensorflow._datatools.inputs.source import Source
    from sagemaker_tensorflow._datatools.output import OutputOptions, Written


class Target(str, enum.Enum):
    """What can be written."""

    TFRECORD = "tfrecord"
    RECORDIO = "recordio"
    TEXT = "text"


class Kind(str, enum.Enum):
    """What can be read."""

    RECORDS = "records"
    CSV = "csv"
    NUMPY = "numpy"
    IMAGES = "images"


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_FORMATS = {Target.TFRECORD: "TFRecord", Target.RECORDIO: "RecordIO", Target.TEXT: "TextLine"}
_ENDINGS = {
    ".tfrecord": Target.TFRECORD,
    ".tfrecords": Target.TFRECORD,
    ".recordio": Target.RECORDIO,
    ".rec": Target.RECORDIO,
    ".txt": Target.TEXT,
}


def convert(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT",
            help="Files, folders, globs, s3://bucket/prefix.",
            show_default=False,
        ),
    ],
    output: Annotated[
        str,
        typer.Argument(
            metavar="OUTPUT", help="A file, or a folder for shards.", show_default=False
        ),
    ],
    to: Annotated[
        Target | None,
        typer.Option("--to", help="What to write.", show_default="by OUTPUT's ending"),
    ] = None,
    kind: Annotated[
        Kind | None, typer.Option("--from", help="What INPUT is.", show_default="found out")
    ] = None,
    shards: Annotated[
        int | None, typer.Option(min=1, help="Deal records out to so many files.")
    ] = None,
    records_per_shard: Annotated[
        int | None, typer.Option(min=1, help="Begin a new file after so many records.")
    ] = None,
    gzip: Annotated[
        bool, typer.Option("--gzip", help="Compress, as OUTPUT's ending .gz does too.")
    ] = False,
    shuffle_seed: Annotated[
        int | None,
        typer.Option(min=0, help="Write records in random order, the same for the same seed."),
    ] = None,
    types: Annotated[
        list[str] | None,
        typer.Option(
            "--type",
            metavar="NAME=TYPE",
            help="A CSV column or NumPy array becomes int, float, string, raw (NumPy: the bytes of "
            "a row) or skip; may be repeated.",
        ),
    ] = None,
    schema: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help='The same as JSON: {"NAME": "TYPE", ...}.'),
    ] = None,
    missing: Annotated[
        list[str] | None,
        typer.Option(help="CSV: stands for a missing value, as '' and NA do; may be repeated."),
    ] = None,
    delimiter: Annotated[
        str | None, typer.Option(help="CSV: between fields.", show_default="',', or tab in .tsv")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,...", help="CSV: names of the columns of files without a header."
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Images: one class a line, numbered from 0 on."
        ),
    ] = None,
    recordio_parts: Annotated[
        RecordIOParts, typer.Option(help="'dmlc' if INPUT is RecordIO made by MXNet's tools.")
    ] = RecordIOParts.JOINED,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Write CSV, NumPy arrays, folders of images or other records as records for a channel.

    OUTPUT appears when it is complete, and not before. Rows of CSV and of arrays, and images,
    become tf.train.Examples; 'pipemode inspect OUTPUT' shows the code that parses them.
    """
    from sagemaker_tensorflow._datatools import convert as converting
    from sagemaker_tensorflow._datatools.inputs.source import InputError
    from sagemaker_tensorflow._datatools.named_objects import SourceError
    from sagemaker_tensorflow._datatools.output import OutputError, OutputOptions, check
    from sagemaker_tensorflow._native import PipeError

    if shards and records_per_shard:
        raise typer.BadParameter("one of --shards and --records-per-shard")
    if delimiter is not None and len(delimiter) != 1:
        raise typer.BadParameter("a single character", param_hint="--delimiter")
    path = _local_path(output)
    options = OutputOptions(
        record_format=_FORMATS[to or _target_of(path)],
        gzip=gzip or path.suffix == ".gz",
        shards=shards,
        records_per_shard=records_per_shard,
        force=force,
    )
    input_options = converting.InputOptions(
        kind=kind.value if kind else None,
        types=_types(types or [], schema),
        missing=missing or (),
        delimiter=delimiter,
        columns=columns.split(",") if columns else None,
        labels=labels,
        recordio_parts=recordio_parts.value,
    )
    try:
        with _interrupted_once(), contextlib.ExitStack() as stack:
            check(path, options)
            source = converting.open_source(inputs, input_options, options.record_format, stack)
            _run(source, path, options, shuffle_seed)
    except (InputError, SourceError, OutputError, PipeError, OSError) as error:
        _fail(f"error: {error}\nnothing was written", 1)
    except _Interrupted as error:
        _fail("interrupted; nothing was written", 128 + error.number)


def _run(source: Source, path: Path, options: OutputOptions, shuffle_seed: int | None) -> None:
    from rich.console import Console

    from sagemaker_tensorflow._datatools import convert as converting
    from sagemaker_tensorflow._datatools import read_progress

    errors = Console(stderr=True)
    begun = time.monotonic()
    total = source.total_bytes
    if total is not None and shuffle_seed is not None:
        total *= 2  # all is read before anything is written
    with read_progress.show(total, errors) as on_read:
        written = converting.convert(
            source,
            path,
            options,
            shuffle_seed=shuffle_seed,
            on_read=on_read,
            on_restart=lambda reason: typer.echo(f"{reason}: beginning again", err=True),
        )
    typer.echo(_summary(written, path, time.monotonic() - begun))
    for remark in source.remarks():
        typer.echo(remark)
    if 0 in written.files and written.records:
        typer.echo("warning: there are more shards than records", err=True)


def _summary(written: Written, path: Path, seconds: float) -> str:
    from sagemaker_tensorflow._datatools.findings_report import human_bytes

    count = len(written.files)
    files = "" if count == 1 else f" in {count:,} files"
    if count > 1 and written.records:
        least, most = min(written.files), max(written.files)
        files += f" of {least:,}" + (f" to {most:,}" if least != most else "") + " records"
    rate = f"{written.records / max(seconds, 1e-3):,.0f} records/s"
    return (
        f"{path}: {written.records:,} records, {human_bytes(written.bytes)}{files}, in "
        f"{seconds:.1f} s ({rate})"
    )


def _local_path(output: str) -> Path:
    scheme, separator, rest = output.partition("://")
    if not separator or "/" in scheme:
        return Path(output)
    if scheme.lower() != "file":
        raise typer.BadParameter(
            f"'{output}' is no local path: write a file here, and copy it there",
            param_hint="OUTPUT",
        )
    return Path(rest)


def _target_of(output: Path) -> Target:
    name = output.with_suffix("") if output.suffix == ".gz" else output
    if name.suffix.lower() not in _ENDINGS:
        raise typer.BadParameter(
            f"'{output}' does not tell what to write: one of tfrecord, recordio, text",
            param_hint="--to",
        )
    return _ENDINGS[name.suffix.lower()]


def _types(given: Sequence[str], schema: Path | None) -> dict[str, str]:
    from sagemaker_tensorflow._datatools.inputs.source import TYPES

    types: dict[str, str] = {}
    if schema is not None:
        try:
            types = json.loads(schema.read_text(encoding="utf-8"))
        except ValueError as error:
            raise typer.BadParameter(f"'{schema}': {error}", param_hint="--schema") from None
        if not isinstance(types, dict):
            raise typer.BadParameter(
                f"'{schema}' must hold one JSON object of names and types", param_hint="--schema"
            )
    for one in given:
        name, _, type_ = one.rpartition("=")
        types[name] = type_
    for name, type_ in types.items():
        if not name or type_ not in TYPES:
            raise typer.BadParameter(
                f"'{name}={type_}' is not NAME=TYPE with one of {', '.join(TYPES)}",
                param_hint="--type",
            )
    return types


class _Interrupted(BaseException):
    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextlib.contextmanager
def _interrupted_once() -> Iterator[None]:
    """Lets SIGTERM and SIGHUP clean up as Ctrl-C does, and none of them cut that off."""

    def interrupt(number: int, _frame: object) -> NoReturn:
        for one in before:
            signal.signal(one, signal.SIG_IGN)
        raise _Interrupted(number)

    handlers = {number: signal.getsignal(number) for number in _SIGNALS}
    before = {number: one for number, one in handlers.items() if one is not signal.SIG_IGN}
    for number in before:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _fail(message: str, status: int) -> NoReturn:
    typer.echo(message, err=True)
    raise typer.Exit(status)
