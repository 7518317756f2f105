# SPDX-License-Identifier: Apache-2.0
"""``PipeModeMetrics``: a Keras callback that tells whether training waits for its input."""

from __future__ import annotations

import dataclasses
import os
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sagemaker_tensorflow._base import arguments
from sagemaker_tensorflow._base.tensorflow_module import tensorflow
from sagemaker_tensorflow._job import job_paths
from sagemaker_tensorflow._keras.dataset_tree import pipe_mode_datasets
from sagemaker_tensorflow.stats import ChannelStats, channel_stats

if TYPE_CHECKING:
    import tensorflow as tf
else:
    tf = tensorflow()

__all__ = ["PipeModeMetrics"]

# How often to look while batches go by; a look costs some 0.1 ms.
_LOOK_SECONDS = 1.0
_STARVED_SHARE = 0.5


class PipeModeMetrics(tf.keras.callbacks.Callback):  # type: ignore[misc]
    """Puts into ``logs``, at the end of each epoch, how the reading of channels goes.

    For each channel, ``<channel>_`` and:

    * ``records_per_second``, ``megabytes_per_second``: given to training;
    * ``starved``: the share of time, 0 to 1, in which a record was asked for and none was ready.
      Near 0 training is the slow part, near 1 its input;
    * ``pipe_wait``: the share in which the reader waited for the pipe. As high as ``starved``: the
      service is slow, or S3; lower: reading and what comes behind it;
    * ``backpressure``: the share in which the pipe waited for us;
    * ``corrupt_records``: how many were skipped or reported since the epoch before;
    * ``epochs``: how many of the channel's own came to their end since then;
    * ``queued_records``: how many lay ready at its end.

    Of an epoch's time that counts in which the channel is read: training or validation. ``History``
    and every callback behind this one see them, ``tf.keras.callbacks.TensorBoard`` among them.

    Warns once for each channel (``UserWarning``) when training has waited for it more than half of
    ``warn_after`` seconds; and once when nobody has read a channel of this name by the end of the
    first epoch.

    Args:
        datasets: The pipelines, or names of channels, to watch: one, or a list or tuple of them. In
            a pipeline the channels are found, but for those that a function makes, as with
            ``interleave``. A name means the channel in the default ``pipe_dir``.
        log_dir: Where to write the same for TensorBoard, by itself; ``None``: nowhere.
        warn_after: Seconds, more than 0; ``None`` never warns of waiting.

    Raises:
        TypeError: If ``datasets`` is something else, or the type of another argument is not valid.
        ValueError: If a pipeline has no channel in it, or ``warn_after`` is not positive.
    """

    def __init__(
        self,
        datasets: tf.data.Dataset | str | list[tf.data.Dataset | str] | tuple[Any, ...],
        log_dir: str | os.PathLike[str] | None = None,
        warn_after: float | None = 60.0,
    ) -> None:
        super().__init__()
        arguments.check(log_dir=log_dir, warn_after=warn_after)
        if warn_after is not None and not warn_after > 0:
            raise ValueError(f"warn_after must be more than 0 seconds, or None, not {warn_after!r}")
        # Nothing else is iterated over: of a dataset, that would read an epoch.
        if not isinstance(datasets, list | tuple):
            datasets = [datasets]
        sources = [source for dataset in datasets for source in _sources(dataset)]
        self._sources = dict(sources)
        self._unread = list(self._sources)
        self._watches = {
            channel: _Watch(channel, warn_after)
            for channel in self._sources
            if warn_after is not None
        }
        self._log_dir = None if log_dir is None else os.fsdecode(log_dir)
        self._writer: Any = None
        self._phases: dict[str, _Phase] = {}
        self._phase: _Phase | None = None
        # The channels at the end of the epoch before. Reading goes on between epochs, too: what is
        # counted then is part of the next one.
        self._reported: dict[str, ChannelStats] = {}
        self._looked = 0.0

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Opens the file for TensorBoard."""
        self._reported = self._stats()
        if self._log_dir is not None:
            self._writer = tf.summary.create_file_writer(self._log_dir)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Begins to measure."""
        self._phases = {}
        self._begin("training")

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Now and then looks whether training is starved."""
        now = time.monotonic()
        if now - self._looked >= _LOOK_SECONDS:
            self._looked = now
            for channel, watch in self._watches.items():
                watch.look(now, self._sources[channel]())

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Validation begins, or an evaluation without training, which is not measured."""
        if self._phase is not None:
            self._begin("validation")

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """What is left of the epoch is other callbacks."""
        if self._phase is not None:
            self._end_phase()
            self._phase = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Adds the numbers to ``logs``."""
        self._end_phase()
        self._phase = None
        # Validation does not count as waiting.
        for watch in self._watches.values():
            watch.restart()
        now = self._stats()
        metrics = {
            f"{channel}_{name}": value
            for channel in self._sources
            for name, value in self._metrics(channel, now[channel]).items()
        }
        self._reported = now
        if logs is not None:
            logs.update(metrics)
        self._warn_of_unread()
        if self._writer is not None:
            with self._writer.as_default():
                for name, value in metrics.items():
                    _write_scalar(f"pipe/{name}", value, epoch)
            self._writer.flush()

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002
        """Closes the file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _begin(self, name: str) -> None:
        self._end_phase()
        self._phase = self._phases[name] = _Phase(time.monotonic(), self._stats())

    def _end_phase(self) -> None:
        if self._phase is not None:
            self._phase.seconds = time.monotonic() - self._phase.begun
            self._phase.after = self._stats()

    def _stats(self) -> dict[str, ChannelStats]:
        return {channel: stats() for channel, stats in self._sources.items()}

    def _warn_of_unread(self) -> None:
        """Warns of channels without any numbers, once."""
        for channel in self._unread:
            stats = self._sources[channel]()
            if not any(dataclasses.astuple(stats)[2:]):
                warnings.warn(
                    f"nobody has read channel '{stats.channel}' in '{stats.pipe_dir}' so far: is "
                    "that its name, and its pipe_dir? What PipeModeMetrics says of it is 0",
                    stacklevel=2,
                )
        self._unread = []

    def _metrics(self, channel: str, now: ChannelStats) -> dict[str, float]:
        def records(phase: _Phase) -> int:
            return phase.after[channel].records - phase.before[channel].records

        phase = max(self._phases.values(), key=records)
        before, after = phase.before[channel], phase.after[channel]
        reported = self._reported[channel]
        seconds = max(phase.seconds, 1e-9)

        def rate(field: str) -> float:
            return (getattr(after, field) - getattr(before, field)) / seconds  # type: ignore[no-any-return]

        return {
            "records_per_second": rate("records"),
            "megabytes_per_second": rate("bytes") / 1e6,
            # Several iterators may wait at once.
            "starved": min(rate("starved_seconds"), 1.0),
            "pipe_wait": min(rate("pipe_wait_seconds"), 1.0),
            "backpressure": min(rate("backpressure_seconds"), 1.0),
            "corrupt_records": float(now.corrupt_records - reported.corrupt_records),
            "epochs": float(now.epochs - reported.epochs),
            "queued_records": float(after.queued_records),
        }


