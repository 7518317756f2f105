# SPDX-License-Identifier: Apache-2.0
"""NumPy files: the first axis counts records, each array becomes a feature.

An npz file is read like a stream, so that it may be larger than the memory.
"""

from __future__ import annotations

import contextlib
import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from sagemaker_tensorflow._datatools.batch import Batch, joined
from sagemaker_tensorflow._datatools.inputs.columns import Feature
from sagemaker_tensorflow._datatools.inputs.source import BATCH_BYTES, InputError
from sagemaker_tensorflow._datatools.read_progress import OnRead
from sagemaker_tensorflow._native import encode_examples

_MAX_ROWS = 1 << 16
_ZIP_MAGIC = b"PK"


class ArraySource:
    """The rows of an npy file, or of all arrays of an npz file.

    Args:
        path: The file.
        types: What some arrays are to become. Else integers become int64, floating-point numbers
            float32, texts strings; and uint8 of more than one dimension, thus images, ``'raw'``:
            one string of the row's bytes.
    """

    def __init__(self, path: Path, types: Mapping[str, str]) -> None:
        self._path = path
        self._types = dict(types)
        self._remarks: list[str] = []

    @property
    def total_bytes(self) -> int | None:
        """Of all arrays, without compression."""
        if not _is_zip(self._path):
            return self._path.stat().st_size
        try:
            with zipfile.ZipFile(self._path) as archive:
                return sum(member.file_size for member in archive.infolist())
        except zipfile.BadZipFile:
            return None  # said when it is read

    def remarks(self) -> list[str]:
        """Tells how to decode what is raw, and which numbers lost digits."""
        return self._remarks

    def batches(self, on_read: OnRead) -> Iterator[Batch]:
        """Yields the rows."""
        with contextlib.ExitStack() as stack:
            try:
                arrays = self._open(stack)
            except (ValueError, OSError, zipfile.BadZipFile) as error:
                raise InputError(f"'{self._path}': {error}") from error
            kinds = self._kinds(arrays)
            count = self._rows(arrays)
            row_bytes = max(sum(array.row_bytes for array in arrays.values()), 1)
            step = min(max(BATCH_BYTES // row_bytes, 1), _MAX_ROWS)
            for begin in range(0, count, step):
                rows = min(step, count - begin)
                features = [
                    _feature(name, array.take(rows), kinds[name]) for name, array in arrays.items()
                ]
                yield Batch.of_offsets(*encode_examples(features))
                on_read(str(self._path), (begin + rows) * row_bytes, begin + rows)

    def _open(self, stack: contextlib.ExitStack) -> dict[str, _Rows]:
        if not _is_zip(self._path):
            found = {self._path.stem: _Rows(self._path.name, stack, self._path.open("rb"))}
        else:
            archive = stack.enter_context(zipfile.ZipFile(self._path))
            found = {
                name.removesuffix(".npy"): _Rows(name, stack, cast(BinaryIO, archive.open(name)))
                for name in archive.namelist()
            }
        unknown = self._types.keys() - found.keys()
        if unknown:
            raise InputError(
                f"'{self._path}' has no array {sorted(unknown)}; it has {sorted(found)}"
            )
        kept = {name: one for name, one in found.items() if self._types.get(name) != "skip"}
        if not kept:
            raise InputError(f"'{self._path}' holds no array, or all are skipped")
        return kept

    def _rows(self, arrays: Mapping[str, _Rows]) -> int:
        counts = {name: array.shape[0] for name, array in arrays.items()}
        if len(set(counts.values())) > 1:
            listed = ", ".join(f"'{name}' {count:,}" for name, count in counts.items())
            raise InputError(
                f"'{self._path}': the arrays have different numbers of rows: {listed}; leave one "
                "out by --type NAME=skip"
            )
        return next(iter(counts.values()))

    def _kinds(self, arrays: Mapping[str, _Rows]) -> dict[str, str]:
        self._remarks = []
        kinds = {}
        for name, array in arrays.items():
            kind = self._types.get(name) or _default_kind(array)
            kinds[name] = kind
            shape = list(array.shape[1:])
            if kind == "raw":
                self._remarks.append(
                    f"'{name}' holds the bytes of each row: tf.reshape(tf.io.decode_raw(x, "
                    f"tf.{array.dtype.name}), [-1{''.join(f', {n}' for n in shape)}])"
                )
            elif kind == "float" and array.dtype.itemsize > 4:
                self._remarks.append(f"'{name}' is {array.dtype.name}, and became float32")
        return kinds


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(_ZIP_MAGIC)) == _ZIP_MAGIC


class _Rows:
    """The rows of one array, from the first to the last."""

    def __init__(self, name: str, stack: contextlib.ExitStack, file: BinaryIO) -> None:
        self._name = name
        self._file = stack.enter_context(file)
        version = np.lib.format.read_magic(self._file)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(self._file)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(self._file)
        else:
            raise InputError(f"'{name}' is a structured array: save its fields as arrays")
        if not shape:
            raise InputError(f"'{name}' has no dimension, so it has no rows")
        if dtype.hasobject or dtype.kind not in "biufSU":
            raise InputError(
                f"'{name}' is of type {dtype}; integers, floating-point numbers, bool, bytes and "
                "str can be converted"
            )
        self.shape: tuple[int, ...] = shape
        self.dtype: np.dtype[Any] = dtype
        self.row_bytes = dtype.itemsize * math.prod(shape[1:])
        self._whole: npt.NDArray[Any] | None = None
        if fortran and len(shape) > 1:
            # Its rows lie all over the file.
            flat = self._read(math.prod(shape))
            self._whole = flat.reshape(shape, order="F")
        self._taken = 0

    def take(self, rows: int) -> npt.NDArray[Any]:
        """Returns the next rows, of shape [rows, values of a row]."""
        begin, self._taken = self._taken, self._taken + rows
        if self._whole is not None:
            return np.ascontiguousarray(self._whole[begin : self._taken]).reshape(rows, -1)
        values = self._read(rows * math.prod(self.shape[1:]))
        return values.reshape(rows, -1) if values.size else values.reshape(rows, 0)

    def _read(self, values: int) -> npt.NDArray[Any]:
        size = values * self.dtype.itemsize
        data = self._file.read(size)
        if len(data) != size:
            raise InputError(f"'{self._name}' ends early: the file is cut off")
        return np.frombuffer(data, dtype=self.dtype)


def _feature(name: str, rows: npt.NDArray[Any], kind: str) -> Feature:
    """Returns an array of shape [rows, values] as a feature."""
    try:
        return _converted(name, rows, kind)
    except ValueError as error:
        raise InputError(f"'{name}' cannot become {kind}: {error}") from None


def _converted(name: str, rows: npt.NDArray[Any], kind: str) -> Feature:
    count, width = rows.shape
    splits = np.arange(count + 1, dtype=np.int64) * width
    if kind == "raw":
        one = np.arange(count + 1, dtype=np.int64)
        # As tf.io.decode_raw expects it.
        little = rows.astype(rows.dtype.newbyteorder("<"), copy=False)
        flat = np.ascontiguousarray(little).reshape(-1).view(np.uint8)
        return name, flat, one * (rows.dtype.itemsize * width), one
    flat = rows.reshape(-1)
    if kind == "int":
        return name, _to_int64(name, flat), None, splits
    if kind == "float":
        return name, _to_float32(name, flat), None, splits
    values = flat.tolist()
    texts = [value if isinstance(value, bytes) else str(value).encode() for value in values]
    return name, *joined(texts), splits


def _to_int64(name: str, values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    if values.dtype.kind == "u" and values.size and int(values.max()) > np.iinfo(np.int64).max:
        raise InputError(f"'{name}' holds {values.max()}, which is too large for int64")
    return values.astype(np.int64)


def _to_float32(name: str, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    with np.errstate(over="ignore"):
        floats = values.astype(np.float32)
    if values.dtype.kind == "f" and np.any(np.isinf(floats) & np.isfinite(values)):
        raise InputError(f"'{name}' holds numbers that are too large for float32")
    return floats


def _default_kind(array: _Rows) -> str:
    if array.dtype == np.uint8 and len(array.shape) > 1:
        return "raw"
    return {"b": "int", "i": "int", "u": "int", "f": "float"}.get(array.dtype.kind, "string")
