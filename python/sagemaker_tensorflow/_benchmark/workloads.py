# SPDX-License-Identifier: Apache-2.0
"""The bytes that are read: a block of whole records, which a stream repeats."""

from __future__ import annotations

import dataclasses
import random
import zlib
from pathlib import Path
from typing import Any, Literal

from sagemaker_tensorflow._formats.stream_encoder import StreamEncoder

# The feature of raw bytes.
RAW = "raw"

# Small, so that the slowest contender reads one within a second.
_BLOCK_BYTES = 1 << 20
# A gzip member that is too small shows its beginning more than its rate.
_COMPRESSED_BLOCK_BYTES = 4 << 20
# Larger than a processor's caches: what a job reads from files has never been there before.
_FILE_BYTES = 64 << 20
_SMALL_FILE_BYTES = 100_000


@dataclasses.dataclass(frozen=True)
class Features:
    """The features of a ``tf.train.Example``; numbers are scalars, but for lists.

    Attributes:
        floats: How many are random floats.
        ids: How many are integers of ``id_bits`` random bits.
        counts: How many are small integers.
        id_bits: Bits of an id.
        lists: How many are lists of up to ten small integers.
        raw_bytes: If positive, there is one more, a string of so many random bytes.
        parsed_as: What the lists become.
    """

    floats: int
    ids: int
    counts: int
    id_bits: int
    lists: int = 0
    raw_bytes: int = 0
    parsed_as: Literal["sparse", "ragged"] = "ragged"

    def names(self) -> list[str]:
        """Returns the names of all numbers, the floats first, the lists last."""
        count = self.floats + self.ids + self.counts + self.lists
        return [f"f{number:02}" for number in range(count)]


@dataclasses.dataclass(frozen=True)
class Workload:
    """One kind of stream.

    Attributes:
        name: Names its files.
        record_format: ``'TFRecord'``, ``'RecordIO'`` or ``'TextLine'``.
        content: What a record holds: random bytes, random letters, or an Example with these
            features.
        record_bytes: Length of a record without its frame; ``None`` for Examples.
        compression_type: ``'GZIP'``, each block a member of its own, or ``None``.
        small_files: If positive, a block has 100 KB, and there are so many files of one block each.
    """

    name: str
    record_format: str
    content: Literal["bytes", "letters"] | Features
    record_bytes: int | None = None
    compression_type: str | None = None
    small_files: int = 0


@dataclasses.dataclass(frozen=True)
class Stream:
    """A workload on disk.

    Attributes:
        block_path: The block.
        file_paths: Files that hold the block many times, or once.
        blocks_in_file: How many times.
        block_records: Number of records in a block.
        block_bytes: Bytes of a block, with frames, before compression.
        compression_ratio: So many times smaller is the block on disk.
    """

    block_path: str
    file_paths: list[str]
    blocks_in_file: int
    block_records: int
    block_bytes: int
    compression_ratio: float

    def paths(self, blocks: int) -> list[str]:
        """Returns files that hold so many blocks, one after the other."""
        files, rest = divmod(blocks, self.blocks_in_file)
        turns, more = divmod(files, len(self.file_paths))
        return self.file_paths * turns + self.file_paths[:more] + [self.block_path] * rest


def write(workload: Workload, folder: str) -> Stream:
    """Writes ``workload`` into ``folder``; equal workloads make equal bytes."""
    encoder = StreamEncoder(workload.record_format)
    limit = _COMPRESSED_BLOCK_BYTES if workload.compression_type else _BLOCK_BYTES
    if workload.small_files:
        limit = _SMALL_FILE_BYTES
    source = random.Random(0)
    block = bytearray()
    records = 0
    while True:
        frame = encoder.encode(_record(workload, source))
        if len(block) + len(frame) > limit:
            break
        block += frame
        records += 1
    stored = _compressed(bytes(block)) if workload.compression_type else bytes(block)
    copies = 1 if workload.small_files else _FILE_BYTES // len(block)
    block_path = Path(folder, f"{workload.name}.block")
    file_paths = [
        Path(folder, f"{workload.name}.{number:05}.data")
        for number in range(workload.small_files or 1)
    ]
    block_path.write_bytes(stored)
    for path in file_paths:
        with path.open("wb") as file:
            for _ in range(copies):
                file.write(stored)
    return Stream(
        str(block_path),
        [str(path) for path in file_paths],
        copies,
        records,
        len(block),
        len(block) / len(stored),
    )


def _compressed(block: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=zlib.MAX_WBITS + 16)  # gzip
    return compressor.compress(block) + compressor.flush()


def _record(workload: Workload, source: random.Random) -> bytes:
    if isinstance(workload.content, Features):
        return _example(workload.content, source)
    record = source.randbytes(workload.record_bytes or 0)
    if workload.content == "letters":
        return record.translate(bytes(ord("a") + value % 26 for value in range(256)))
    return record


def _example(features: Features, source: random.Random) -> bytes:
    import tensorflow as tf

    def integer(*values: int) -> Any:
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))

    values = [
        *(
            tf.train.Feature(float_list=tf.train.FloatList(value=[source.gauss(0, 1)]))
            for _ in range(features.floats)
        ),
        *(integer(source.getrandbits(features.id_bits)) for _ in range(features.ids)),
        *(integer(int(source.lognormvariate(3, 1.5))) for _ in range(features.counts)),
        *(
            integer(*(source.getrandbits(14) for _ in range(source.randint(0, 10))))
            for _ in range(features.lists)
        ),
    ]
    named = tf.train.Features(feature=dict(zip(features.names(), values, strict=True)))
    if features.raw_bytes:
        named.feature[RAW].bytes_list.value.append(source.randbytes(features.raw_bytes))
    return bytes(tf.train.Example(features=named).SerializeToString(deterministic=True))
