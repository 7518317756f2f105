# SPDX-License-Identifier: Apache-2.0
"""What is measured. The goals for it are in ``goals.py``."""

from __future__ import annotations

import dataclasses
from typing import Literal

from sagemaker_tensorflow._benchmark.workloads import Features, Workload


@dataclasses.dataclass(frozen=True)
class Settings:
    """How long to measure.

    Attributes:
        rounds: Turns that each contender has.
        seconds: How long a turn takes, about.
        rollovers: How many times a reader waits for the next epoch.
        stops: How many times it is stopped while it waits.
        imports: How many interpreters import.
        gigabytes: How much is streamed while memory is watched.
    """

    rounds: int = 5
    seconds: float = 1.0
    rollovers: int = 100
    stops: int = 20
    imports: int = 10
    gigabytes: float = 20.0


QUICK = Settings(rounds=2, seconds=0.1, rollovers=20, stops=4, imports=2, gigabytes=1.0)


@dataclasses.dataclass(frozen=True)
class Contender:
    """One way to read; ``contenders.py`` does it.

    Attributes:
        name: Names it in the results.
        label: For people.
        source: What reads the bytes: a key of its ``SOURCES`` or ``RAW_SOURCES``.
        pipeline: What is put on top, if that is a dataset: a key of its ``PIPELINES``.
        consumer: Whether elements are dropped in C++, as the dataset is written or as TensorFlow
            rewrites it, or train a model in a Python loop.
        reference: The contender that is compared with, as what one would use without this project.
        batch_size: Records in a batch, if not as in the case.
        channels: How many channels are read at once.
        read_ahead_bytes: If not the default.
        program: What must be installed for it.
    """

    name: str
    label: str
    source: str
    pipeline: str = "record"
    consumer: Literal["drop", "drop-rewritten", "train"] = "drop"
    reference: str | None = None
    batch_size: int | None = None
    channels: int = 1
    read_ahead_bytes: int | None = None
    program: str | None = None

    @property
    def reads_fifo(self) -> bool:
        """Whether it needs a writer."""
        return self.source not in ("file", "channel", "memory")

    @property
    def input_mode(self) -> str:
        """The input mode of its channels."""
        return "File" if self.source == "channel" else "Pipe"

    def channel_names(self) -> list[str]:
        """Returns the names of the channels that it reads."""
        return [f"{self.name}-{number}" for number in range(self.channels)]


@dataclasses.dataclass(frozen=True)
class ThroughputCase:
    """How fast one kind of stream is read.

    Attributes:
        name: For ``--case``.
        title: For people.
        workload: The stream.
        batch_size: Records in a batch, where there are batches.
        contenders: In the order in which they take turns.
    """

    name: str
    title: str
    workload: Workload
    batch_size: int
    contenders: tuple[Contender, ...]


@dataclasses.dataclass(frozen=True)
class LatencyCase:
    """How long something takes that happens once in a while; ``name`` says what."""

    name: Literal["rollover", "stop", "import"]
    title: str


@dataclasses.dataclass(frozen=True)
class MemoryCase:
    """How much memory the reading process has while it reads a long stream.

    Attributes:
        name: For ``--case``.
        title: For people.
        streams: What is read, by the first contender of each.
    """

    name: str
    title: str
    streams: tuple[ThroughputCase, ...]


Case = ThroughputCase | LatencyCase | MemoryCase

_OURS = (
    Contender("batch", "PipeModeDataset.batch", "pipemode", "batch", reference="file-batch"),
    Contender("record", "PipeModeDataset", "pipemode", reference="file-record"),
)
_GENERATOR = Contender("generator", "Python generator", "generator")
_PIPE = Contender("pipe", "bare pipe", "pipe")


def _with_file(dataset: str) -> tuple[Contender, ...]:
    """Returns all contenders, with ``dataset`` of ``tf.data`` as the one that reads a file."""
    return (
        *_OURS,
        Contender("file-batch", f"{dataset}(file).batch", "file", "batch"),
        Contender("file-record", f"{dataset}(file)", "file"),
        _GENERATOR,
        _PIPE,
    )


def _tfrecord(name: str, title: str, record_bytes: int, batch_size: int) -> ThroughputCase:
    return ThroughputCase(
        f"tfrecord-{name}",
        f"TFRecord of {title}",
        Workload(f"tfrecord-{name}", "TFRecord", "bytes", record_bytes),
        batch_size,
        _with_file("TFRecordDataset"),
    )


