# SPDX-License-Identifier: Apache-2.0
"""Reads objects to their end and sums up what is in them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from sagemaker_tensorflow._datatools.escape import escaped
from sagemaker_tensorflow._datatools.example import NotAnExampleError, parse_example
from sagemaker_tensorflow._datatools.feature_spec import FeatureTable
from sagemaker_tensorflow._datatools.named_objects import DataObject, SourceError
from sagemaker_tensorflow._datatools.opened import BATCH_BYTES, BATCH_RECORDS, Opened
from sagemaker_tensorflow._datatools.sizes import Sizes
from sagemaker_tensorflow._formats import magic
from sagemaker_tensorflow._formats.sniff import Encoding
from sagemaker_tensorflow._native import CorruptRecordError, PipeError, RecordReader

# Python takes its time over each Example, so not all are parsed: the first ones, and from then on a
# few of each batch, up to a limit.
_FIRST_EXAMPLES = 1000
_EXAMPLES_OF_A_BATCH = 10
_MAX_EXAMPLES = 4000
_MAX_CORRUPT_SHOWN = 5
_FIRST_RECORDS = 3
_NO_ADVICE = "if you know better, say so by --record-format and --compression"
_POSITION = re.compile(r"record (\d+) at byte (\d+): ")


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something that will make a training fail.

    Attributes:
        data: The object's name.
        message: What is wrong, and what to do.
        record: Number of the record, from 0 on, if it is about one.
        byte: Where that begins in the decompressed stream.
    """

    data: str
    message: str
    record: int | None = None
    byte: int | None = None


@dataclasses.dataclass
class ObjectSummary:
    """What one object holds.

    Attributes:
        name: Its name.
        size: Its bytes as it is stored; those read, if that is not known before.
        encoding: How its records lie in it.
        sizes: Of its good records.
        corrupt: How many records are corrupt while those around them are not.
        complete: Whether it was read to its end.
    """

    name: str
    size: int
    encoding: Encoding
    sizes: Sizes = dataclasses.field(default_factory=Sizes)
    corrupt: int = 0
    complete: bool = False


@dataclasses.dataclass
class Group:
    """Objects that are encoded alike: one channel could carry them.

    Attributes:
        encoding: How.
        recordio_parts: As for ``RecordReader``.
        objects: Those objects.
        sizes: Of all records.
        table: The features of some Examples; without Examples if the records are none.
        first_records: The beginnings of the first records, escaped.
        may_be_examples: Whether no record so far was anything but an Example.
    """

    encoding: Encoding
    recordio_parts: str
    objects: list[ObjectSummary] = dataclasses.field(default_factory=list)
    sizes: Sizes = dataclasses.field(default_factory=Sizes)
    table: FeatureTable = dataclasses.field(default_factory=FeatureTable)
    first_records: list[str] = dataclasses.field(default_factory=list)
    may_be_examples: bool = True

    @property
    def are_examples(self) -> bool:
        """Whether the first records are Examples."""
        return bool(self.table.features)


@dataclasses.dataclass
class Findings:
    """All there is to say.

    Attributes:
        groups: By encoding.
        empty: Names of objects without a byte.
        problems: What is wrong.
        warnings: What may be.
        complete: Whether all records were to be read, and not only the first ones.
    """

    groups: dict[Encoding, Group] = dataclasses.field(default_factory=dict)
    empty: list[str] = dataclasses.field(default_factory=list)
    problems: list[Problem] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)
    complete: bool = True


@dataclasses.dataclass(frozen=True)
class Options:
    """How to read.

    Attributes:
        record_format: What the user says; ``None`` looks at the bytes.
        compression: The same; ``'NONE'`` is none.
        recordio_parts: As for ``RecordReader``.
        max_records: So many in all; ``None`` is all.
    """

    record_format: str | None = None
    compression: str | None = None
    recordio_parts: str = "joined"
    max_records: int | None = None


OnRead = Callable[[str, int, int], None]
"""Is called with an object's name, its stored bytes read so far, and the records read in all."""


def scan(objects: Sequence[DataObject], options: Options, on_read: OnRead) -> Findings:
    """Reads ``objects`` one after the other."""
    return _Scan(options, on_read).run(objects)


