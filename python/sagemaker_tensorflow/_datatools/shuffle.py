# SPDX-License-Identifier: Apache-2.0
"""Records in random order, more of them than fit into memory.

Each record goes to a bucket chosen at random; then the buckets follow each other, each in random
order. That makes every order equally likely, and holds one bucket in memory at a time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from sagemaker_tensorflow._datatools.batch import Batch
from sagemaker_tensorflow._native import RecordReader, encode_batch

MEMORY_BYTES = 256 << 20
"""What is shuffled in memory."""

_BUCKETS = 64
_PIECE_BYTES = 4 << 20
_BATCH_RECORDS = 1 << 16


def shuffled(
    batches: Iterable[Batch], seed: int, folder: Path, memory_bytes: int = MEMORY_BYTES
) -> Iterator[Batch]:
    """Yields the records of ``batches`` in an order that depends on ``seed`` and their number.

    Args:
        batches: All records.
        seed: Equal seeds make equal orders of equal records.
        folder: Where buckets may be put, as large as all records; they are removed.
        memory_bytes: If there are more bytes than these, buckets are used.
    """
    yield from _shuffled(iter(batches), np.random.default_rng(seed), folder, memory_bytes)


def _shuffled(
    batches: Iterator[Batch], random: np.random.Generator, folder: Path, memory_bytes: int
) -> Iterator[Batch]:
    held: list[Batch] = []
    size = 0
    for batch in batches:
        held.append(batch)
        size += batch.payload_bytes
        if size > memory_bytes:
            break
    else:
        yield from _permuted(held, random)
        return
    with tempfile.TemporaryDirectory(prefix="shuffle-", dir=folder) as temporary:
        paths = [Path(temporary, str(bucket)) for bucket in range(_BUCKETS)]
        files = [path.open("wb") for path in paths]
        counts = np.zeros(_BUCKETS, dtype=np.int64)
        try:
            for batch in _drained(held, batches):
                chosen = random.integers(0, _BUCKETS, size=len(batch))
                counts += np.bincount(chosen, minlength=_BUCKETS)
                for bucket in np.unique(chosen):
                    part = batch.take(np.flatnonzero(chosen == bucket))
                    files[bucket].write(encode_batch(part.data, part.begins, part.ends, "TFRecord"))
        finally:
            for file in files:
                file.close()
        for path, count in zip(paths, counts, strict=True):
            # One record may be larger than the memory to be used; no bucket is ever smaller.
            limit = memory_bytes if count > 1 else path.stat().st_size
            yield from _shuffled(_read(path), random, Path(temporary), limit)
            path.unlink()


def _drained(held: list[Batch], rest: Iterator[Batch]) -> Iterator[Batch]:
    """Yields all batches, and lets go of each."""
    held.reverse()
    while held:
        yield held.pop()
    yield from rest


def _read(path: Path) -> Iterator[Batch]:
    with RecordReader(path, "TFRecord", max_record_bytes=1 << 62) as reader:
        while len(batch := Batch.of_offsets(*reader.read_batch(_BATCH_RECORDS, _PIECE_BYTES))):
            yield batch


def _permuted(batches: list[Batch], random: np.random.Generator) -> Iterator[Batch]:
    if not batches:
        return
    starts = np.cumsum([0, *(len(batch.data) for batch in batches)])
    begins = np.concatenate(
        [batch.begins + start for batch, start in zip(batches, starts, strict=False)]
    )
    ends = np.concatenate(
        [batch.ends + start for batch, start in zip(batches, starts, strict=False)]
    )
    everything = np.concatenate([batch.data for batch in batches])
    batches.clear()
    order = random.permutation(len(begins))
    yield from Batch(everything, begins[order], ends[order]).pieces(_PIECE_BYTES)
