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

import os
from pathlib import Path
from typing import TYPE_CHECKING

from sagemaker_tensorflow import _native, _paths
from sagemaker_tensorflow._native import (
    CancelledError,
    ChannelWriter,
    CorruptRecordError,
    DataLossError,
    DeadlineExceededError,
    FailedPreconditionError,
    InternalError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    PipeError,
    RecordReader,
    ResourceExhaustedError,
    UnavailableError,
    encode,
)
from sagemaker_tensorflow._stream_encoder import DEFAULT_MAX_PART_BYTES, StreamEncoder

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import Buffer, Self

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


class ChannelReader(_native.ChannelReader):
    """The records of one epoch of a Pipe-mode channel: the next one that nobody has read.

    An iterator of ``bytes``. Nothing is touched until the first record is asked for. Then the
    reader waits for the FIFO ``<pipe_dir>/<channel>_<n>``, claims the epoch, and reads it to its
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
        InvalidArgumentError: If an argument makes no sense. Reading raises what ``RecordReader``
            does, and ``FailedPreconditionError`` if the epoch has another reader already or the
            state file holds no epoch number.
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
        super().__init__(
            channel,
            record_format,
            pipe_dir=_paths.pipe_dir(pipe_dir),
            state_dir=_paths.state_dir(state_dir),
            open_timeout=open_timeout,
            read_timeout=read_timeout,
            compression_type=compression_type,
            recordio_parts=recordio_parts,
            max_record_bytes=max_record_bytes,
            max_corrupted_records_to_skip=max_corrupted_records_to_skip,
        )


class RecordWriter:
    """Writes records to a file, for ``RecordReader`` and for datasets that read files.

    Args:
        path: The file; what it held is lost.
        record_format: ``'RecordIO'``, ``'TFRecord'`` or ``'TextLine'``, in any case.
        compression_type: ``'GZIP'`` or ``'ZLIB'``, in any case; ``None`` or ``''`` for none.
        recordio_parts: ``'joined'`` splits a long RecordIO record at any byte; ``'dmlc'`` splits it
            as dmlc-core does, where the payload holds the magic number.
        recordio_max_part_bytes: With ``'joined'``: longer records are written in parts of so many
            bytes.

    Raises:
        InvalidArgumentError: If an argument makes no sense; no file is touched then.
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
        self._encoder = StreamEncoder(
            record_format,
            compression_type=compression_type,
            recordio_parts=recordio_parts,
            recordio_max_part_bytes=recordio_max_part_bytes,
        )
        self._file = Path(path).open("wb")  # noqa: SIM115 - closed by close()

    def write(self, record: Buffer) -> None:
        """Appends one record.

        Raises:
            InvalidArgumentError: If the format cannot hold it: a newline in a text line, 2^29 bytes
                and more in dmlc RecordIO.
        """
        self._file.write(self._encoder.encode(record))

    def close(self) -> None:
        """Writes what is still to be written. May be called again."""
        if not self._file.closed:
            with self._file:
                self._file.write(self._encoder.finish())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
