# SPDX-License-Identifier: Apache-2.0
"""``PipeModeDataset``: the records of a SageMaker Pipe-mode channel as a ``tf.data.Dataset``."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sagemaker_tensorflow._base import arguments
from sagemaker_tensorflow._base.tensorflow_module import tensorflow
from sagemaker_tensorflow._job import job_paths, worker_lock
from sagemaker_tensorflow._job.channel_files import ChannelFiles
from sagemaker_tensorflow._job.input_config import InputConfig
from sagemaker_tensorflow._op import op_library
from sagemaker_tensorflow._vectorize import datasets
from sagemaker_tensorflow._vectorize.datasets import RecordDataset
from sagemaker_tensorflow.exceptions import ChannelTypeError, PipeModeDatasetException
from sagemaker_tensorflow.stats import ChannelStats, channel_stats

if TYPE_CHECKING:
    import tensorflow as tf
else:
    tf = tensorflow()

__all__ = ["PipeModeDataset", "PipeModeDatasetException", "load_op"]

_DEFAULT_TIMEOUT = 1800.0  # seconds
_DEFAULT_MAX_RECORD_BYTES = 1 << 30
_DEFAULT_READ_AHEAD_BYTES = 4 << 20

_MAX_INT64 = 2**63 - 1

_PUBLIC_ATTRIBUTES = (
    "attributes",
    "benchmark",
    "benchmark_records_interval",
    "channel",
    "input_data_config",
    "is_reshuffled",
    "max_corrupted_records_to_skip",
    "pipe_dir",
    "record_format",
    "state_dir",
)


def load_op() -> None:
    """Makes the op of ``PipeModeDataset`` known to TensorFlow in this process.

    A dataset does so by itself. Needed only where a graph that holds one comes from another
    process, as in a worker of the ``tf.data`` service.

    Raises:
        OpLibraryError: If this installation does not fit the TensorFlow found.
    """
    op_library.load()


class PipeModeDataset(RecordDataset):
    """The records of one SageMaker Pipe-mode channel.

    In Pipe mode the service sends a channel through FIFOs ``<pipe_dir>/<channel>_<n>``, one for
    each pass over the data. Each iterator of this dataset is one pass: when its first record is
    asked for, it waits for the next FIFO that nobody has read, and it ends with that FIFO.
    ``repeat`` goes from FIFO to FIFO. The number of the next one is kept in ``state_dir``, so that
    a second dataset or a restarted script goes on where the last one stopped.

    Elements are scalar ``tf.string`` tensors, one a record::

        ds = PipeModeDataset(channel='training', record_format='TFRecord')
        ds = ds.repeat(20).prefetch(10).map(parse, num_parallel_calls=10).batch(64)

    With ``attributes`` they are dicts of such scalars, one for each line of an augmented manifest.

    The first eight arguments are those of the predecessor of this package, by name and position.

    Args:
        channel: Name of the channel; a ``str``, or a scalar ``tf.string`` tensor as ``interleave``
            gives it.
        record_format: ``'RecordIO'``, ``'TFRecord'`` or ``'TextLine'``, in any case.
        state_dir: Folder of the epoch numbers, made if missing. Default: ``pipe_state`` in
            ``$SAGEMAKER_BASE_DIR`` or else ``/opt/ml``.
        pipe_dir: Folder of the FIFOs. Default: ``data`` in ``$SM_INPUT_DIR`` or else
            ``$SAGEMAKER_BASE_DIR/input`` or else ``/opt/ml/input``.
        config_dir: Folder of ``inputdataconfig.json``. Default: ``$SM_INPUT_CONFIG_DIR`` or else
            ``config`` beside the default of ``pipe_dir``.
        benchmark: Whether each iterator prints ``total read_time_ms``, ``total read_bytes`` and
            ``total read_GB/s`` to stdout when it ends.
        benchmark_records_interval: If positive, an iterator prints ``Iterator records: <n>`` and
            the last record's time and size to stdout every so many records.
        max_corrupted_records_to_skip: How many TFRecords in a row may fail the CRC of their payload
            and be dropped before that is an error. Other damage is always an error, since nothing
            tells where the next record begins.
        compression_type: ``'GZIP'`` or ``'ZLIB'``, in any case, if the stream itself is compressed;
            ``None`` or ``''`` if not; ``'AUTO'`` finds gzip by the first bytes of each epoch. Not
            to be given for ``CompressionType: Gzip`` of the job: there the service decompresses.
        recordio_parts: How the parts of a RecordIO record in several parts are put together:
            ``'joined'`` as they are, or ``'dmlc'`` with the magic number between them, which the
            dmlc writer drops there.
        open_timeout: Seconds to wait for the FIFO to appear and be opened by its writer; ``None``:
            for ever.
        read_timeout: Seconds to wait for each next byte from then on; ``None``: for ever.
        max_record_bytes: A longer record is an error; memory grows only with bytes that really
            arrive.
        read_ahead_bytes: How many bytes of records a thread of each iterator may read, and have
            ready, before they are asked for; besides, one element may be in the making. 0 reads
            only when asked.
        skip_header_lines: How many lines at the beginning of each epoch are dropped; this and the
            next two are for ``'TextLine'`` only.
        repeated_header: Whether these lines are dropped wherever they come again, all of them one
            after the other, as they do where one object ends and the next begins; with or without
            a byte order mark. An object must end with a newline for that, or its last row and the
            next header are one line.
        strip_carriage_return: Whether a carriage return at the end of a line is dropped, as of
            lines that end in CRLF.
        attributes: For a channel of an augmented manifest, which sends each attribute of a line as
            a RecordIO record: the names in the order of the job's ``AttributeNames``, at most 16.
            Elements are then whole lines, as dicts from name to ``tf.string``. ``True`` takes the
            names from ``AttributeNames`` in ``inputdataconfig.json``. ``None`` leaves each record
            an element of its own, whatever stands there.
        vectorize_map: Whether ``map`` before ``batch`` is done a batch at a time where the results
            are certain to be the same; see ``map``. The variable
            ``SAGEMAKER_TENSORFLOW_VECTORIZE_MAP=0`` turns that off for all datasets.

    Attributes:
        attributes: The names as a tuple, or ``None``.
        is_reshuffled: Whether the service sends the objects in another order in each epoch.

    Raises:
        PipeModeDatasetException: If the channel is unknown or not in Pipe mode, its name is not
            one, ``inputdataconfig.json`` is missing or broken, ``state_dir`` cannot be written, or
            another worker of ``TF_CONFIG``'s cluster reads the channel with the same ``state_dir``;
            or ``attributes`` are not those that the job sends, or it does not say which it sends.
        OpLibraryError: If this installation does not fit the TensorFlow found.
        tf.errors.InvalidArgumentError: If the value of another argument is not valid.
        TypeError: If the type of an argument is not: nothing is rounded, and only ``True`` and
            ``False`` are good for a ``bool``. Of ``channel`` it is a ``PipeModeDatasetException``,
            too.

    Iterating raises, with channel, epoch, path, record number and byte offset in the message:

    * ``tf.errors.DataLossError``: The stream is corrupt, ends in the midst of a record, or is not
      what was announced. After a corrupt payload the iterator goes on with the next record, after
      all else it is at its end.
    * ``tf.errors.DeadlineExceededError``: No FIFO, no writer or no data within the time limits.
    * ``tf.errors.FailedPreconditionError``: Another process reads this very FIFO, or a state file
      is broken.
    * ``tf.errors.CancelledError``: The call was cancelled, or a signal came while it waited.
    """

    def __init__(
        self,
        channel: str | tf.Tensor,
        record_format: str = "RecordIO",
        state_dir: str | os.PathLike[str] | None = None,
        pipe_dir: str | os.PathLike[str] | None = None,
        config_dir: str | os.PathLike[str] | None = None,
        benchmark: bool = False,
        benchmark_records_interval: int = 0,
        max_corrupted_records_to_skip: int = 0,
        *,
        compression_type: str | None = None,
        recordio_parts: str = "joined",
        open_timeout: float | None = _DEFAULT_TIMEOUT,
        read_timeout: float | None = _DEFAULT_TIMEOUT,
        max_record_bytes: int = _DEFAULT_MAX_RECORD_BYTES,
        read_ahead_bytes: int = _DEFAULT_READ_AHEAD_BYTES,
        skip_header_lines: int = 0,
        repeated_header: bool = False,
        strip_carriage_return: bool = False,
        attributes: Sequence[str] | bool | None = None,
        vectorize_map: bool = True,
    ) -> None:
        arguments.check(
            _invalid,
            record_format=record_format,
            benchmark=benchmark,
            benchmark_records_interval=benchmark_records_interval,
            max_corrupted_records_to_skip=max_corrupted_records_to_skip,
            compression_type=compression_type,
            recordio_parts=recordio_parts,
            open_timeout=open_timeout,
            read_timeout=read_timeout,
            max_record_bytes=max_record_bytes,
            read_ahead_bytes=read_ahead_bytes,
            skip_header_lines=skip_header_lines,
            repeated_header=repeated_header,
            strip_carriage_return=strip_carriage_return,
            vectorize_map=vectorize_map,
        )
        files = channel if isinstance(channel, ChannelFiles) else None
        self.channel = files.channel if files else _as_str(channel)
        self.record_format = record_format
        self.state_dir = job_paths.state_dir(state_dir)
        self.pipe_dir = job_paths.pipe_dir(pipe_dir)
        self.benchmark = benchmark
        self.benchmark_records_interval = benchmark_records_interval
        self.max_corrupted_records_to_skip = max_corrupted_records_to_skip
        config = InputConfig.load(job_paths.config_dir(config_dir))
        self.input_data_config = config.as_read
        of_source = _of_files(files) if files is not None else _of_pipes(config, self.channel)
        self.attributes = _attributes(attributes, config, self.channel)
        settings = config.find(self.channel)
        self.is_reshuffled = files is None and settings is not None and settings.is_reshuffled
        if files is None:
            _take_state(self.state_dir, self.channel)
        self._arguments: dict[str, Any] = {
            "channel": self.channel,
            **of_source,
            "record_format": record_format,
            "compression_type": compression_type or "",
            "recordio_parts": recordio_parts,
            "pipe_dir": self.pipe_dir,
            "state_dir": self.state_dir,
            "open_timeout": _as_seconds(open_timeout),
            "read_timeout": _as_seconds(read_timeout),
            "max_record_bytes": max_record_bytes,
            "max_corrupted_records_to_skip": max_corrupted_records_to_skip,
            "benchmark": benchmark,
            "benchmark_records_interval": benchmark_records_interval,
            "repeat_count": 1,
            "batch_size": 0,
            "drop_remainder": False,
            "read_ahead_bytes": read_ahead_bytes,
            "num_shards": 1,
            "shard_index": 0,
            "shard_across_epochs": False,
            "skip_header_lines": skip_header_lines,
            "repeated_header": repeated_header,
            "strip_carriage_return": strip_carriage_return,
            "manifest_attributes": list(self.attributes or ()),
        }
        self._tf_options = _shard_options(config, self.channel)
        self._vectorizes_map = vectorize_map and datasets.is_on()
        super().__init__(self._make_variant())

    def repeat(self, count: Any = None, name: str | None = None) -> tf.data.Dataset:
        """Reads ``count`` epochs, one after the other, or all that come.

        As ``tf.data.Dataset.repeat``, but done inside the op, and an epoch without records does not
        end an endless one.

        Args:
            count: A number; ``None`` or negative: without end.
            name: A name for the ``tf.data`` operation.
        """
        static = -1 if count is None else _static_int(count)
        old = self._arguments
        if (
            static is None
            or not _is_name(name)
            or old["batch_size"] > 0
            or old["shard_across_epochs"]
            # Tools expect the totals of each epoch: an iterator for each.
            or self.benchmark
            or old["repeat_count"] * static > _MAX_INT64
        ):
            return super().repeat(count, name=name)
        return self._with(repeat_count=_repeated(old["repeat_count"], static))

    def shard(self, num_shards: Any, index: Any, name: str | None = None) -> tf.data.Dataset:
        """Reads only each ``num_shards``-th record, or line, from number ``index`` on.

        As ``tf.data.Dataset.shard``, with the same results, but done inside the op: the other
        records are checked and dropped, and never copied. Each worker has to have all records in a
        channel of its own for that, as ``S3DistributionType: FullyReplicated`` sends them;
        with ``ShardedByS3Key`` the service has sharded already. After ``repeat``, records are
        counted on from epoch to epoch; before it, from 0 in each.

        Args:
            num_shards: How many shards there are.
            index: Which one to read, from 0.
            name: A name for the ``tf.data`` operation.
        """
        count, number = _static_int(num_shards), _static_int(index)
        old = self._arguments
        across = old["repeat_count"] != 1
        if (
            count is None
            or number is None
            or not _is_name(name)
            or not 0 <= number < count
            or old["batch_size"] > 0
            or count * old["num_shards"] > _MAX_INT64
            # A shard of each epoch, and of that a shard across epochs.
            or (across and old["num_shards"] > 1 and not old["shard_across_epochs"])
        ):
            return super().shard(num_shards, index, name=name)
        return self._with(
            num_shards=count * old["num_shards"],
            shard_index=old["shard_index"] + number * old["num_shards"],
            shard_across_epochs=across,
        )

    def batch(
        self,
        batch_size: Any,
        drop_remainder: Any = False,
        num_parallel_calls: Any = None,
        deterministic: bool | None = None,
        name: str | None = None,
    ) -> tf.data.Dataset:
        """Makes elements of ``batch_size`` records, or lines: ``tf.string`` vectors.

        As ``tf.data.Dataset.batch``, with the same results, but done inside the op, where it costs
        a fraction. So batch first and parse whole batches, for example by ``tf.io.parse_example``.

        Args:
            batch_size: Records, or lines, in an element.
            drop_remainder: Whether to drop a last batch that is not full. The elements' shape is
                then ``[batch_size]``, else ``[None]``.
            num_parallel_calls: Without effect inside the op.
            deterministic: Without effect: the order is that of the channel.
            name: A name for the ``tf.data`` operation.
        """
        size, drop = _static_int(batch_size), _static_bool(drop_remainder)
        if (
            size is None
            or size <= 0
            or drop is None
            or (num_parallel_calls is not None and _static_int(num_parallel_calls) is None)
            or not isinstance(deterministic, bool | None)
            or not _is_name(name)
            or self._arguments["batch_size"] > 0
        ):
            return super().batch(
                batch_size, drop_remainder, num_parallel_calls, deterministic, name
            )
        return self._with(batch_size=size, drop_remainder=drop)

    def with_options(
        self,
        options: tf.data.Options,
        name: str | None = None,
    ) -> tf.data.Dataset:
        """Sets ``tf.data`` options, as ``tf.data.Dataset.with_options``.

        The result is a ``PipeModeDataset``, whose ``batch`` and ``repeat`` are done in the op.

        Args:
            options: They override what was set before.
            name: Without effect.
        """
        if not _is_name(name):
            return super().with_options(options, name=name)
        return self._like(self._arguments, (*self._tf_options, options))

    def stats(self) -> ChannelStats:
        """Tells how the reading of this dataset's channel goes; see ``channel_stats``.

        Counted are all iterators of this channel in this process, whichever dataset they are of.

        Raises:
            PipeModeDatasetException: If the channel is a tensor that has no value yet.
        """
        if not isinstance(self.channel, str):
            raise PipeModeDatasetException(
                "the channel of this dataset is known only when the graph runs; ask for "
                "sagemaker_tensorflow.channel_stats('<name>')"
            )
        return channel_stats(self.channel, self.pipe_dir)

    @property
    def element_spec(self) -> tf.TensorSpec | dict[str, tf.TensorSpec]:
        """Type ``tf.string``; a scalar, or a vector after ``batch``; a dict of ``attributes``."""
        size = self._arguments["batch_size"]
        shape = [size if self._arguments["drop_remainder"] else None] if size > 0 else []
        spec = tf.TensorSpec(shape, tf.string)
        return spec if self.attributes is None else dict.fromkeys(self.attributes, spec)

    def _in_batches(self, batch_size: int) -> tf.data.Dataset:
        return self.batch(batch_size)

    def _inputs(self) -> list[tf.data.Dataset]:
        return []

    def _make_variant(self) -> tf.Tensor:
        specs = tf.nest.flatten(self.element_spec)
        variant = op_library.load().pipe_mode_dataset(
            **self._arguments,
            output_types=[spec.dtype for spec in specs],
            output_shapes=[spec.shape for spec in specs],
        )
        if not self._tf_options:
            return variant
        dataset = tf.data.experimental.from_variant(variant, self.element_spec)
        for options in self._tf_options:
            dataset = dataset.with_options(options)
        return tf.data.experimental.to_variant(dataset)

    def _with(self, **changes: Any) -> PipeModeDataset:
        """Returns a dataset like this one but for some of the op's arguments."""
        return self._like({**self._arguments, **changes}, self._tf_options)

    def _like(
        self, arguments: dict[str, Any], options: tuple[tf.data.Options, ...]
    ) -> PipeModeDataset:
        dataset = PipeModeDataset.__new__(PipeModeDataset)
        for attribute in _PUBLIC_ATTRIBUTES:
            setattr(dataset, attribute, getattr(self, attribute))
        dataset._arguments = arguments
        dataset._tf_options = options
        dataset._vectorizes_map = self._vectorizes_map
        tf.data.Dataset.__init__(dataset, dataset._make_variant())
        return dataset


