# SPDX-License-Identifier: Apache-2.0
"""Types of the C++ module; records.py shows what users see of it."""

import os
from collections.abc import Sequence
from types import TracebackType
from typing import Literal

import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer, Self

class PipeError(Exception): ...
class DataLossError(PipeError): ...
class CorruptRecordError(DataLossError): ...
class CancelledError(PipeError): ...
class DeadlineExceededError(PipeError, TimeoutError): ...
class InvalidArgumentError(PipeError, ValueError): ...
class FailedPreconditionError(PipeError): ...
class NotFoundError(PipeError, FileNotFoundError): ...
class PermissionDeniedError(PipeError, PermissionError): ...
class ResourceExhaustedError(PipeError, OSError): ...
class UnavailableError(PipeError, OSError): ...
class InternalError(PipeError, OSError): ...

class Reader:
    def __iter__(self) -> Self: ...
    def __next__(self) -> bytes: ...
    def read_batch(
        self, max_records: int, max_bytes: int | None = None
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]: ...
    def skip(self, count: int) -> int: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
        /,
    ) -> None: ...
    @property
    def records(self) -> int: ...
    @property
    def corrupted_records(self) -> int: ...

class RecordReader(Reader):
    def __init__(
        self,
        path: str | os.PathLike[str],
        record_format: str = "RecordIO",
        *,
        compression_type: str | None = None,
        recordio_parts: str = "joined",
        max_record_bytes: int = 1 << 30,
        max_corrupted_records_to_skip: int = 0,
        read_timeout: float | None = 1800.0,
        name: str | None = None,
    ) -> None: ...
    @property
    def bytes_read(self) -> int: ...

class ChannelReader(Reader):
    def __init__(
        self,
        channel: str,
        record_format: str = "RecordIO",
        *,
        pipe_dir: str | os.PathLike[str],
        state_dir: str | os.PathLike[str],
        compression_type: str | None = None,
        recordio_parts: str = "joined",
        max_record_bytes: int = 1 << 30,
        max_corrupted_records_to_skip: int = 0,
        open_timeout: float | None = 1800.0,
        read_timeout: float | None = 1800.0,
    ) -> None: ...
    @property
    def epoch(self) -> int | None: ...

def has_reader(path: str | os.PathLike[str]) -> bool: ...

class ChannelWriter:
    def __init__(
        self,
        pipe_dir: str | os.PathLike[str],
        channel: str,
        *,
        first_epoch: int = 0,
        chunk_bytes: int = 1 << 20,
        bytes_per_second: float | None = None,
        fault: Literal["stop", "stall", "die"] | None = None,
        fault_at_byte: int = 0,
    ) -> None: ...
    def begin_epoch(self) -> None: ...
    def write(self, data: Buffer) -> bool: ...
    def end_epoch(self) -> None: ...
    def cancel(self) -> None: ...
    @property
    def epoch(self) -> int: ...
    @property
    def path(self) -> str: ...
    @property
    def bytes_written(self) -> int: ...
    @property
    def reader_closed(self) -> bool: ...

def encode(
    record: Buffer,
    record_format: str = "RecordIO",
    *,
    recordio_parts: str = "joined",
    recordio_max_part_bytes: int = (1 << 29) - 1,
) -> bytes: ...
def encode_batch(
    data: npt.NDArray[np.uint8],
    begins: npt.NDArray[np.int64],
    ends: npt.NDArray[np.int64],
    record_format: str = "RecordIO",
) -> npt.NDArray[np.uint8]: ...
def encode_examples(
    columns: Sequence[
        tuple[
            str,
            npt.NDArray[np.int64] | npt.NDArray[np.float32] | npt.NDArray[np.uint8],
            npt.NDArray[np.int64] | None,
            npt.NDArray[np.int64],
        ]
    ],
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]: ...
