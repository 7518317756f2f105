# SPDX-License-Identifier: Apache-2.0
"""The corpus of the fuzz targets, held against what TensorFlow and Python make of the same bytes.

The targets themselves hold our readers against zlib and our own writers, millions of times; this is
the part of it that needs Python.
"""

import gzip
import zlib
from pathlib import Path

import pytest
import tensorflow as tf
from dataset_helpers import make, read
from pipe_helpers import feed

CORPUS = Path(__file__).resolve().parents[3] / "cpp" / "fuzz" / "corpus"
REPAIR, ANY_SIZE, WRITE = 1, 2, 4  # of tfrecord_fuzzer
COMPRESSIONS = [None, "GZIP", "ZLIB"]  # of stream_fuzzer
AUTO = 18  # likewise: not announced
TFRECORD = 1
# Where TensorFlow takes a stream that was cut off for one that ends.
CUT = {
    "cut_header",
    "short_gzip",
    "stream-tfrecord_auto_gzip_cut",
    "stream-tfrecord_gzip_cut",
}
# What Python leaves unchecked, or lets pass as padding.
STRICTER_THAN_PYTHON = {"gzip_bad_header_crc", "gzip_reserved_flag", "gzip_zeros_behind"}


def seeds(target):
    """The seeds of a target, by name."""
    return {path.name: path.read_bytes() for path in sorted((CORPUS / target).iterdir())}


def tfrecord_streams():
    """Streams for tfrecord_fuzzer that go to the reader as they are."""
    for name, seed in seeds("tfrecord_fuzzer").items():
        if seed[0] & (REPAIR | WRITE) == 0:
            yield pytest.param(name, seed[2:], None, None, id=name)
    for name, seed in seeds("stream_fuzzer").items():
        kind, _, _, choice = seed[:4]
        compression_type = COMPRESSIONS[kind // 3 % 3]
        if kind % 3 == TFRECORD and (compression_type is None or choice == 0):
            name = f"stream-{name}"
            announced = "AUTO" if kind // AUTO % 2 else compression_type
            yield pytest.param(name, seed[4:], compression_type, announced, id=name)


def gzip_streams():
    """Streams for inflate_fuzzer that are gzip, or should be."""
    for name, seed in seeds("inflate_fuzzer").items():
        if seed[0] & 1 == 0 and seed[0] // 2 % 4 in (0, 3):
            yield pytest.param(name, seed[2:], id=name)


@pytest.mark.parametrize(
    ("name", "data", "compression_type", "announced"), list(tfrecord_streams())
)
def test_tfrecord_dataset_says_the_same(job, tmp_path, name, data, compression_type, announced):
    path = tmp_path / "file"
    path.write_bytes(data)
    expected, expected_error = read(
        tf.data.TFRecordDataset(str(path), compression_type=compression_type)
    )
    feed(job.make_fifo(), data)
    elements, error = read(make(compression_type=announced))
    assert elements == expected
    if name in CUT:
        assert isinstance(error, tf.errors.DataLossError)
        assert expected_error is None
    else:
        assert (error is None) == (expected_error is None)


@pytest.mark.parametrize(("name", "data"), list(gzip_streams()))
def test_gzip_says_the_same(job, name, data):
    feed(job.make_fifo(), data)
    elements, error = read(make(record_format="TextLine", compression_type="GZIP"))
    try:
        expected = gzip.decompress(data).splitlines()
    except (EOFError, OSError, zlib.error):
        expected = None
    assert (expected is not None) or name not in STRICTER_THAN_PYTHON
    if expected is None or name in STRICTER_THAN_PYTHON:
        assert isinstance(error, tf.errors.DataLossError)
        assert not elements
    else:
        assert error is None
        assert elements == expected