def _of_files(files: ChannelFiles) -> dict[str, Any]:
    """Returns the op's arguments that tell which files to read."""
    num_shards, index = files.shard
    return {
        "files": tf.constant(files.paths, tf.string),
        "file_sizes": tf.constant(files.sizes, tf.int64),
        "reads_files": True,
        "num_file_shards": num_shards,
        "file_shard_index": index,
        "file_is_record": files.file_is_record,
        "num_parallel_reads": files.num_parallel_reads,
    }


def _of_pipes(config: InputConfig, channel: Any) -> dict[str, Any]:
    """Returns the op's arguments that are about FIFOs, having made sure that they can be read."""
    pipe_channels = []
    if isinstance(channel, str):
        config.pipe_channel(channel)
    else:
        # Its value is known only when the graph runs: the op checks it.
        pipe_channels = config.pipe_channels
    return {
        "files": tf.constant([], tf.string),
        "file_sizes": tf.constant([], tf.int64),
        "pipe_channels": pipe_channels,
        "reshuffled_channels": config.reshuffled_channels,
    }


def _shard_options(config: InputConfig, channel: Any) -> tuple[tf.data.Options, ...]:
    """Returns how ``tf.distribute`` is to divide a channel among workers, where that is known.

    What the service has divided must not be divided again; what each host gets in full must be.
    """
    settings = config.find(channel)
    if settings is None or settings.is_sharded is None:
        return ()
    policy = tf.data.experimental.AutoShardPolicy
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = (
        policy.OFF if settings.is_sharded else policy.DATA
    )
    return (options,)