@dataclasses.dataclass
class _Phase:
    """A part of an epoch, and the channels at its begin and its end."""

    begun: float
    before: dict[str, ChannelStats]
    seconds: float = 0.0
    after: dict[str, ChannelStats] = dataclasses.field(default_factory=dict)


class _Watch:
    """Warns once when a channel has starved training for long."""

    def __init__(self, channel: str, warn_after: float) -> None:
        self._channel = channel
        self._warn_after = warn_after
        self._warned = False
        self.restart()

    def restart(self) -> None:
        self._begin: tuple[float, ChannelStats] | None = None

    def look(self, now: float, stats: ChannelStats) -> None:
        if self._warned:
            return
        if self._begin is None:
            self._begin = now, stats
            return
        begun, before = self._begin
        seconds = now - begun
        if seconds < self._warn_after:
            return
        self._begin = now, stats
        starved = stats.starved_seconds - before.starved_seconds
        if starved <= _STARVED_SHARE * seconds:
            return
        self._warned = True
        waited = stats.pipe_wait_seconds - before.pipe_wait_seconds
        cause = (
            "for the pipe: the service or S3 is slower than training. More or larger objects, "
            "ShardedByS3Key or compressed data may help"
            if waited > _STARVED_SHARE * starved
            else "but the pipe was not the reason: see docs/performance.md on where to batch, "
            "parse and prefetch"
        )
        warnings.warn(
            f"training has waited for channel '{self._channel}' {starved:.0f} of the last "
            f"{seconds:.0f} s, {cause}",
            stacklevel=2,
        )


def _write_scalar(name: str, value: float, step: int) -> None:
    """As ``tf.summary.scalar``, which TensorFlow has only where TensorBoard is installed."""
    metadata = tf.compat.v1.SummaryMetadata()
    metadata.plugin_data.plugin_name = "scalars"
    tf.summary.write(name, tf.constant(value, tf.float32), step=step, metadata=metadata)


def _sources(dataset: tf.data.Dataset | str) -> list[tuple[str, Callable[[], ChannelStats]]]:
    """Returns the channels of a pipeline, each with what tells how it goes."""
    if isinstance(dataset, str):
        name = dataset
        # All looks must be at one place, whatever else this process has read by then.
        folder = job_paths.pipe_dir()
        return [(name, lambda: channel_stats(name, folder))]
    if not isinstance(dataset, tf.data.Dataset):
        raise TypeError(
            "PipeModeMetrics watches tf.data datasets and names of channels, and lists of them, "
            f"but not {type(dataset).__name__}; for a dataset of tf.distribute pass the one that "
            "it was made of"
        )
    found = [source for source in pipe_mode_datasets(dataset) if isinstance(source.channel, str)]
    if not found:
        raise ValueError(
            "no channel is known of this dataset: if a function makes it, as with interleave, pass "
            "the channels' names"
        )
    return [(source.channel, source.stats) for source in found]