class _Scan:
    def __init__(self, options: Options, on_read: OnRead) -> None:
        self._options = options
        self._on_read = on_read
        self._findings = Findings()
        self._records = 0

    def run(self, objects: Sequence[DataObject]) -> Findings:
        for number, data in enumerate(objects):
            if self._left() == 0:
                self._findings.complete = False
                break
            try:
                with self._open(data) as opened:
                    self._object(data, opened, is_last=number == len(objects) - 1)
            except (OSError, PipeError, SourceError) as error:
                self._problem(data, str(error))
        if len(self._findings.groups) > 1:
            kinds = ", ".join(sorted(map(describe, self._findings.groups)))
            self._findings.warnings.append(
                f"a channel carries records of one kind, and these are of several: {kinds}"
            )
        return self._findings

    def _open(self, data: DataObject) -> Opened:
        options = self._options
        return Opened(data, options.record_format, options.compression, options.recordio_parts)

    def _left(self) -> int:
        if self._options.max_records is None:
            return BATCH_RECORDS
        return min(BATCH_RECORDS, self._options.max_records - self._records)

    def _object(self, data: DataObject, opened: Opened, is_last: bool) -> None:
        if not opened.head:
            self._findings.empty.append(data.name)
            return
        if opened.encoding.record_format is None:
            self._unknown(data, opened)
            return
        group = self._findings.groups.setdefault(
            opened.encoding, Group(opened.encoding, self._options.recordio_parts)
        )
        if opened.encoding.record_format == "TextLine":
            group.may_be_examples = False
        summary = ObjectSummary(data.name, data.size or 0, opened.encoding)
        group.objects.append(summary)
        reader = opened.reader()
        try:
            self._read(reader, group, summary, data)
            opened.raise_source_error()
        except PipeError as error:
            opened.raise_source_error()  # the one behind the other
            self._problem(data, str(error))
        finally:
            if data.size is None:
                summary.size = reader.bytes_read
            group.sizes.merge(summary.sizes)
            if summary.corrupt > _MAX_CORRUPT_SHOWN:
                more = summary.corrupt - _MAX_CORRUPT_SHOWN
                self._problem(data, f"'{data.name}': {more:,} more records are corrupt")
        if summary.complete and not is_last and data.path is not None:
            self._check_end(data, opened.encoding)

    def _unknown(self, data: DataObject, opened: Opened) -> None:
        what, advice = magic.describe(opened.content)
        where = ""
        if opened.encoding.compression is not None:
            where = f" inside its {opened.encoding.compression}"
            if not opened.content:
                # Either there is really nothing in it, or the reader tells what is wrong.
                opened.assume("TextLine")
                next(opened.reader(), None)
                self._findings.empty.append(data.name)
                return
        self._problem(
            data,
            f"'{data.name}': neither TFRecord, RecordIO nor text{where}, but {what} (begins with "
            f"'{escaped(opened.content, 16)}'); {advice or _NO_ADVICE}",
        )

    def _read(
        self, reader: RecordReader, group: Group, summary: ObjectSummary, data: DataObject
    ) -> None:
        while (left := self._left()) > 0:
            try:
                payloads, offsets = reader.read_batch(left, max_bytes=BATCH_BYTES)
            except CorruptRecordError as error:
                # Those around it are good. If there are many, a few tell enough.
                summary.corrupt += 1
                if summary.corrupt <= _MAX_CORRUPT_SHOWN:
                    self._problem(data, str(error))
                continue
            count = len(offsets) - 1
            if count == 0:
                summary.complete = True
                break
            summary.sizes.add(np.diff(offsets))
            self._records += count
            for index in _chosen(count, group.table.examples):
                if not self._look_at(group, payloads[offsets[index] : offsets[index + 1]].data):
                    break
            self._on_read(summary.name, reader.bytes_read, self._records)
        self._findings.complete &= summary.complete

    def _look_at(self, group: Group, record: memoryview) -> bool:
        """Returns whether more records are to be looked at."""
        if len(group.first_records) < _FIRST_RECORDS:
            group.first_records.append(escaped(bytes(record[:200])) if len(record) else "")
        if group.may_be_examples and group.table.examples < _MAX_EXAMPLES:
            try:
                group.table.add(parse_example(record))
            except NotAnExampleError:
                group.may_be_examples = False
                if group.are_examples:
                    self._findings.warnings.append(
                        f"{describe(group.encoding)}: {group.table.examples:,} records are "
                        "tf.train.Examples, and then comes one that is not"
                    )
            return True
        return len(group.first_records) < _FIRST_RECORDS

    def _check_end(self, data: DataObject, encoding: Encoding) -> None:
        """Objects follow each other without a seam."""
        if encoding == Encoding("TextLine", None) and data.last_byte() != b"\n":
            self._findings.warnings.append(
                f"'{data.name}' does not end with a newline: in a channel its last line and the "
                "first one of the next object become one record"
            )

    def _problem(self, data: DataObject, message: str) -> None:
        position = _POSITION.search(message)
        record, byte = map(int, position.groups()) if position else (None, None)
        self._findings.problems.append(Problem(data.name, message, record, byte))


def _chosen(count: int, parsed: int) -> Iterable[int]:
    """Returns which of the next ``count`` records are to be looked at."""
    if parsed < _FIRST_EXAMPLES:
        return range(min(count, _FIRST_EXAMPLES))
    return range(0, count, -(-count // _EXAMPLES_OF_A_BATCH))


def describe(encoding: Encoding) -> str:
    """Returns an encoding as text."""
    return " in ".join(part for part in (encoding.record_format, encoding.compression) if part)