def _attributes(attributes: Any, config: InputConfig, channel: Any) -> tuple[str, ...] | None:
    """Returns the names that ``attributes`` asks for; ``None`` if it asks for none."""
    if attributes is None or attributes is False:
        return None
    settings = config.find(channel)
    sent = settings.attribute_names if settings else None
    if attributes is True:
        if sent is None:
            raise PipeModeDatasetException(
                f"inputdataconfig.json has no AttributeNames for channel '{channel}': pass "
                "attributes=('<name>', ...), in the order of the job's AttributeNames"
            )
        return sent
    if isinstance(attributes, str) or not isinstance(attributes, Sequence):
        raise TypeError(f"attributes must be a sequence of names or True, not {attributes!r}")
    names = tuple(attributes)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"attributes must be names, and not all are of type str: {names!r}")
    if not names:
        raise _invalid("attributes must have at least one name; None reads records one by one")
    # Another name for an attribute does no harm; one in the place of another does.
    if sent is not None and (
        len(names) != len(sent)
        or any(name in sent and name != there for name, there in zip(names, sent, strict=True))
    ):
        raise PipeModeDatasetException(
            f"attributes are {names!r}, but the job sends AttributeNames {sent!r} in channel "
            f"'{channel}': name each of them, in this order, or pass attributes=True"
        )
    return names


