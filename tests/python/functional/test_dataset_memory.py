# SPDX-License-Identifier: Apache-2.0
"""Memory grows with what really arrives, never with what a stream says of itself; nothing leaks."""

import gzip
import json
import struct
import zlib

import pytest
from pipe_helpers import feed, stream, tfrecord_header

pytestmark = pytest.mark.long

MIB = 1 << 20

# Reads epoch 0, a small one, for whatever TensorFlow allocates once. Then reads epoch 1 and prints:
# bytes by which the peak of resident memory has grown, records, their bytes, and the error.
PROGRAM = """
    import json, sys
    import tensorflow as tf
    from sagemaker_tensorflow import PipeModeDataset

    def peak():
        with open("/proc/self/status") as status:
            (line,) = [line for line in status if line.startswith("VmHWM")]
        return int(line.split()[1]) << 10

    def read():
        add = lambda total, record: (total[0] + 1, total[1] + tf.strings.length(record))
        return [int(part) for part in ds.reduce((0, 0), add)]

    options = json.loads(sys.argv[1])
    ds = PipeModeDataset("training", **options, open_timeout=30, read_timeout=30)
    read()
    before = peak()
    result, error = [None, None], None
    try:
        result = read()
    except tf.errors.OpError as op_error:
        error = [type(op_error).__name__, op_error.message]
    print(json.dumps([peak() - before, *result, error]))
"""


def read_epoch(job, fork_server, data, **options):
    """Returns growth, records, bytes and error."""
    small = stream([b"a"], options["record_format"])
    if "compression_type" in options:
        small = gzip.compress(small)
    feed(job.make_fifo(0), small)
    feed(job.make_fifo(1), data)
    with fork_server.run(PROGRAM, json.dumps(options)) as program:
        return program.result(timeout=100)


@pytest.mark.parametrize(
    ("record_format", "data", "message"),
    [
        (
            "TFRecord",
            tfrecord_header(1 << 60) + b"x" * 100,
            "of 1152921504606846976 bytes is longer",
        ),
        (
            "TFRecord",
            tfrecord_header((1 << 64) - 1),
            "of 18446744073709551615 bytes is longer than",
        ),
        (
            "TFRecord",
            tfrecord_header(1 << 30) + b"x" * 1000,
            "a payload of 1073741824 bytes, after",
        ),
        (
            "RecordIO",
            struct.pack("<II", 0xCED7230A, (1 << 29) - 1) + b"x" * 1000,
            "a payload of 536870911 bytes, after",
        ),
        (
            "RecordIO",
            struct.pack("<II", 0xCED7230A, 1 << 29 | 4)
            + b"abcd"
            # A middle part
            + struct.pack("<II", 0xCED7230A, 2 << 29 | (1 << 29) - 1),
            "a payload of 536870911 bytes, after",
        ),
    ],
    ids=["2^60", "2^64-1", "1 GiB", "part", "middle part"],
)
def test_a_length_is_not_believed(job, fork_server, record_format, data, message):
    growth, _, _, error = read_epoch(job, fork_server, data, record_format=record_format)
    assert error[0] == "DataLossError"
    assert message in error[1]
    assert growth < 16 * MIB


def bomb(piece, count):
    """A gzip member of ``piece`` so many times, without packing it so many times."""
    compressor = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
    packed = [compressor.compress(piece) + compressor.flush(zlib.Z_FULL_FLUSH) for _ in range(2)]
    assert packed[0] == packed[1]  # nothing refers to what came before
    crc = 0
    for _ in range(count):
        crc = zlib.crc32(piece, crc)
    header = gzip.compress(b"")[:10]
    trailer = struct.pack("<II", crc, len(piece) * count & 0xFFFFFFFF)
    return header + packed[0] * count + compressor.flush() + trailer


def test_a_gzip_bomb_streams_through(job, fork_server):
    """1 GiB of zeros in 1 MiB."""
    data = bomb(stream([bytes(MIB)], "TFRecord"), 1024)
    assert len(data) < 1.2 * MIB
    growth, records, size, error = read_epoch(
        job, fork_server, data, record_format="TFRecord", compression_type="GZIP"
    )
    assert (records, size, error) == (1024, 1 << 30, None)
    assert growth < 128 * MIB  # what may be read ahead is 32 MiB


def test_a_line_without_an_end(job, fork_server):
    """All of a bomb is one record, and longer than allowed."""
    growth, _, _, error = read_epoch(
        job,
        fork_server,
        bomb(bytes(MIB), 1024),
        record_format="TextLine",
        compression_type="GZIP",
        max_record_bytes=8 * MIB,
    )
    assert error[0] == "DataLossError"
    assert "is longer than max_record_bytes (8388608)" in error[1]
    assert growth < 64 * MIB


def test_nothing_leaks(job, fork_server):
    """Descriptors and threads, of iterators that ended, were dropped, or failed."""
    data = stream([b"x" * 1000] * 300, "TFRecord")
    for epoch in range(63):
        job.pipe(epoch).write_bytes(data[:-1] if epoch % 3 == 2 else data)
    with fork_server.run("""
        import json, os
        import tensorflow as tf
        from sagemaker_tensorflow import PipeModeDataset

        ds = PipeModeDataset("training", "TFRecord", open_timeout=30, read_timeout=30)

        def use():
            for ending in ("end", "drop", "error"):
                iterator = iter(ds.prefetch(1))
                try:
                    for number, record in enumerate(iterator):
                        if ending == "drop" and number == 10:
                            break
                except tf.errors.DataLossError:
                    assert ending == "error"

        def resources():
            return [len(os.listdir(f"/proc/self/{kind}")) for kind in ("fd", "task")]

        use()
        counts = []
        for _ in range(20):
            use()
            counts.append(resources())
        print(json.dumps(counts))
    """) as program:
        counts = program.result()
    descriptors = {fds for fds, _ in counts}
    assert len(descriptors) == 1
    # TensorFlow keeps threads for its own use, and lets them go as it likes.
    threads = [tasks for _, tasks in counts]
    assert max(threads[10:]) <= max(threads[:10]) + 2
