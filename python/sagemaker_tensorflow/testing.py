# SPDX-License-Identifier: Apache-2.0
"""Pipe mode on one machine, for tests of scripts that read channels.

``serve`` plays the service: it lays out the folders of a training job and feeds its channels
through real FIFOs, one for each epoch::

    from sagemaker_tensorflow import PipeModeDataset, testing

    def test_reads_everything():
        records = [b"one", b"two"]
        with testing.serve({"training": [records, records]}, "TFRecord") as host:
            ds = PipeModeDataset("training", "TFRecord", pipe_dir=host.pipe_dir,
                                 state_dir=host.state_dir, config_dir=host.config_dir)
            assert list(ds.as_numpy_iterator()) == records

A script in a process of its own finds everything by ``env={**os.environ, **host.environment}``.
TensorFlow is not imported.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from sagemaker_tensorflow._base import arguments
from sagemaker_tensorflow._feed.fifos import remove_fifos
from sagemaker_tensorflow._feed.record_feeder import Channel, Epoch, EpochReport, RecordFeeder
from sagemaker_tensorflow._feed.writer_process import WriterProcess
from sagemaker_tensorflow._formats.stream_encoder import DEFAULT_MAX_PART_BYTES, StreamEncoder
from sagemaker_tensorflow._native import ChannelWriter, InvalidArgumentError

__all__ = ["Channel", "Epoch", "EpochReport", "PipeModeHost", "serve"]

Fault = Literal["stop", "stall", "die"]

_JOIN_SECONDS = 10.0


class PipeModeHost:
    """The job that ``serve`` plays.

    Attributes:
        base_dir: In place of ``/opt/ml``.
        pipe_dir: Folder of the FIFOs.
        state_dir: Folder for the readers' epoch numbers.
        config_dir: Folder of ``inputdataconfig.json``.
        environment: The variables that a training job has, for a child process.
        reports: For each channel its finished epochs in order. An epoch is finished a moment after
            its reader saw the end; those that a reader has finished are all there after ``serve``.
    """

    def __init__(self, base_dir: Path, channels: Iterable[str]) -> None:
        input_dir = base_dir / "input"
        self.base_dir = str(base_dir)
        self.pipe_dir = str(input_dir / "data")
        self.state_dir = str(base_dir / "pipe_state")
        self.config_dir = str(input_dir / "config")
        self.reports: dict[str, list[EpochReport]] = {channel: [] for channel in channels}
        self.environment: dict[str, str] = {
            "SAGEMAKER_BASE_DIR": self.base_dir,
            "SM_INPUT_DIR": str(input_dir),
            "SM_INPUT_CONFIG_DIR": self.config_dir,
            "SM_CHANNELS": json.dumps(sorted(self.reports)),
            **{f"SM_CHANNEL_{name.upper()}": f"{self.pipe_dir}/{name}" for name in self.reports},
        }


@contextlib.contextmanager
def serve(
    channels: Mapping[str, Channel],
    record_format: str = "RecordIO",
    *,
    compression_type: str | None = None,
    recordio_parts: str = "joined",
    recordio_max_part_bytes: int = DEFAULT_MAX_PART_BYTES,
    base_dir: str | os.PathLike[str] | None = None,
    chunk_bytes: int = 1 << 20,
    bytes_per_second: float | None = None,
    fault: Fault | None = None,
    fault_at_byte: int = 0,
    fault_epoch: int | None = None,
    process: bool = False,
) -> Iterator[PipeModeHost]:
    """Serves ``channels`` in Pipe mode while the ``with`` block runs.

    Each channel is fed by a thread. The FIFO of an epoch appears when the reader has closed the one
    before it. At the end of the block writing stops, wherever it is, and what was made is removed.

    Args:
        channels: The epochs of each channel by its name. An epoch is an iterable of records, or
            ``bytes``: a stream that is sent as it is.
        record_format: ``'RecordIO'``, ``'TFRecord'`` or ``'TextLine'``, in any case.
        compression_type: ``'GZIP'`` or ``'ZLIB'`` to send each epoch compressed.
        recordio_parts: See ``RecordWriter``.
        recordio_max_part_bytes: See ``RecordWriter``.
        base_dir: Folder to use in place of ``/opt/ml``, made if missing. Default: a temporary one.
        chunk_bytes: How many bytes are given to one ``write``.
        bytes_per_second: Limit for each channel; ``None`` is none.
        fault: What goes wrong, on purpose, in an epoch at ``fault_at_byte``: ``'stop'`` ends the
            stream; ``'stall'`` sends nothing more, but keeps the FIFO open until the reader closes
            it; ``'die'`` kills the writing process, which needs ``process=True``.
        fault_at_byte: Bytes of an epoch that are sent before ``fault``.
        fault_epoch: The epoch that has the fault; ``None`` is every one.
        process: Whether each epoch is written by a process of its own instead of a thread.

    Yields:
        The host, with the folders to read from.

    Raises:
        InvalidArgumentError: If the value of an argument is not valid.
        TypeError: If the type of an argument is not valid.
        Exception: At the end of the block, whatever a writer failed with: a record that the format
            cannot hold, an error of the given iterable or function.
    """
    arguments.check(
        InvalidArgumentError,
        base_dir=base_dir,
        chunk_bytes=chunk_bytes,
        bytes_per_second=bytes_per_second,
        fault=fault,
        fault_at_byte=fault_at_byte,
        fault_epoch=fault_epoch,
        process=process,
    )
    if not isinstance(channels, Mapping):
        raise TypeError(f"channels must be a dict of epochs, not {type(channels).__name__}")
    for channel in channels:
        arguments.check(channel=channel)
    if fault_epoch is not None and fault_epoch < 0:
        raise InvalidArgumentError(f"fault_epoch must be at least 0, not {fault_epoch}")
    if fault == "die" and not process:
        raise ValueError("fault='die' kills the process that writes: pass process=True")

    def make_encoder() -> StreamEncoder:
        return StreamEncoder(
            record_format,
            compression_type=compression_type,
            recordio_parts=recordio_parts,
            recordio_max_part_bytes=recordio_max_part_bytes,
        )

    make_encoder()  # wrong arguments are errors here, and not in a thread
    # Python's own types, for JSON.
    options: dict[str, Any] = {
        "chunk_bytes": int(chunk_bytes),
        "bytes_per_second": None if bytes_per_second is None else float(bytes_per_second),
    }
    fault_options: dict[str, Any] = {"fault": fault, "fault_at_byte": int(fault_at_byte)}

    with _make_host(channels, record_format, base_dir) as host:

        def make_writer(channel: str, epoch: int) -> ChannelWriter | WriterProcess:
            faulty = fault is not None and fault_epoch in (None, epoch)
            return (WriterProcess if process else ChannelWriter)(
                host.pipe_dir,
                channel,
                first_epoch=epoch,
                **(options | fault_options if faulty else options),
            )

        for channel in channels:
            ChannelWriter(host.pipe_dir, channel, **options, **fault_options)
        servers = [
            RecordFeeder(channel, epochs, make_encoder, make_writer, host.reports[channel])
            for channel, epochs in channels.items()
        ]
        with _running(servers):
            yield host


@contextlib.contextmanager
def _running(servers: list[RecordFeeder]) -> Iterator[None]:
    """Runs ``servers`` and raises the first error of one of them at the end."""
    for server in servers:
        server.start()
    may_raise = True
    try:
        yield
    except BaseException as error:
        # An ordinary one most likely follows from the error of a writer, and stays visible as its
        # context. KeyboardInterrupt and the like go first.
        may_raise = isinstance(error, Exception)
        raise
    finally:
        for server in servers:
            server.stop()
        for server in servers:
            server.join(_JOIN_SECONDS)
        for server in servers if may_raise else ():
            if server.error is not None:
                raise server.error
            if server.is_alive():
                raise RuntimeError(f"{server.name}: the iterable of its epochs does not return")


@contextlib.contextmanager
def _make_host(
    channels: Mapping[str, Channel],
    record_format: str,
    base_dir: str | os.PathLike[str] | None,
) -> Iterator[PipeModeHost]:
    """Makes the folders and the configuration of a job; removes what it made."""
    with contextlib.ExitStack() as stack:
        if base_dir is None:
            base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pipe-mode-")))
        else:
            base = Path(os.fsdecode(base_dir)).absolute()
        host = PipeModeHost(base, channels)
        for folder in (host.pipe_dir, host.state_dir, host.config_dir):
            _make_folder(Path(folder), stack)
        config = {
            channel: {
                "TrainingInputMode": "Pipe",
                "S3DistributionType": "FullyReplicated",
                "RecordWrapperType": "RecordIO" if record_format.lower() == "recordio" else "None",
            }
            for channel in channels
        }
        config_path = Path(host.config_dir) / "inputdataconfig.json"
        with config_path.open("x", encoding="utf-8") as file:  # never over a user's own
            json.dump(config, file, indent=2)
        stack.callback(config_path.unlink, missing_ok=True)
        stack.callback(_remove_fifos, host.pipe_dir, list(channels))
        yield host


def _make_folder(path: Path, stack: contextlib.ExitStack) -> None:
    if path.is_dir():
        return
    _make_folder(path.parent, stack)
    path.mkdir()
    stack.callback(shutil.rmtree, path, ignore_errors=True)


def _remove_fifos(pipe_dir: str, channels: list[str]) -> None:
    with contextlib.suppress(FileExistsError):  # what else is there is the user's business
        remove_fifos(pipe_dir, channels)
