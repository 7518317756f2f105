# SPDX-License-Identifier: Apache-2.0
"""``channel_dataset``: the records of a channel, whichever input mode the job gives it."""

from __future__ import annotations

import numbers
import os
from pathlib import Path
from typing import Any

from sagemaker_tensorflow._base import arguments
from sagemaker_tensorflow._formats import recordio
from sagemaker_tensorflow._formats.gzip_stream import GZIP_MAGIC
from sagemaker_tensorflow._job import job_paths
from sagemaker_tensorflow._job.channel_files import ChannelFiles, FilesArgument, list_files
from sagemaker_tensorflow._job.input_config import ChannelSettings, InputConfig
from sagemaker_tensorflow.exceptions import PipeModeDatasetException
from sagemaker_tensorflow.pipemode import PipeModeDataset

__all__ = ["channel_dataset"]

# What a file begins with that holds records already, plain or compressed by gzip.
_RECORD_STARTS = (recordio.MAGIC, GZIP_MAGIC)
# FastFile mode fetches from S3: what a file waits for, another one can use.
_FAST_FILE_READS = 8


def channel_dataset(
    channel: str,
    record_format: str = "RecordIO",
    *,
    files: FilesArgument = None,
    shard_files: tuple[int, int] | None = None,
    num_parallel_reads: int | None = None,
    compression_type: str | None = None,
    pipe_dir: str | os.PathLike[str] | None = None,
    config_dir: str | os.PathLike[str] | None = None,
    state_dir: str | os.PathLike[str] | None = None,
    **options: Any,
) -> PipeModeDataset:
    """Returns the records of a channel in Pipe, File or FastFile mode: one script for all.

    In Pipe mode that is ``PipeModeDataset(channel, ...)``. In File and FastFile mode the op reads
    the files below ``<pipe_dir>/<channel>``, one after the other in the order in which S3 lists
    their keys: the same records and errors, and all that a ``PipeModeDataset`` can do. Each
    iterator reads the whole folder, and there are as many epochs as are asked for.

    Each file is a stream of its own. An error names the file, and the record and byte in it; after
    an error that ends a file, iterating on (as ``ignore_errors`` does) goes on with the next one.
    A file that is missing, or has another size than when it was listed, is an error.

    Args:
        channel: Name of the channel.
        record_format: ``'RecordIO'``, ``'TFRecord'`` or ``'TextLine'``, in any case.
        files: Which files are data, by their path relative to the channel's folder: a glob such as
            ``'*.tfrecord'``, a sequence of globs or suffixes such as ``['.csv', '.csv.gz']``, or a
            function from path to ``bool``. A glob without ``/`` is for the last part of the path.
            Files and folders whose names begin with ``_`` or ``.`` are not data, as for Spark and
            Hadoop, unless a function says so. In Pipe mode the service sends all objects, so this
            is an error there.
        shard_files: ``(num_shards, index)``: of the chosen files, read every ``num_shards``-th one
            from number ``index`` on. In Pipe mode, where there are no files, every
            ``num_shards``-th record, so that all shards together hold each record once in any
            mode. Not for a channel with ``ShardedByS3Key``, which the service has sharded.
        num_parallel_reads: How many files to read at once; the order of records stays the same.
            ``None`` leaves that to the op: one at a time, several where they have to be
            decompressed or come from S3 in FastFile mode. Without effect in Pipe mode.
        compression_type: ``'GZIP'`` or ``'ZLIB'``, in any case, if all data is compressed; ``''``
            if none is. ``None`` finds gzip by its first bytes: in each file, and in Pipe mode at
            the beginning of each epoch, whose objects must be all compressed or all not.
        pipe_dir: Folder of the FIFOs and of the channels' folders; see ``PipeModeDataset``.
        config_dir: Folder of ``inputdataconfig.json``; see there.
        state_dir: See there. Without effect in the other modes, which keep no state.
        **options: All else that ``PipeModeDataset`` takes. ``skip_header_lines`` drops lines at the
            beginning of each file; with ``repeated_header`` these lines of the first file wherever
            all of them come again, and no others, which gives the same records in all modes.

    Returns:
        A dataset of ``tf.string`` scalars. The list of files is that of this call. In File and
        FastFile mode it may be sent to the workers of the ``tf.data`` service, which need the same
        files and ``load_op()``.

    Raises:
        PipeModeDatasetException: As ``PipeModeDataset``; or the channel has an unknown input mode,
            no folder, or one that cannot be read, has links in a circle or to nothing, or no file
            that ``files`` matches; or ``files`` or ``shard_files`` does not go with the job.
        TypeError: If an option is unknown, or the type of an argument is not valid.
        ValueError: If ``shard_files`` or ``num_parallel_reads`` is out of range.
    """
    arguments.check(
        record_format=record_format,
        compression_type=compression_type,
        num_parallel_reads=num_parallel_reads,
    )
    if compression_type is None:
        compression_type = "AUTO"
    _check_shard_files(shard_files)
    _check_parallel_reads(num_parallel_reads)
    settings = InputConfig.load(job_paths.config_dir(config_dir)).channel(channel)
    if shard_files is not None and settings.is_sharded:
        raise PipeModeDatasetException(
            f"channel '{channel}' has S3DistributionType ShardedByS3Key: each host gets its own "
            "objects, and shard_files would drop some of them; leave it out"
        )
    source: str | ChannelFiles = channel
    if settings.mode == "pipe":
        if files is not None:
            raise PipeModeDatasetException(
                f"channel '{channel}' is in Pipe mode, where the service sends all of its objects: "
                "leave files out, and let the channel's S3 prefix or manifest choose"
            )
    else:
        folder = Path(job_paths.pipe_dir(pipe_dir)).absolute() / channel
        if num_parallel_reads is None:
            num_parallel_reads = _FAST_FILE_READS if settings.mode == "fastfile" else 0
        source = _find(settings, folder, record_format, files, shard_files, num_parallel_reads)
    dataset = PipeModeDataset(
        source,
        record_format,
        compression_type=compression_type,
        pipe_dir=pipe_dir,
        config_dir=config_dir,
        state_dir=state_dir,
        **options,
    )
    if settings.mode == "pipe" and shard_files is not None:
        dataset = dataset.shard(*shard_files)
    return dataset


