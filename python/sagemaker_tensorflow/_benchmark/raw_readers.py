# SPDX-License-Identifier: Apache-2.0
"""Ways to read FIFOs without this project and without TensorFlow."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

from sagemaker_tensorflow._benchmark.workloads import Workload

_PIPE_BYTES = 1 << 20
_READ_BYTES = 1 << 20


def records(fifo: Path, workload: Workload) -> Iterator[bytes]:
    """Yields records as a script without this project would: in Python, and checking nothing."""
    with fifo.open("rb", buffering=_READ_BYTES) as file:
        _enlarge(file)
        stream = gzip.GzipFile(fileobj=file) if workload.compression_type else file
        yield from _FORMATS[workload.record_format](stream)


def _tfrecords(stream: Any) -> Iterator[bytes]:
    while header := stream.read(12):
        (length,) = struct.unpack_from("<Q", header)
        record = stream.read(length)
        stream.read(4)
        yield record


def _recordio(stream: Any) -> Iterator[bytes]:
    while header := stream.read(8):
        (length,) = struct.unpack_from("<4xI", header)
        record = stream.read(length)
        stream.read(-length % 4)
        yield record


def _lines(stream: Any) -> Iterator[bytes]:
    for line in stream:
        yield line.rstrip(b"\n")


_FORMATS: dict[str, Callable[[Any], Iterator[bytes]]] = {
    "TFRecord": _tfrecords,
    "RecordIO": _recordio,
    "TextLine": _lines,
}


def _drain_pipes(fifos: list[Path]) -> None:
    """Reads FIFOs into one buffer each, and never looks at it."""
    others = [threading.Thread(target=_drain_fifo, args=(fifo,)) for fifo in fifos[1:]]
    for thread in others:
        thread.start()
    _drain_fifo(fifos[0])
    for thread in others:
        thread.join()


def _drain_through_igzip(fifos: list[Path]) -> None:
    with (
        fifos[0].open("rb", buffering=0) as compressed,
        subprocess.Popen(["igzip", "-dc"], stdin=compressed, stdout=subprocess.PIPE) as igzip,  # noqa: S607
    ):
        _enlarge(compressed)
        _drain(cast("IO[bytes]", igzip.stdout))
    if igzip.returncode != 0:
        raise RuntimeError(f"igzip failed: status {igzip.returncode}")


def _drain_fifo(path: Path) -> None:
    with path.open("rb", buffering=0) as fifo:
        _drain(fifo)


def _drain(file: Any) -> None:
    _enlarge(file)
    buffer = bytearray(_READ_BYTES)
    while file.readinto(buffer):
        pass


def _enlarge(pipe: Any) -> None:
    """Lets a pipe hold 1 MiB, as this project does, where the system allows it."""
    with contextlib.suppress(OSError):
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


SOURCES: dict[str, Callable[[list[Path]], None]] = {
    "pipe": _drain_pipes,
    "igzip": _drain_through_igzip,
}
