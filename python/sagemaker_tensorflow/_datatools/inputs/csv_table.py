# SPDX-License-Identifier: Apache-2.0
"""CSV: each row becomes a ``tf.train.Example``, a feature for each column, or a line of text."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import itertools
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from sagemaker_tensorflow._datatools.batch import Batch
from sagemaker_tensorflow._datatools.inputs import columns
from sagemaker_tensorflow._datatools.inputs.source import InputError
from sagemaker_tensorflow._datatools.read_progress import OnRead
from sagemaker_tensorflow._native import encode_examples

_CHUNK_ROWS = 5000
_MAX_FIELD_BYTES = 1 << 30
_OTHER_DELIMITERS = ";\t|,"

Row = list[str]


class CsvSource:
    """The rows of CSV files with the same header.

    Args:
        paths: The files; gzip is recognised.
        types: The type of some columns; that of the others is found out.
        missing: Texts that stand for a missing value, besides the usual ones.
        delimiter: Between two fields; ``None``: a comma, or a tab in files that end in ``.tsv``.
        names: The names of the columns, if the files have no header.
        as_text: Whether records are lines of CSV, and not Examples.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        types: Mapping[str, str],
        missing: Sequence[str] = (),
        delimiter: str | None = None,
        names: Sequence[str] | None = None,
        as_text: bool = False,
    ) -> None:
        self._paths = paths
        self._given = dict(types)
        self._missing = frozenset(missing)
        is_tsv = paths[0].name.removesuffix(".gz").endswith(".tsv")
        self._delimiter = delimiter or ("\t" if is_tsv else ",")
        self._is_guessed = delimiter is None
        self._names = list(names) if names else None
        self._as_text = as_text
        self._types: dict[str, str] = {}
        self._gaps: dict[str, int] = {}
        csv.field_size_limit(_MAX_FIELD_BYTES)

    @property
    def total_bytes(self) -> int | None:
        """Of all files."""
        return sum(path.stat().st_size for path in self._paths)

    def remarks(self) -> list[str]:
        """Tells what the columns became, and where values are missing."""
        if not self._types:
            return []
        result = ["columns: " + ", ".join(f"{name} {type_}" for name, type_ in self._types.items())]
        gaps = [f"{name} in {count:,} rows" for name, count in self._gaps.items() if count]
        return result + (["missing values: " + ", ".join(gaps)] if gaps else [])

    def batches(self, on_read: OnRead) -> Iterator[Batch]:
        """Yields the rows; widens the types found so far and raises ``WidenedError`` if it must."""
        header: Row | None = self._names
        self._gaps = {}
        records = 0
        for path in self._paths:
            with path.open("rb") as file, contextlib.closing(self._rows(path, file)) as rows:
                if self._names is None:
                    found = next(rows, None)
                    if found is None:
                        continue
                    if header is not None and header != found:
                        raise InputError(
                            f"'{path}' has another header than '{self._paths[0]}': "
                            f"{_listed(found)} and {_listed(header)}"
                        )
                    header = found
                header = header or []
                self._check_header(path, header)
                first_row = 0
                while chunk := list(itertools.islice(rows, _CHUNK_ROWS)):
                    self._check_widths(path, header, chunk, first_row)
                    records += len(chunk)
                    yield self._batch(header, chunk, f"'{path}', row ", first_row)
                    first_row += len(chunk)
                    on_read(str(path), file.tell(), records)

    def _rows(self, path: Path, file: BinaryIO) -> Generator[Row]:
        """Yields all rows but blank ones."""
        text = io.TextIOWrapper(_inflated(file), encoding="utf-8-sig", newline="")
        reader = csv.reader(text, delimiter=self._delimiter, strict=True)
        try:
            yield from filter(None, reader)
        except csv.Error as error:
            raise InputError(f"'{path}', line {reader.line_num}: {error}") from None
        except UnicodeDecodeError as error:
            raise InputError(
                f"'{path}', line {_line_that_is_not_utf8(path)}: not UTF-8 ({error.reason}); "
                "convert it by 'iconv -t UTF-8' first"
            ) from None
        except (EOFError, OSError) as error:
            raise InputError(f"'{path}', after line {reader.line_num}: {error}") from None
        finally:
            text.detach()

    def _check_header(self, path: Path, header: Row) -> None:
        other = next(
            (one for one in _OTHER_DELIMITERS if len(header) == 1 and one in header[0]), None
        )
        if other is not None and self._is_guessed:
            raise InputError(
                f"'{path}' has a single column, {_listed(header)}: say --delimiter '{other}', or "
                f"--delimiter '{self._delimiter}' if that is right"
            )
        twice = {name for name in header if header.count(name) > 1}
        if twice:
            raise InputError(f"'{path}' has two columns of the name {_listed(sorted(twice))}")
        unknown = self._given.keys() - set(header)
        if unknown:
            raise InputError(
                f"'{path}' has no column {_listed(sorted(unknown))}; it has {_listed(header)}"
            )
        if all(self._given.get(name) == "skip" for name in header):
            raise InputError("all columns are skipped, so nothing is left")

    def _check_widths(self, path: Path, header: Row, chunk: list[Row], first_row: int) -> None:
        if set(map(len, chunk)) == {len(header)}:
            return
        for number, row in enumerate(chunk, first_row):
            if len(row) != len(header):
                raise InputError(
                    f"'{path}', row {number + 1:,} has {len(row)} fields, and the header "
                    f"{len(header)}: mend it, or name another --delimiter"
                )

    def _batch(self, header: Row, chunk: list[Row], where: str, first_row: int) -> Batch:
        kept = [i for i, name in enumerate(header) if self._given.get(name) != "skip"]
        if self._as_text:
            return Batch.of_records([self._line(row, kept) for row in chunk])
        by_column = list(zip(*chunk, strict=True))
        features = []
        for index in kept:
            name, texts = header[index], by_column[index]
            given = self._given.get(name)
            if given is None and name not in self._types:
                self._types[name] = columns.infer(texts, self._missing)
            try:
                made = columns.encode(
                    name, texts, given or self._types[name], self._missing, strict=given is None
                )
            except columns.UnfitError as error:
                if given is not None:
                    raise InputError(
                        f"{where}{first_row + error.index + 1:,}, column '{name}': "
                        f"{error.text!r} is no {given}; say --type '{name}=string', or --missing "
                        f"'{error.text}' if that stands for a missing value"
                    ) from None
                self._widen(header, kept, by_column)
                raise WidenedError(name, self._types[name]) from None
            features.append(made)
            self._count_missing(name, made, len(chunk))
        self._types.update({name: type_ for name, type_ in self._given.items() if type_ != "skip"})
        return Batch.of_offsets(*encode_examples(features))

    def _count_missing(self, name: str, feature: columns.Feature, rows: int) -> None:
        values = int(feature[3][-1])
        self._gaps[name] = self._gaps.get(name, 0) + rows - values

    def _widen(self, header: Row, kept: Sequence[int], by_column: Sequence[Sequence[str]]) -> None:
        for index in kept:
            name = header[index]
            if name not in self._given:
                found = columns.infer(by_column[index], self._missing)
                self._types[name] = columns.wider(self._types.get(name, found), found)

    def _line(self, row: Row, kept: Sequence[int]) -> bytes:
        line = io.StringIO()
        csv.writer(line, delimiter=self._delimiter, lineterminator="").writerow(
            [row[index] for index in kept]
        )
        return line.getvalue().encode()


class WidenedError(Exception):
    """A column holds what its first rows did not show: reading has to begin again.

    Attributes:
        name: The column's name.
        type: What it is taken for from now on.
    """

    def __init__(self, name: str, type_: str) -> None:
        super().__init__(f"column '{name}' is taken for {type_}")
        self.name = name
        self.type = type_


def _inflated(file: BinaryIO) -> BinaryIO:
    is_gzip = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return cast(BinaryIO, gzip.GzipFile(fileobj=file)) if is_gzip else file


def _line_that_is_not_utf8(path: Path) -> int:
    """Returns its number, which no reader knows that decodes blocks."""
    with path.open("rb") as file:
        lines = enumerate(_inflated(file), 1)
        return next((number for number, line in lines if not _is_utf8(line)), 0)


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