_TFRECORD_100B = _tfrecord("100b", "100 B", 100, 1024)
_TFRECORD_1KB = _tfrecord("1kb", "1 KB", 1_000, 1024)
_TFRECORD_10KB = _tfrecord("10kb", "10 KB", 10_000, 256)
_TFRECORD_100KB = _tfrecord("100kb", "100 KB", 100_000, 64)
_TFRECORD_1MB = _tfrecord("1mb", "1 MB", 1_000_000, 16)

_RECORDIO = ThroughputCase(
    "recordio-1kb",
    "RecordIO of 1 KB",
    Workload("recordio-1kb", "RecordIO", "bytes", 1_000),
    1024,
    (*(dataclasses.replace(one, reference=None) for one in _OURS), _GENERATOR, _PIPE),
)

_TEXTLINE = ThroughputCase(
    "textline-100b",
    "Text lines of 100 B",
    Workload("textline-100b", "TextLine", "letters", 100),
    1024,
    _with_file("TextLineDataset"),
)


def _files(
    name: str, title: str, record_bytes: int, batch_size: int, small_files: int = 0
) -> ThroughputCase:
    return ThroughputCase(
        f"files-{name}",
        f"A channel in File mode: TFRecord of {title}",
        Workload(f"files-{name}", "TFRecord", "bytes", record_bytes, small_files=small_files),
        batch_size,
        (
            Contender("batch", "channel_dataset.batch", "channel", "batch", reference="file-batch"),
            Contender("record", "channel_dataset", "channel", reference="file-record"),
            Contender("file-batch", "TFRecordDataset(files).batch", "file", "batch"),
            Contender("file-record", "TFRecordDataset(files)", "file"),
        ),
    )


_FILES = (
    _files("100b", "100 B", 100, 1024),
    _files("1kb", "1 KB", 1_000, 1024),
    _files("100kb", "100 KB", 100_000, 64),
    _files("small", "1 KB in 2,000 files of 100 KB", 1_000, 1024, small_files=2_000),
)

_GZIP = ThroughputCase(
    "gzip",
    "TFRecord with gzip: Examples",
    # Many random bits: with gzip's default level these become 2.5 times smaller.
    Workload("gzip", "TFRecord", Features(20, 19, 1, id_bits=60), compression_type="GZIP"),
    1024,
    (
        *_with_file("TFRecordDataset")[:-1],
        Contender("igzip", "igzip -dc", "igzip", program="igzip"),
        Contender("pipe", "bare pipe, not inflated", "pipe"),
    ),
)

_FORTY = Features(13, 13, 14, id_bits=32)
_EXAMPLES = Workload("examples", "TFRecord", _FORTY)

_PARSED_BY = (
    Contender(
        "batch",
        "PipeModeDataset.batch, our parse_example",
        "pipemode",
        "parse-ours",
        reference="file-batch",
    ),
    Contender("batch-tf", "PipeModeDataset.batch.map", "pipemode", "parse", reference="file-batch"),
)
_PARSED_FILE = Contender("file-batch", "TFRecordDataset(file).batch.map", "file", "parse")

_PARSE = ThroughputCase(
    "parse",
    "Parsed Examples of 40 scalar features",
    _EXAMPLES,
    1024,
    (
        *_PARSED_BY,
        Contender("record", "PipeModeDataset.map.batch", "pipemode", "parse-single"),
        _PARSED_FILE,
        Contender("file-record", "TFRecordDataset(file).map.batch", "file", "parse-single"),
        Contender("generator", "Python generator.batch.map", "generator", "parse"),
        Contender("memory-batch", "batches in memory.map, nothing read", "memory", "parse-batches"),
        _PIPE,
    ),
)


def _lists(name: str, title: str, features: Features) -> ThroughputCase:
    return ThroughputCase(
        f"parse-{name}",
        title,
        Workload(f"examples-{name}", "TFRecord", features),
        1024,
        (
            *_PARSED_BY,
            _PARSED_FILE,
            Contender(
                "memory-ours",
                "batches in memory, our parse_example",
                "memory",
                "parse-batches-ours",
                reference="memory-tf",
            ),
            Contender("memory-tf", "batches in memory.map", "memory", "parse-batches"),
        ),
    )


_PARSE_LISTS = (
    _lists(
        "sparse",
        "Parsed Examples of 4 scalars and 6 VarLenFeatures",
        Features(4, 0, 0, id_bits=0, lists=6, parsed_as="sparse"),
    ),
    _lists(
        "ragged",
        "Parsed Examples of 3 scalars and 40 RaggedFeatures",
        Features(3, 0, 0, id_bits=0, lists=40, parsed_as="ragged"),
    ),
)


