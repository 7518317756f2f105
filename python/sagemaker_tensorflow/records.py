# SPDX-License-Identifier: Apache-2.0
"""Record readers and writers for Python without TensorFlow.

They are those that ``PipeModeDataset`` is made of, in C++. One epoch of a channel, record by
record::

    from sagemaker_tensorflow.records import ChannelReader

    with ChannelReader("training", "TFRecord", compression_type="GZIP") as reader:
        for record in reader:  # bytes
            ...

or many records at once, as NumPy arrays without a copy::

    while True:
        data, offsets = reader.read_batch(1024)
        if len(offsets) == 1:
            break
        first = data[offsets[0] : offsets[1]]

Readers and writers may be shared by threads: calls on one object take turns. The GIL is let go
wherever a call may block; signal handlers run meanwhile, so that Ctrl-C works, and after a handler
that does not raise the call goes on. Another thread may end a blocked call by ``close()`` or
``cancel()``.

All errors derive from ``PipeError``. After ``CorruptRecordError`` the next call goes on with the
next record; any other ``DataLossError``, and ``DeadlineExceededError``, end the stream.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sagemaker_tensorflow import _native
from sagemaker_tensorflow._base import arguments
from sagemaker_tensorflow._base.output_file import OutputFile
from sagemaker_tensorflow._formats.stream_encoder import DEFAULT_MAX_PART_BYTES, StreamEncoder
from sagemaker_tensorflow._job import job_paths
from sagemaker_tensorflow._native import (
    CancelledError,
    CorruptRecordError,
    DataLossError,
    DeadlineExceededError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    PipeError,
    ResourceExhaustedError,
    UnavailableError,
)

if TYPE_CHECKING:
    from types import TracebackType

    import numpy as np
    import numpy.typing as npt
    from typing_extensions import Buffer, Self

    _Reader = _native.Reader
else:
    _Reader = object

__all__ = [
    "CancelledError",
    "ChannelReader",
    "ChannelWriter",
    "CorruptRecordError",
    "DataLossError",
    "DeadlineExceededError",
    "FailedPreconditionError",
    "InternalError",
    "InvalidArgumentError",
    "NotFoundError",
    "PermissionDeniedError",
    "PipeError",
    "RecordReader",
    "RecordWriter",
    "ResourceExhaustedError",
    "UnavailableError",
    "encode",
]


class _CheckedCalls(_Reader):
    """The methods of a native reader that take arguments."""

    def read_batch(
        self, max_records: int, max_bytes: int | None = None
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """Reads up to so many records, fewer only at the end, before an error or for ``max_bytes``.

        Args:
            max_records: At least 1. The call waits until there are so many.
            max_bytes: No further record is read once the batch holds so many bytes. Default: no
                limit.

        Returns:
            A tuple ``(data, offsets)``: ``data``, uint8 of shape [total bytes], holds the records
            one behind the other, and ``offsets``, int64 of shape [n + 1], where each begins and the
            last one ends. At the end of the stream n is 0. The memory of both belongs to the
            caller.

        Raises:
            PipeError: As ``next``. An error that comes after records of the batch is raised by the
                next call, so that none of them is lost.
        """
        arguments.check(InvalidArgumentError, max_records=max_records, max_bytes=max_bytes)
        return super().read_batch(max_records, max_bytes)

    def skip(self, count: int) -> int:
        """Drops up to ``count`` records, with all the checks of reading.

        Returns:
            How many were dropped; fewer than ``count`` only at the end of the stream.
        """
        arguments.check(InvalidArgumentError, count=count)
        return super().skip(count)


class RecordReader(_CheckedCalls, _native.RecordReader):
    """The records of one file or FIFO: an iterator of ``bytes``.

    The file is opened at once; on a FIFO the first read waits for a writer. A context manager that
    closes.

    Args:
        path: A FIFO or a regular file.
        record_format: ``'RecordIO'``, ``'TFRecord'`` or ``'TextLine'``, in any case.
        compression_type: ``'GZIP'`` or ``'ZLIB'``, in any case; ``None`` or ``''`` for none;
            ``'AUTO'`` for gzip if the stream begins like it.
        recordio_parts: How the parts of a RecordIO record in several parts are put together:
            ``'joined'`` as they are, ``'dmlc'`` with the magic number between them, which dmlc-core
            drops there.
        max_record_bytes: A longer record is an error.
        max_corrupted_records_to_skip: How many TFRecords in a row may fail the CRC of their payload
            and be dropped before that is an error.
        read_timeout: Seconds to wait for each next byte; ``None`` is no limit.
        name: What errors call the file. Default: its path.

    Raises:
        NotFoundError: If there is no such file.
        FailedPreconditionError: If it is neither a FIFO nor a regular file.
        InvalidArgumentError: If the value of an argument is not valid.
        TypeError: If the type of an argument is not.

    Reading raises ``DataLossError`` if bytes are corrupt or missing (the stream is at its end
    then), ``CorruptRecordError`` if only one record is (the next call reads on),
    ``DeadlineExceededError`` after ``read_timeout``, and ``CancelledError`` after ``close()``.
    """

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
    ) -> None:
        arguments.check(
            InvalidArgumentError,
            path=path,
            record_format=record_format,
            compression_type=compression_type,
            recordio_parts=recordio_parts,
            max_record_bytes=max_record_bytes,
            max_corrupted_records_to_skip=max_corrupted_records_to_skip,
            read_timeout=read_timeout,
            name=name,
        )
        super().__init__(
            path,
            record_format,
            compression_type=compression_type,
            recordio_parts=recordio_parts,
            max_record_bytes=max_record_bytes,
            max_corrupted_records_to_skip=max_corrupted_records_to_skip,
            read_timeout=read_timeout,
            name=name,
        )


class ChannelReader(_CheckedCalls, _native.ChannelReader):
    """The records of one epoch of a Pipe-mode channel: the next one that nobody has read.

    An iterator of ``bytes``. Nothing is touched until the first record is asked for; only the
    folder of the FIFOs must be there, as a training job has it from its start. Then the reader
    waits for the FIFO ``<pipe_dir>/<channel>_<n>``, claims the epoch, and reads it to its
    end. For the epoch after it, make another reader. A reader that is closed earlier leaves the
    rest of its epoch unread; one that is interrupted while it waits for the FIFO or its writer
    leaves the epoch to the next reader.

    Args:
        channel: Name of the channel.
        record_format: ``'RecordIO'``, ``'TFRecord'`` or ``'TextLine'``, in any case.
        pipe_dir: Folder of the FIFOs. Default: ``data`` in ``$SM_INPUT_DIR`` or else
            ``$SAGEMAKER_BASE_DIR/input`` or else ``/opt/ml/input``.
        state_dir: Folder of the epoch numbers, made if missing. Default: ``pipe_state`` in
            ``$SAGEMAKER_BASE_DIR`` or else ``/opt/ml``.
        open_timeout: Seconds to wait for the FIFO and its writer; ``None`` is no limit.
        read_timeout: Seconds to wait for each next byte from then on; ``None`` is no limit.
        compression_type: See ``RecordReader``, as for the others below.
        recordio_parts: How the parts of a RecordIO record are joined.
        max_record_bytes: A longer record is an error.
        max_corrupted_records_to_skip: How many corrupt records in a row to drop.

    Raises:
        InvalidArgumentError: If the value of an argument is not valid. Reading raises what
            ``RecordReader`` does, and ``FailedPreconditionError`` if the epoch has another reader
            already or the state file holds no epoch number.
        TypeError: If the type of an argument is not valid.
        NotFoundError: If there is no folder ``pipe_dir``.
    """

    def __init__(
        self,
        channel: str,
        record_format: str = "RecordIO",
        *,
        pipe_dir: str | os.PathLike[str] | None = None,
        state_dir: str | os.PathLike[str] | None = None,
        open_timeout: float | None = 1800.0,
        read_timeout: float | None = 1800.0,
        compression_type: str | None = None,
        recordio_parts: str = "joined",
        max_record_bytes: int = 1 << 30,
        max_corrupted_records_to_skip: int = 0,
    ) -> None:
        arguments.check(
            InvalidArgumentError,
            channel=channel,
            record_format=record_format,
            open_timeout=open_timeout,
            read_timeout=read_timeout,
            compression_type=compression_type,
            recordio_parts=recordio_parts,
            max_record_bytes=max_record_bytes,
            max_corrupted_records_to_skip=max_corrupted_records_to_skip,
        )
        folder = job_paths.pipe_dir(pipe_dir)
        super().__init__(
            channel,
            record_format,
            pipe_dir=folder,
            state_dir=job_paths.state_dir(state_dir),
            open_timeout=open_timeout,
            read_timeout=read_timeout,
            compression_type=compression_type,
            recordio_parts=recordio_parts,
            max_record_bytes=max_record_bytes,
            max_corrupted_records_to_skip=max_corrupted_records_to_skip,
        )
        if not Path(folder).is_dir():
            raise NotFoundError(
                f"there is no folder '{folder}', where a SageMaker training job has its FIFOs. "
                "Elsewhere, pass pipe_dir, or set SAGEMAKER_BASE_DIR; "
                "sagemaker_tensorflow.testing.serve() makes all that a script needs on your own "
                "machine"
            )


class ChannelWriter(_native.ChannelWriter):
    """Plays the service: feeds the FIFOs of one channel, one after the other.

    Each epoch is ``begin_epoch()``, any number of ``write(...)``, ``end_epoch()``.

    Args:
        pipe_dir: Folder of the FIFOs; must exist.
        channel: Name of the channel.
        first_epoch: Number of the first FIFO.
        chunk_bytes: How many bytes are given to one system call.
        bytes_per_second: Limit; ``None`` is none.
        fault: What goes wrong, on purpose, in each epoch at ``fault_at_byte``: ``'stop'`` closes
            the FIFO, ``'stall'`` writes nothing more until the reader closes it, ``'die'`` kills
            this process.
        fault_at_byte: Bytes of an epoch that are written before ``fault``.

    Raises:
        InvalidArgumentError: If the value of an argument is not valid.
        TypeError: If the type of an argument is not.
    """

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
    ) -> None:
        arguments.check(
            InvalidArgumentError,
            pipe_dir=pipe_dir,
            channel=channel,
            first_epoch=first_epoch,
            chunk_bytes=chunk_bytes,
            bytes_per_second=bytes_per_second,
            fault=fault,
            fault_at_byte=fault_at_byte,
        )
        super().__init__(
            pipe_dir,
            channel,
            first_epoch=first_epoch,
            chunk_bytes=chunk_bytes,
            bytes_per_second=bytes_per_second,
            fault=fault,
            fault_at_byte=fault_at_byte,
        )


def encode(
    record: Buffer,
    record_format: str = "RecordIO",
    *,
    recordio_parts: str = "joined",
    recordio_max_part_bytes: int = DEFAULT_MAX_PART_BYTES,
) -> bytes:
    """Returns one record as a stream holds it.

    Args:
        record: Any bytes-like object.
        record_format: ``'RecordIO'``, ``'TFRecord'`` or ``'TextLine'``, in any case.
        recordio_parts: ``'joined'`` splits a long RecordIO record at any byte; ``'dmlc'`` splits it
            as dmlc-core does, where the payload holds the magic number.
        recordio_max_part_bytes: With ``'joined'``: longer records become parts of so many bytes.

    Raises:
        InvalidArgumentError: If the value of an argument is not valid, or the format cannot hold
            the record: a newline in a text line, 2^29 bytes and more in dmlc RecordIO.
        TypeError: If the type of an argument is not valid.
    """
    arguments.check(
        InvalidArgumentError,
        record_format=record_format,
        recordio_parts=recordio_parts,
        recordio_max_part_bytes=recordio_max_part_bytes,
    )
    return _native.encode(
        record,
        record_format,
        recordio_parts=recordio_parts,
        recordio_max_part_bytes=recordio_max_part_bytes,
    )


class RecordWriter:
    """Writes records to a file, for ``RecordReader`` and for datasets that read files.

    The file is at ``path`` wholly or not at all: until ``close()`` it lies beside it under a name
    that begins with a dot. If the ``with`` block of a writer raises, the file is removed, and
    ``path`` is as it was before.

    Args:
        path: The file; what it held is lost by ``close()``. A FIFO, a device or an open file, as
            ``/dev/stdout``, is written directly, and nothing can be taken back from it: if the
            ``with`` block raises, compressed data is left without its end, which every reader
            notices, but other data ends behind the last record.
        record_format: ``'RecordIO'``, ``'TFRecord'`` or ``'TextLine'``, in any case.
        compression_type: ``'GZIP'`` or ``'ZLIB'``, in any case; ``None`` or ``''`` for none.
        recordio_parts: ``'joined'`` splits a long RecordIO record at any byte; ``'dmlc'`` splits it
            as dmlc-core does, where the payload holds the magic number.
        recordio_max_part_bytes: With ``'joined'``: longer records are written in parts of so many
            bytes.

    Raises:
        InvalidArgumentError: If the value of an argument is not valid; no file is touched then.
        TypeError: If the type of an argument is not valid; neither then.
        OSError: If the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        record_format: str = "RecordIO",
        *,
        compression_type: str | None = None,
        recordio_parts: str = "joined",
        recordio_max_part_bytes: int = DEFAULT_MAX_PART_BYTES,
    ) -> None:
        arguments.check(path=path)
        self._encoder = StreamEncoder(
            record_format,
            compression_type=compression_type,
            recordio_parts=recordio_parts,
            recordio_max_part_bytes=recordio_max_part_bytes,
        )
        self._file = OutputFile(path)

    def write(self, record: Buffer) -> None:
        """Appends one record.

        Raises:
            InvalidArgumentError: If the format cannot hold it: a newline in a text line, 2^29 bytes
                and more in dmlc RecordIO.
        """
        self._file.write(self._encoder.encode(record))

    def close(self) -> None:
        """Writes what is still to be written, and puts the file in its place. May be called again.

        Raises:
            OSError: If that fails; the file is removed then.
        """
        if not self._file.is_open:
            return
        try:
            self._file.write(self._encoder.finish())
        except BaseException:
            self._file.discard()
            raise
        self._file.commit()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if exc_type is None:
            self.close()
        elif self._file.is_open:
            with contextlib.suppress(OSError):
                self._file.write(self._encoder.cut())
            self._file.discard()
