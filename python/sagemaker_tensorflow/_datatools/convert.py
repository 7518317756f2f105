# SPDX-License-Identifier: Apache-2.0
"""From an input to files of records."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from sagemaker_tensorflow._datatools import output, read_progress, shuffle
from sagemaker_tensorflow._datatools.batch import Batch
from sagemaker_tensorflow._datatools.inputs.arrays import ArraySource
from sagemaker_tensorflow._datatools.inputs.csv_table import CsvSource, WidenedError
from sagemaker_tensorflow._datatools.inputs.images import ImageSource
from sagemaker_tensorflow._datatools.inputs.records import RecordSource
from sagemaker_tensorflow._datatools.inputs.source import InputError, Source
from sagemaker_tensorflow._datatools.named_objects import DataObject, find
from sagemaker_tensorflow._datatools.read_progress import OnRead
from sagemaker_tensorflow._formats import magic
from sagemaker_tensorflow._formats.sniff import sniff

KINDS = ("records", "csv", "numpy", "images")
_HEAD_BYTES = 16
_NUMPY_SUFFIXES = (".npy", ".npz")
_CSV_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz")


@dataclasses.dataclass(frozen=True)
class InputOptions:
    """How an input is to be read.

    Attributes:
        kind: One of ``KINDS``; ``None`` finds out.
        types: What columns or arrays are to become.
        missing: What stands for a missing value in CSV.
        delimiter: Between fields of CSV; ``None`` goes by the file's name.
        columns: Names of the columns of CSV without a header.
        labels: A file that numbers the classes of images.
        recordio_parts: As for ``RecordReader``.
    """

    kind: str | None = None
    types: Mapping[str, str] = dataclasses.field(default_factory=dict)
    missing: Sequence[str] = ()
    delimiter: str | None = None
    columns: Sequence[str] | None = None
    labels: Path | None = None
    recordio_parts: str = "joined"


def open_source(
    names: Sequence[str],
    options: InputOptions,
    record_format: str,
    stack: contextlib.ExitStack,
) -> Source:
    """Returns the input behind ``names``.

    Args:
        names: Files, folders, globs, S3 prefixes.
        options: How to read it.
        record_format: What is to be written.
        stack: Is to be closed when it is read.

    Raises:
        InputError: If it is nothing that can be converted, or an option does not fit it.
        SourceError: If there is nothing.
    """
    objects = find(names, stack)
    kind = options.kind or _kind(objects)
    _check_options(kind, options)
    if kind != "records" and record_format == "TextLine" and kind != "csv":
        raise InputError(f"{kind} cannot become lines of text: write TFRecord or RecordIO")
    if kind == "records":
        return RecordSource(objects, options.recordio_parts)
    paths = [Path(data.path) for data in objects if data.path is not None]
    if len(paths) < len(objects):
        raise InputError(
            f"{kind} can only be read from local files: copy it here first, or say --from records "
            "to take its lines, or what else it is, for records"
        )
    if kind == "csv":
        raw = [name for name, type_ in options.types.items() if type_ == "raw"]
        if raw:
            raise InputError(f"--type '{raw[0]}=raw' is for NumPy arrays, and the input is CSV")
        return CsvSource(
            paths,
            types=options.types,
            missing=options.missing,
            delimiter=options.delimiter,
            names=options.columns,
            as_text=record_format == "TextLine",
        )
    if kind == "numpy":
        if len(paths) > 1:
            raise InputError(
                "one npy or npz file at a time; numpy.savez puts several arrays into one file"
            )
        return ArraySource(paths[0], options.types)
    folder = Path(names[0].removeprefix("file://"))
    if len(names) > 1 or not folder.is_dir():
        raise InputError("images: name the one folder that holds a folder for each class")
    return ImageSource(folder, options.labels)


def _kind(objects: Sequence[DataObject]) -> str:
    """Returns what the objects look like."""
    name = objects[0].name.lower()
    if name.endswith(_CSV_SUFFIXES):
        return "csv"
    if name.endswith(_NUMPY_SUFFIXES):
        return "numpy"
    image = records = ""
    for data in objects:
        # Among images, file managers leave hidden files, and people notes.
        if data.path is None or Path(data.path).name.startswith("."):
            continue
        with Path(data.path).open("rb") as file:
            head = file.read(_HEAD_BYTES)
        if magic.image_kind(head):
            image = image or data.name
        elif sniff(head)[0].record_format in ("TFRecord", "RecordIO"):
            records = records or data.name
    if image and records:
        raise InputError(
            f"'{image}' is an image, and '{records}' holds records: say --from images or records"
        )
    return "images" if image else "records"


def _check_options(kind: str, options: InputOptions) -> None:
    """An option without effect is a mistake."""
    given = {
        "--type or --schema": (bool(options.types), ("csv", "numpy")),
        "--missing": (bool(options.missing), ("csv",)),
        "--delimiter": (options.delimiter is not None, ("csv",)),
        "--columns": (options.columns is not None, ("csv",)),
        "--labels": (options.labels is not None, ("images",)),
        "--recordio-parts": (options.recordio_parts != "joined", ("records",)),
    }
    for option, (is_given, kinds) in given.items():
        if is_given and kind not in kinds:
            raise InputError(
                f"{option} is for {' and '.join(kinds)}, and the input is taken for {kind}; if it "
                "is not that, say what it is by --from"
            )


def convert(
    source: Source,
    path: Path,
    options: output.OutputOptions,
    *,
    shuffle_seed: int | None,
    on_read: OnRead,
    on_restart: Callable[[str], None],
) -> output.Written:
    """Writes all records of ``source`` to ``path``, or nothing.

    Args:
        source: The input.
        path: A file, or a folder if there may be several files.
        options: What to write.
        shuffle_seed: Write them in an order that depends on this; ``None`` keeps it.
        on_read: Is called after each piece.
        on_restart: Is called with the reason when all begins again.

    Raises:
        InputError, OutputError, SourceError, PipeError, OSError: If it cannot be done; nothing is
            changed then.
    """
    while True:
        try:
            with output.make(path, options) as writer:
                if shuffle_seed is None:
                    for batch in source.batches(on_read):
                        writer.write(batch)
                else:
                    _write_shuffled(source, shuffle_seed, writer, on_read)
                written = writer.written
        except WidenedError as error:
            # Each column can be widened twice at most.
            on_restart(str(error))
        else:
            return written


def _write_shuffled(source: Source, seed: int, writer: output.Writer, on_read: OnRead) -> None:
    """As ``on_read`` counts, all is read and then all is written: twice the bytes."""
    read = 0

    def counted() -> Iterator[Batch]:
        nonlocal read
        for batch in source.batches(on_read):
            read += len(batch)
            yield batch

    for batch in shuffle.shuffled(counted(), seed, writer.scratch):
        writer.write(batch)
        done = writer.written.records
        on_read(read_progress.WRITING, (source.total_bytes or 0) * done // max(read, 1), done)