def _seed_script(name: str, title: str, features: Features, batch_size: int) -> ThroughputCase:
    def script(name: str, label: str, source: str, pipeline: str, reference: str) -> Contender:
        return Contender(
            name,
            label,
            source,
            pipeline,
            "drop-rewritten",
            None if name == reference else reference,
        )

    return ThroughputCase(
        name,
        f"prefetch(10).map(parse, 10).batch({batch_size}): {title}",
        Workload(name, "TFRecord", features),
        batch_size,
        (
            script("pipe", "PipeModeDataset", "pipemode", "script", "file"),
            script("channel", "channel_dataset, File mode", "channel", "script", "file"),
            script("file", "TFRecordDataset(file)", "file", "script", "file"),
            script("pipe-exp", "PipeModeDataset, exp", "pipemode", "script-exp", "file-exp"),
            script("file-exp", "TFRecordDataset(file), exp", "file", "script-exp", "file-exp"),
        ),
    )


_SEED_SCRIPTS = (
    _seed_script(
        "seed-script", "a label and 64 raw float64", Features(0, 0, 1, id_bits=0, raw_bytes=512), 64
    ),
    _seed_script("seed-script-40", "40 scalar features", _FORTY, 256),
)

_CHANNELS = ThroughputCase(
    "channels",
    "1, 4 and 20 channels at once: TFRecord of 1 KB",
    _TFRECORD_1KB.workload,
    1024,
    (
        *(
            Contender(
                f"interleave-{count}",
                f"{count}, interleave",
                "interleave",
                "batch",
                reference=None if count == 1 else "interleave-1",
                channels=count,
            )
            for count in (1, 4, 20)
        ),
        *(
            Contender(
                f"iterators-{count}",
                f"{count}, an iterator each",
                "iterators",
                "batch",
                reference="interleave-1",
                channels=count,
            )
            for count in (4, 20)
        ),
        *(
            Contender(f"pipe-{count}", f"{count}, bare pipe", "pipe", channels=count)
            for count in (1, 4, 20)
        ),
    ),
)

_BATCH_SIZE = ThroughputCase(
    "advice-batch-size",
    "Size of a batch: TFRecord of 100 B",
    _TFRECORD_100B.workload,
    1024,
    (
        Contender("record", "no batch", "pipemode"),
        *(
            Contender(f"batch-{size}", f"batch({size})", "pipemode", "batch", batch_size=size)
            for size in (16, 64, 256, 1024, 4096)
        ),
        Contender("shuffle", "shuffle(10_000).batch(1024)", "pipemode", "shuffle-batch"),
    ),
)

_READ_AHEAD = ThroughputCase(
    "advice-read-ahead",
    "read_ahead_bytes: TFRecord of 10 KB in batches",
    _TFRECORD_10KB.workload,
    256,
    tuple(
        Contender(
            f"read-ahead-{size}",
            "0" if size == 0 else f"{size} MiB",
            "pipemode",
            "batch",
            read_ahead_bytes=size << 20,
        )
        for size in (0, 1, 4, 32, 128)
    ),
)

_PREFETCH = ThroughputCase(
    "advice-prefetch",
    "Where to prefetch: Examples that train a model",
    _EXAMPLES,
    1024,
    tuple(
        Contender(pipeline, label, "pipemode", pipeline, consumer="train")
        for pipeline, label in (
            ("parse-ours", "map(our parse_example, AUTOTUNE).prefetch"),
            ("parse-serial", "map(parse)"),
            ("parse-parallel", "map(parse, AUTOTUNE)"),
            ("parse-serial-prefetch", "map(parse).prefetch"),
            ("parse", "map(parse, AUTOTUNE).prefetch"),
            ("parse-prefetch-twice", "prefetch.map(parse, AUTOTUNE).prefetch"),
        )
    ),
)

CASES: tuple[Case, ...] = (
    *_SEED_SCRIPTS,
    _TFRECORD_100B,
    _TFRECORD_1KB,
    _TFRECORD_10KB,
    _TFRECORD_100KB,
    _TFRECORD_1MB,
    _RECORDIO,
    _TEXTLINE,
    _GZIP,
    *_FILES,
    _PARSE,
    *_PARSE_LISTS,
    _CHANNELS,
    LatencyCase("rollover", "From the FIFO's creation to its first record"),
    LatencyCase("stop", "From Ctrl-C or del to stopped"),
    LatencyCase("import", "Import in a fresh interpreter"),
    MemoryCase(
        "memory", "Resident memory over a long stream", (_TFRECORD_1KB, _TFRECORD_1MB, _GZIP)
    ),
    _BATCH_SIZE,
    _READ_AHEAD,
    _PREFETCH,
)

# One of each kind, to be over within a minute.
QUICK_CASES = ("seed-script", "tfrecord-1kb", "gzip", "rollover", "stop")
