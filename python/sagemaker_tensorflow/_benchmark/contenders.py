# SPDX-License-Identifier: Apache-2.0
"""Ways to read a stream with TensorFlow; those without are in ``raw_readers.py``."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from sagemaker_tensorflow import PipeModeDataset, channel_dataset, parse_example
from sagemaker_tensorflow._benchmark import raw_readers
from sagemaker_tensorflow._benchmark.cases import Contender
from sagemaker_tensorflow._benchmark.stopwatch import Cost, cost
from sagemaker_tensorflow._benchmark.workloads import RAW, Features, Stream, Workload
from sagemaker_tensorflow._benchmark.workplace import Workplace

_TIMEOUT = 60.0  # seconds
_ALL = (1 << 31) - 1  # the largest count that tf.data's Skip passes on unharmed
_AUTOTUNE = tf.data.AUTOTUNE
_SHUFFLE_RECORDS = 10_000
_HIDDEN_UNITS = 512


@dataclasses.dataclass(frozen=True)
class Task:
    """What a contender reads.

    Attributes:
        contender: The contender.
        workload: What kind of stream.
        stream: The stream.
        batch_size: Records in a batch.
        workplace: The folders.
    """

    contender: Contender
    workload: Workload
    stream: Stream
    batch_size: int
    workplace: Workplace

    def fifos(self, epoch: int) -> list[Path]:
        """Waits until there are the FIFOs of ``epoch``, and returns their paths."""
        return [self.workplace.fifo(name, epoch) for name in self.contender.channel_names()]


class Reader:
    """A contender at work."""

    def __init__(self, task: Task) -> None:
        self._task = task

    def read(self, epoch: int, blocks: int) -> Cost:
        """Reads one stream to its end.

        Args:
            epoch: Its number, if it comes through FIFOs.
            blocks: How long it is; of several channels, each.

        Returns:
            The cost from the moment on that the first record is asked for.
        """
        contender = self._task.contender
        if contender.source in raw_readers.SOURCES:
            drain = raw_readers.SOURCES[contender.source]
            return cost(lambda: drain(self._task.fifos(epoch)))
        datasets = SOURCES[contender.source](self._task, epoch, blocks)
        return cost(CONSUMERS[contender.consumer](datasets, self._task))


def pipe_mode(
    channel: Any, record_format: str, workplace: Workplace, **options: Any
) -> PipeModeDataset:
    """Returns the dataset of ``channel``, a name or a tensor, with further ``options``."""
    return PipeModeDataset(
        channel,
        record_format,
        pipe_dir=workplace.pipe_dir,
        state_dir=workplace.state_dir,
        config_dir=workplace.config_dir,
        open_timeout=_TIMEOUT,
        read_timeout=_TIMEOUT,
        **options,
    )


def _pipe_mode(task: Task, channel: Any) -> tf.data.Dataset:
    options: dict[str, Any] = {"compression_type": task.workload.compression_type}
    if task.contender.read_ahead_bytes is not None:
        options["read_ahead_bytes"] = task.contender.read_ahead_bytes
    dataset = pipe_mode(channel, task.workload.record_format, task.workplace, **options)
    return PIPELINES[task.contender.pipeline](dataset, task)


# Sources: the datasets to consume. Several of them are for the consumer to take in turn.


def _iterators(task: Task, _epoch: int, _blocks: int) -> list[tf.data.Dataset]:
    return [_pipe_mode(task, channel) for channel in task.contender.channel_names()]


def _interleave(task: Task, _epoch: int, _blocks: int) -> list[tf.data.Dataset]:
    channels = tf.data.Dataset.from_tensor_slices(task.contender.channel_names())
    return [
        channels.interleave(
            lambda channel: _pipe_mode(task, channel),
            cycle_length=task.contender.channels,
            num_parallel_calls=_AUTOTUNE,
        )
    ]


def _file(task: Task, _epoch: int, blocks: int) -> list[tf.data.Dataset]:
    paths = task.stream.paths(blocks)
    make = {"TFRecord": tf.data.TFRecordDataset, "TextLine": tf.data.TextLineDataset}
    dataset = make[task.workload.record_format](paths, task.workload.compression_type)
    return [PIPELINES[task.contender.pipeline](dataset, task)]


def _channel(task: Task, epoch: int, blocks: int) -> list[tf.data.Dataset]:
    """A channel in File mode that has the same files."""
    (channel,) = task.contender.channel_names()
    folder = Path(task.workplace.pipe_dir, channel, str(epoch))
    folder.mkdir(parents=True)
    for number, path in enumerate(task.stream.paths(blocks)):
        (folder / f"{number:07}").symlink_to(path)
    dataset = channel_dataset(
        channel,
        task.workload.record_format,
        files=f"{epoch}/*",
        pipe_dir=task.workplace.pipe_dir,
        config_dir=task.workplace.config_dir,
    )
    return [PIPELINES[task.contender.pipeline](dataset, task)]


def _memory(task: Task, _epoch: int, blocks: int) -> list[tf.data.Dataset]:
    """Batches that were read before: what is put on top is all there is to pay for."""
    block = tf.data.TFRecordDataset(task.stream.block_path, task.workload.compression_type)
    dataset = _batch(block, task).cache().repeat(blocks)
    return [PIPELINES[task.contender.pipeline](dataset, task)]


def _generator(task: Task, epoch: int, _blocks: int) -> list[tf.data.Dataset]:
    def records() -> Iterator[bytes]:
        (fifo,) = task.fifos(epoch)
        return raw_readers.records(fifo, task.workload)

    dataset = tf.data.Dataset.from_generator(records, output_signature=tf.TensorSpec([], tf.string))
    return [PIPELINES[task.contender.pipeline](dataset, task)]


SOURCES: dict[str, Callable[[Task, int, int], list[tf.data.Dataset]]] = {
    "pipemode": _iterators,
    "interleave": _interleave,
    "iterators": _iterators,
    "file": _file,
    "channel": _channel,
    "memory": _memory,
    "generator": _generator,
}


# Pipelines: what is put on a dataset of records.


def _batch(dataset: tf.data.Dataset, task: Task) -> tf.data.Dataset:
    return dataset.batch(task.batch_size)


def _shuffle_batch(dataset: tf.data.Dataset, task: Task) -> tf.data.Dataset:
    return _batch(dataset.shuffle(_SHUFFLE_RECORDS), task)


def _parse(
    dataset: tf.data.Dataset,
    task: Task,
    *,
    batch: bool = True,
    parallel: bool = True,
    prefetch_records: bool = False,
    prefetch: bool = True,
    parser: Callable[..., Any] = tf.io.parse_example,
) -> tf.data.Dataset:
    if batch:
        dataset = _batch(dataset, task)
    if prefetch_records:
        dataset = dataset.prefetch(_AUTOTUNE)
    features = _parser_features(task)
    dataset = dataset.map(
        lambda records: parser(records, features),
        num_parallel_calls=_AUTOTUNE if parallel else None,
    )
    return dataset.prefetch(_AUTOTUNE) if prefetch else dataset


def _parse_single(dataset: tf.data.Dataset, task: Task) -> tf.data.Dataset:
    features = _parser_features(task)
    dataset = dataset.map(
        lambda record: tf.io.parse_single_example(record, features), num_parallel_calls=_AUTOTUNE
    )
    return _batch(dataset, task).prefetch(_AUTOTUNE)


def _script(
    dataset: tf.data.Dataset, task: Task, *, of_number: Callable[..., Any] = tf.identity
) -> tf.data.Dataset:
    """The lines that people have in their scripts, with something more done to a number."""
    features = _parser_features(task)

    def parse(record: tf.Tensor) -> dict[str, tf.Tensor]:
        parsed = dict(tf.io.parse_single_example(record, features))
        if RAW in parsed:
            parsed[RAW] = tf.io.decode_raw(parsed[RAW], tf.float64)
        name = next(iter(features))
        return {**parsed, name: of_number(tf.cast(parsed[name], tf.float32))}

    dataset = dataset.prefetch(10).map(parse, num_parallel_calls=10)
    return _batch(dataset, task)


def _parser_features(task: Task) -> dict[str, Any]:
    content = task.workload.content
    if not isinstance(content, Features):
        raise TypeError(f"{task.workload.name} has no Examples to parse")
    names = content.names()
    list_kind = {"sparse": tf.io.VarLenFeature, "ragged": tf.io.RaggedFeature}[content.parsed_as]
    features = {
        name: list_kind(tf.int64)
        if number >= len(names) - content.lists
        else tf.io.FixedLenFeature([], tf.float32 if number < content.floats else tf.int64)
        for number, name in enumerate(names)
    }
    if content.raw_bytes:
        features[RAW] = tf.io.FixedLenFeature([], tf.string)
    return features


PIPELINES: dict[str, Callable[[tf.data.Dataset, Task], tf.data.Dataset]] = {
    "record": lambda dataset, _task: dataset,
    "batch": _batch,
    "shuffle-batch": _shuffle_batch,
    "parse": _parse,
    "parse-ours": functools.partial(_parse, parser=parse_example),
    "parse-batches": functools.partial(_parse, batch=False),
    "parse-batches-ours": functools.partial(_parse, batch=False, parser=parse_example),
    "parse-single": _parse_single,
    "script": _script,
    "script-exp": functools.partial(_script, of_number=tf.exp),
    "parse-serial": functools.partial(_parse, parallel=False, prefetch=False),
    "parse-parallel": functools.partial(_parse, prefetch=False),
    "parse-serial-prefetch": functools.partial(_parse, parallel=False),
    "parse-prefetch-twice": functools.partial(_parse, prefetch_records=True),
}


# Consumers: what takes all elements of datasets.


def _drop(
    datasets: list[tf.data.Dataset], _task: Task, rewrite: bool = False
) -> Callable[[], None]:
    """Takes elements and drops them; those of a single dataset in C++, without Python.

    Skip asks its input to skip, which a dataset may know how to do without making elements. Take
    does not know: it asks for each. With ``rewrite``, TensorFlow makes of the dataset what it makes
    of that of a script.
    """
    if len(datasets) == 1:
        datasets = [datasets[0].take(_ALL).skip(_ALL)]
    iterators = [iter(dataset) if rewrite else _iterator(dataset) for dataset in datasets]

    def consume() -> None:
        left = iterators
        while left:
            left = [iterator for iterator in left if next(iterator, None) is not None]

    return consume


def _train(datasets: list[tf.data.Dataset], task: Task) -> Callable[[], None]:
    """Trains a small model by each batch of features, in a Python loop."""
    step = _training_step(len(_parser_features(task)))
    (iterator,) = map(_iterator, datasets)

    def consume() -> None:
        for features in iterator:
            step(features)

    return consume


def _iterator(dataset: tf.data.Dataset) -> Any:
    """Returns an iterator of ``dataset`` as it is written, without rewrites by TensorFlow."""
    options = tf.data.Options()
    options.experimental_optimization.apply_default_optimizations = False
    return iter(dataset.with_options(options))


@functools.cache
def _training_step(inputs: int) -> Any:
    hidden = tf.Variable(tf.random.normal([inputs, _HIDDEN_UNITS], stddev=0.01))
    output = tf.Variable(tf.random.normal([_HIDDEN_UNITS, 1], stddev=0.01))

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(features: dict[str, tf.Tensor]) -> None:
        values = tf.tanh(tf.stack([tf.cast(f, tf.float32) for f in features.values()], axis=1))
        with tf.GradientTape() as tape:
            predicted = tf.nn.relu(values @ hidden) @ output
            loss = tf.reduce_mean(tf.square(predicted - values[:, :1]))
        for variable, gradient in zip(
            (hidden, output), tape.gradient(loss, (hidden, output)), strict=True
        ):
            variable.assign_sub(0.01 * gradient)

    return step


CONSUMERS: dict[str, Callable[[list[tf.data.Dataset], Task], Callable[[], None]]] = {
    "drop": _drop,
    "drop-rewritten": functools.partial(_drop, rewrite=True),
    "train": _train,
}