def _as_str(channel: Any) -> Any:
    """Returns the value of ``channel`` as ``str`` if it is known by now, else the tensor."""
    value = channel
    if tf.is_tensor(channel) and channel.dtype == tf.string and channel.shape.rank in (0, None):
        value = tf.get_static_value(channel)
        if value is None:
            return channel
        # A NumPy array in a graph, the bytes themselves in eager mode.
        value = getattr(value, "item", lambda: value)()
    if isinstance(value, bytes):
        value = value.decode(errors="backslashreplace")
    if not isinstance(value, str):
        raise ChannelTypeError(
            f"channel must be a name or a scalar tf.string tensor, not {channel!r}"
        )
    return value


# Of what is given to a method of tf.data's, only what surely means this is done in the op. All else
# is left to tf.data, which takes it or refuses it.


def _static_int(value: Any) -> int | None:
    """Returns ``value`` as ``int`` if it is one, or an int64 tensor that has one by now."""
    if isinstance(value, tf.Tensor):
        if value.dtype != tf.int64 or value.shape.rank != 0:
            return None
        value = tf.get_static_value(value)
    is_int = isinstance(value, int | np.integer) and not isinstance(value, bool)
    return int(value) if is_int and -_MAX_INT64 <= value <= _MAX_INT64 else None


