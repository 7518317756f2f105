# SPDX-License-Identifier: Apache-2.0
"""RecordReader takes memory for what really arrives, never for what a stream says of itself."""

import os
import struct
import zlib

import pytest
from pipe_helpers import WINDOW_BITS, Script, stream, tfrecord_header

pytestmark = pytest.mark.long

MEASURE_MEMORY = """
    import resource, sys
    import numpy, numpy.random  # what a batch needs, before the measurement
    from sagemaker_tensorflow.records import PipeError, RecordReader

    path, record_format, compression, limit = sys.argv[1:]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    reader = RecordReader(path, record_format, compression_type=compression,
                          max_record_bytes=int(limit))
    try:
        for call in (next, lambda r: r.read_batch(8), lambda r: r.skip(10**9)):
            while call(reader) == 0:
                pass
    except (PipeError, StopIteration) as error:
        print(type(error).__name__, error)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10)
"""


@pytest.mark.parametrize(
    ("record_format", "data", "error"),
    [
        ("TFRecord", tfrecord_header(1 << 60) + b"x" * 100, "max_record_bytes"),
        ("TFRecord", tfrecord_header((1 << 30) - 1) + b"x" * 100, "ends inside"),
        ("RecordIO", bytes.fromhex("0a23d7ce ffffff1f") + b"x" * 100, "ends inside"),
    ],
    ids=["beyond-limit", "beyond-stream", "recordio"],
)
def test_no_memory_on_the_word_of_a_length(record_format, data, error, file_of):
    with Script(MEASURE_MEMORY, file_of(data), record_format, "", 1 << 30) as script:
        code, output, errors = script.finish()
    assert code == 0, errors
    message, megabytes = output.splitlines()
    assert message.startswith("DataLossError")
    assert error in message
    assert int(megabytes) < 16


def test_a_record_that_does_not_fit_in_memory_is_not_left_out(tmp_path):
    path = tmp_path / "file"
    long = 1 << 28
    with path.open("wb") as file:
        file.write(stream([b"first"], "RecordIO"))
        file.write(struct.pack("<II", 0xCED7230A, long))
        file.seek(long, os.SEEK_CUR)
        file.write(stream([b"last"], "RecordIO"))
    code = """
        import resource, sys
        from sagemaker_tensorflow.records import RecordReader

        reader = RecordReader(sys.argv[1])
        assert next(reader) == b"first"
        with open("/proc/self/statm") as statm:
            now = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (now + (1 << 27), resource.RLIM_INFINITY))
        try:
            next(reader)
        except MemoryError:
            print("no memory", list(reader))
    """
    with Script(code, path) as script:
        code, output, errors = script.finish()
    assert (code, output) == (0, "no memory []\n"), errors


def test_a_gzip_bomb_streams_through(file_of):
    # A quarter of a GiB in a quarter of a MiB; the whole one takes Python too long to make.
    compressor = zlib.compressobj(1, wbits=WINDOW_BITS["GZIP"])
    record = stream([bytes(1 << 20)], "TFRecord")
    data = b"".join(compressor.compress(record) for _ in range(256)) + compressor.flush()
    with Script(MEASURE_MEMORY, file_of(data), "TFRecord", "GZIP", 1 << 20) as script:
        code, output, errors = script.finish()
    assert code == 0, errors
    assert int(output.splitlines()[-1]) < 48  # of 256; a batch of 8 is among them
