# SPDX-License-Identifier: Apache-2.0
"""Writes records into files that are there wholly or not at all."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np

from sagemaker_tensorflow._datatools.batch import Batch
from sagemaker_tensorflow._formats.gzip_stream import GzipStream
from sagemaker_tensorflow._native import encode_batch

SUFFIXES = {"TFRecord": ".tfrecord", "RecordIO": ".recordio", "TextLine": ".txt"}
_SHARD_NAME = re.compile(r"part-\d{5,}(-of-\d{5,})?\.(tfrecord|recordio|txt)(\.gz)?")
_MAX_THREADS = 8


class OutputError(Exception):
    """It cannot be written there or like that; the message says what to do."""


@dataclasses.dataclass(frozen=True)
class OutputOptions:
    """What is written.

    Attributes:
        record_format: ``'TFRecord'``, ``'RecordIO'`` or ``'TextLine'``.
        gzip: Whether each file is compressed.
        shards: Deal records out to so many files; ``None`` does not.
        records_per_shard: Begin a new file after so many; ``None`` does not.
        force: Whether what is there may be replaced.
    """

    record_format: str
    gzip: bool = False
    shards: int | None = None
    records_per_shard: int | None = None
    force: bool = False

    @property
    def is_folder(self) -> bool:
        """Whether there may be several files."""
        return self.shards is not None or self.records_per_shard is not None


@dataclasses.dataclass
class Written:
    """What was written.

    Attributes:
        records: How many.
        bytes: Of all files.
        files: How many records each of them holds.
    """

    records: int = 0
    bytes: int = 0
    files: list[int] = dataclasses.field(default_factory=list)


def check(path: Path, options: OutputOptions) -> None:
    """Raises ``OutputError`` if ``path`` cannot become what is to be written."""
    for parent in path.absolute().parents:
        if os.path.lexists(parent) and not parent.is_dir():
            raise OutputError(f"'{parent}' is no folder, so nothing can be put below it")
    if path.is_dir() and not options.is_folder:
        raise OutputError(
            f"'{path}' is a folder: name a file in it, or say --shards or --records-per-shard"
        )
    if path.is_file() and options.is_folder:
        raise OutputError(f"'{path}' is a file, and shards go into a folder: name another one")
    if not os.path.lexists(path):
        return
    if not path.is_dir() and not path.is_file():
        raise OutputError(f"'{path}' is neither a file nor a folder")
    if not options.force:
        raise OutputError(f"'{path}' is there already: add --force to replace it")
    if path.is_dir():
        others = [one.name for one in path.iterdir() if not _SHARD_NAME.fullmatch(one.name)]
        if others:
            raise OutputError(
                f"'{path}' also holds '{min(others)}', which is no shard, and would be lost: "
                "move it, or name another folder"
            )


@contextlib.contextmanager
def make(path: Path, options: OutputOptions) -> Iterator[Writer]:
    """Yields what records are to be given to. At the end they are in ``path``.

    After an exception ``path`` is as it was before, and nothing is left beside it.

    Raises:
        OutputError: As ``check``.
        OSError: If it cannot be written.
    """
    check(path, options)
    target = path.absolute()
    with _parents_of(target), _temporary_folder_beside(target) as folder:
        shards = folder / "shards"  # with the modes that the user's umask asks for
        shards.mkdir()
        with Writer(shards, folder, options) as writer:
            yield writer
            writer.finish()
        check(path, options)  # somebody may have made it meanwhile
        if not options.is_folder:
            (shard,) = shards.iterdir()
            shard.replace(target)
        else:
            _replace_folder(target, shards, folder / "replaced")
        _sync(target.parent)


def _replace_folder(target: Path, new: Path, old: Path) -> None:
    """Renames ``new`` to ``target``, and what is there to ``old``: both or none."""
    try:
        if target.exists():
            target.rename(old)
        new.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise


@contextlib.contextmanager
def _parents_of(path: Path) -> Iterator[None]:
    """Makes the folders that ``path`` lies in; after an exception those that it made are gone."""
    made: list[Path] = []
    try:
        for parent in reversed(path.parents):
            if not parent.is_dir():
                parent.mkdir()
                made.append(parent)
        yield
    except BaseException:
        for parent in reversed(made):
            with contextlib.suppress(OSError):  # somebody else has put something there
                parent.rmdir()
        raise


@contextlib.contextmanager
def _temporary_folder_beside(path: Path) -> Iterator[Path]:
    folder = tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder)


class Writer:
    """Deals records out to files. Not safe for use by two threads at once.

    Attributes:
        scratch: A folder for temporary files; it is removed at the end.
        written: What was written so far.
    """

    def __init__(self, folder: Path, scratch: Path, options: OutputOptions) -> None:
        self.scratch = scratch
        self.written = Written()
        self._folder = folder
        self._options = options
        threads = min(os.cpu_count() or 1, _MAX_THREADS)
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="gzip")
        # What is being compressed, in the order in which it was asked for.
        self._pending: collections.deque[tuple[_Shard, Future[bytes]]] = collections.deque()
        self._max_pending = 2 * threads
        self._shards: list[_Shard] = []
        if not options.records_per_shard:
            for number in range(options.shards or 1):
                self._open(number)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *_: object) -> None:
        self._executor.shutdown(cancel_futures=True)
        for shard in self._shards:
            shard.file.close()

    def write(self, batch: Batch) -> None:
        """Appends records."""
        if self._options.record_format == "TextLine":
            self._check_lines(batch)
        if self._options.records_per_shard:
            self._fill(batch, self._options.records_per_shard)
        else:
            # In turn, so that all shards are of one length, give or take a record.
            count = len(self._shards)
            for number, shard in enumerate(self._shards):
                self._append(
                    shard, batch.take(slice((number - self.written.records) % count, None, count))
                )
                self._drain()
        self.written.records += len(batch)

    def finish(self) -> None:
        """Writes what is still to be written, to disk."""
        if not self._shards:
            self._open(0)
        for shard in self._shards:
            self._end(shard)
        self._drain(0)
        for shard in self._shards:
            self._close(shard)

    def _fill(self, batch: Batch, records_per_shard: int) -> None:
        begin = 0
        while begin < len(batch):
            if not self._shards or self._shards[-1].records == records_per_shard:
                if self._shards:
                    self._end(self._shards[-1])
                    self._drain(0)
                    self._close(self._shards[-1])
                self._open(len(self._shards))
            shard = self._shards[-1]
            end = begin + records_per_shard - shard.records
            self._append(shard, batch.take(slice(begin, end)))
            self._drain()
            begin = end

    def _open(self, number: int) -> None:
        of = f"-of-{self._options.shards:05d}" if self._options.shards else ""
        suffix = SUFFIXES[self._options.record_format] + (".gz" if self._options.gzip else "")
        path = self._folder / f"part-{number:05d}{of}{suffix}"
        stream = GzipStream(self._executor) if self._options.gzip else None
        self._shards.append(_Shard(path.open("xb"), stream))

    def _append(self, shard: _Shard, batch: Batch) -> None:
        if not len(batch):
            return
        shard.records += len(batch)
        encoded = encode_batch(batch.data, batch.begins, batch.ends, self._options.record_format)
        if shard.stream is None:
            shard.file.write(encoded.data)
        else:
            self._pending += [(shard, future) for future in shard.stream.add(encoded.data)]

    def _end(self, shard: _Shard) -> None:
        if shard.stream is not None and not shard.ended:
            self._pending += [(shard, future) for future in shard.stream.finish()]
        shard.ended = True

    def _close(self, shard: _Shard) -> None:
        if shard.file.closed:
            return
        shard.file.flush()
        os.fsync(shard.file.fileno())
        self.written.bytes += shard.file.tell()
        self.written.files.append(shard.records)
        shard.file.close()

    def _drain(self, most: int | None = None) -> None:
        """Writes what is compressed by now, until no more than so many pieces are left."""
        most = self._max_pending if most is None else most
        while len(self._pending) > most:
            shard, future = self._pending.popleft()
            shard.file.write(future.result())

    def _check_lines(self, batch: Batch) -> None:
        newlines = np.flatnonzero(batch.data == ord("\n"))
        if not len(newlines):
            return
        # The first newline from where a record begins on is behind its end, or there is none.
        at = np.searchsorted(newlines, batch.begins)
        following = np.append(newlines, len(batch.data))[at]
        bad = np.flatnonzero(following < batch.ends)
        if len(bad):
            raise OutputError(
                f"record {self.written.records + int(bad[0]):,} holds a newline, so it cannot be a "
                "line of text: write TFRecord or RecordIO"
            )


@dataclasses.dataclass
class _Shard:
    file: BinaryIO
    stream: GzipStream | None
    records: int = 0
    ended: bool = False


def _sync(folder: Path) -> None:
    """Makes sure that a new name survives a loss of power."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