def _static_bool(value: Any) -> bool | None:
    """Returns ``value`` as ``bool`` if it is one, or a tensor of that type that has one by now."""
    if isinstance(value, tf.Tensor):
        if value.dtype != tf.bool or value.shape.rank != 0:
            return None
        value = tf.get_static_value(value)
    return bool(value) if isinstance(value, bool | np.bool_) else None


def _is_name(name: Any) -> bool:
    """Returns whether tf.data takes ``name`` as that of an operation."""
    return name is None or (isinstance(name, str) and name.isidentifier())


def _repeated(first: int, second: int) -> int:
    """Returns the count of ``repeat(first).repeat(second)``, where negative is endless."""
    if 0 in (first, second):
        return 0
    return -1 if min(first, second) < 0 else first * second


def _invalid(message: str) -> Exception:
    return tf.errors.InvalidArgumentError(None, None, message)  # type: ignore[no-any-return]


def _as_seconds(timeout: float | None) -> float:
    return math.inf if timeout is None else timeout


def _take_state(state_dir: str, channel: Any) -> None:
    _make_state_dir(state_dir)
    if isinstance(channel, str):
        worker_lock.hold(state_dir, channel)


def _make_state_dir(state_dir: str) -> None:
    try:
        Path(state_dir).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PipeModeDatasetException(
            f"cannot make the state folder '{state_dir}': {error.strerror}; "
            "pass a writable state_dir"
        ) from error
    if not os.access(state_dir, os.W_OK | os.X_OK):
        raise PipeModeDatasetException(
            f"the state folder '{state_dir}' is not writable; pass a writable state_dir"
        )
