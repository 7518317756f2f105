# SPDX-License-Identifier: Apache-2.0
"""How the reading of a channel goes: whether training waits for data, or data for training."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from sagemaker_tensorflow._base import arguments
from sagemaker_tensorflow._base.tensorflow_module import tensorflow
from sagemaker_tensorflow._job import job_paths
from sagemaker_tensorflow._op import op_library
from sagemaker_tensorflow.exceptions import PipeModeDatasetException

__all__ = ["ChannelStats", "channel_stats"]


@dataclasses.dataclass(frozen=True)
class ChannelStats:
    """What all iterators of one channel in this process have done so far.

    All but the two of the queue only grow, also when an iterator ends: what happened in between is
    the difference of two looks.

    Of the three times, ``starved_seconds`` says whether training waits for its input. If it does,
    ``pipe_wait_seconds`` says whether that is because the pipe is slow; if that stays behind, it
    is the reading itself. ``backpressure_seconds`` grows when the pipe is faster than training.

    Attributes:
        channel: Name of the channel.
        pipe_dir: Folder of its FIFOs, or of its own folder in File and FastFile mode.
        records: Records that iterators have given to what comes after them; each attribute of a
            manifest's line is one. What ``skip`` drops, and what is dropped to take up the position
            of a checkpoint, does not count.
        bytes: Bytes of these records, decompressed and without framing.
        epochs: Epochs read to their end; with ``read_ahead_bytes`` by the thread that reads ahead.
        lost_epochs: Epochs passed over: a reader before, killed as the service began to send, has
            used them up, and the service does not send an epoch twice.
        corrupt_records: Corrupt records passed over or reported as errors.
        queued_records: Records read ahead that nobody has asked for yet.
        queued_bytes: Bytes of these records.
        pipe_wait_seconds: Seconds in which iterators waited for the pipe: for a FIFO to appear, for
            its writer, for data.
        backpressure_seconds: Seconds in which the pipe waited for iterators, since as much was read
            ahead as may be, or nobody asked for a further epoch; with ``read_ahead_bytes=0``, since
            nobody asked for a record although there were some.
        starved_seconds: Seconds in which a record was asked for and none was ready. With
            ``read_ahead_bytes=0``, as many as ``pipe_wait_seconds``.
    """

    channel: str
    pipe_dir: str
    records: int
    bytes: int
    epochs: int
    lost_epochs: int
    corrupt_records: int
    queued_records: int
    queued_bytes: int
    pipe_wait_seconds: float
    backpressure_seconds: float
    starved_seconds: float


def channel_stats(channel: str, pipe_dir: str | os.PathLike[str] | None = None) -> ChannelStats:
    """Tells how the reading of ``channel`` goes; all zero for one that was not read.

    That is, in this process. May be called from any thread at any time; it neither waits for
    iterators nor holds them up.

    Args:
        channel: Name of the channel.
        pipe_dir: Folder of its FIFOs, as was given to ``PipeModeDataset`` or ``channel_dataset``.
            ``None`` finds the channel by its name: in their default folder if a dataset of this
            process has it there, else in the one folder where it was read. ``pipe_dir`` of the
            result says which that is.

    Raises:
        PipeModeDatasetException: If ``pipe_dir`` is ``None``, and the channel was read in several
            folders, none of which is the default; the message lists them.
        TypeError: If the type of an argument is not valid.
        OpLibraryError: If TensorFlow cannot be imported, or this installation does not fit it.
    """
    arguments.check(channel=channel)
    folder = job_paths.pipe_dir(pipe_dir)
    if pipe_dir is None:
        found = _run("pipe_mode_stats_folders", channel=channel, default_dir=folder)
        folders = [os.fsdecode(name) for name in found]
        if len(folders) > 1:
            raise PipeModeDatasetException(
                f"channel '{channel}' was read in several folders: pass pipe_dir, one of "
                f"{folders}, or ask a dataset by its stats()"
            )
        folder = folders[0] if folders else folder
    numbers = _run("pipe_mode_stats", channel=channel, pipe_dir=folder)
    return ChannelStats(channel, folder, *(number.item() for number in numbers))


def _run(name: str, **attributes: str) -> Any:
    """Returns what an op without inputs gives now, as NumPy's arrays and scalars."""
    tf = tensorflow()
    op = getattr(op_library.load(), name)
    # Whatever graph or distribution strategy the caller is in.
    with tf.init_scope(), tf.device("CPU:0"):
        if tf.executing_eagerly():
            return tf.nest.map_structure(lambda output: output.numpy(), op(**attributes))
    # TensorFlow 1 behaviour.
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        return session.run(op(**attributes))