def _find(
    settings: ChannelSettings,
    folder: Path,
    record_format: str,
    chosen: FilesArgument,
    shard_files: tuple[int, int] | None,
    num_parallel_reads: int,
) -> ChannelFiles:
    if not folder.is_dir():
        raise PipeModeDatasetException(
            f"channel '{settings.name}' has TrainingInputMode {settings.said_mode!r}, but there is "
            f"no folder '{folder}'; pass the pipe_dir that has it, or set SAGEMAKER_BASE_DIR"
        )
    files = list_files(settings.name, folder, chosen)
    paths = [file.uri for file in files]
    return ChannelFiles(
        settings.name,
        paths,
        [file.size for file in files],
        shard_files or (1, 0),
        settings.is_wrapped and _holds_objects(record_format, paths),
        num_parallel_reads,
    )


def _check_shard_files(shard_files: tuple[int, int] | None) -> None:
    if shard_files is None:
        return
    if (
        not isinstance(shard_files, tuple | list)
        or len(shard_files) != 2
        or not all(isinstance(n, numbers.Integral) and not isinstance(n, bool) for n in shard_files)
    ):
        raise TypeError(
            f"shard_files must be two ints, (num_shards, index), or None, not {shard_files!r}"
        )
    num_shards, index = shard_files
    if not 0 <= index < num_shards:
        raise ValueError(
            f"shard_files must be (num_shards, index) with index from 0 to num_shards - 1, not "
            f"{shard_files!r}"
        )


def _check_parallel_reads(num_parallel_reads: int | None) -> None:
    if num_parallel_reads is not None and num_parallel_reads < 1:
        raise ValueError(f"num_parallel_reads must be at least 1, not {num_parallel_reads}")


def _holds_objects(record_format: str, paths: list[str]) -> bool:
    """Returns whether what is to be read as RecordIO are objects that hold no records yet."""
    if record_format.lower() != "recordio":
        return False

    def holds_records(path: str) -> bool:
        try:
            with Path(path).open("rb") as file:
                return file.read(4).startswith(_RECORD_STARTS)
        except OSError:  # which reading it will say
            return False

    return not any(holds_records(path) for path in paths)
