# SPDX-License-Identifier: Apache-2.0
"""Which object a byte of a stream came from."""

import bz2
import gzip
import sys
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sagemaker_tensorflow._feed.stream_map import HEAD_BYTES, Place, StreamMap
from sagemaker_tensorflow.records import encode


def map_of(sizes, *, is_whole=True):
    result = StreamMap()
    position = 0
    for size in sizes:
        result.begin_object(position)
        position += size
    result.end(position, is_whole=is_whole)
    return result


@given(st.lists(st.integers(0, 5), max_size=8))
def test_each_byte_belongs_to_its_object(sizes):
    expected = [(index, at) for index, size in enumerate(sizes) for at in range(size)]
    stream_map = map_of(sizes)
    found = [stream_map.find(byte, as_sent=False) for byte in range(len(expected))]
    assert found == [Place(index, at, is_end=False) for index, at in expected]
    assert stream_map.find(len(expected) + 1, as_sent=False) is None
    assert stream_map.find(-1, as_sent=False) is None
    end = stream_map.find(len(expected), as_sent=False)
    if expected:
        index, at = expected[-1]
        assert end == Place(index, at + 1, is_end=True)
    else:
        assert end is None or end.is_end


def test_end_of_what_was_sent_is_not_the_end():
    """The next byte may have come from this object or from the next one."""
    stream_map = map_of([3, 4], is_whole=False)
    assert stream_map.find(6, as_sent=True) == Place(1, 3, is_end=False)
    assert stream_map.find(7, as_sent=True) is None


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(b"x" * 5000, mtime=0),
        gzip.compress(b"", mtime=0),
        *(zlib.compress(bytes(range(256)) * 20, level) for level in (0, 1, 6, 9)),
    ],
)
def test_bytes_after_the_first_compressed_object_are_not_known(data):
    stream_map = StreamMap()
    stream_map.begin_object(0)
    stream_map.look_at(b"plain")
    stream_map.begin_object(100)
    stream_map.look_at(data[:HEAD_BYTES])
    stream_map.begin_object(200)
    stream_map.look_at(b"plain")
    stream_map.end(300, is_whole=True)
    assert stream_map.find(99, as_sent=False) == Place(0, 99, is_end=False)
    assert stream_map.find(100, as_sent=False) == Place(1, 0, is_end=False)
    assert stream_map.find(101, as_sent=False) is None
    assert stream_map.find(250, as_sent=False) is None
    assert stream_map.find(250, as_sent=True) == Place(2, 50, is_end=False)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x1f\x8b",
        b"X\tY\tZ\n1\t2\t3\n",  # its first two bytes are those of zlib
        b"x^2,y\n1,2\n",
        bz2.compress(b"x"),
        *(encode(bytes(size), "TFRecord") for size in (0x178, 0x9C78, 0x8B1F, 10)),
        encode(b"abc", "RecordIO"),
    ],
)
def test_what_is_not_compressed(data):
    stream_map = map_of([1, 1])
    stream_map.look_at(data[:HEAD_BYTES])
    assert stream_map.find(1, as_sent=False) == Place(1, 0, is_end=False)


def test_a_million_objects():
    """As many bytes as 8 a piece, and what an array keeps in reserve."""
    stream_map = map_of([10] * 1_000_000)
    assert sys.getsizeof(stream_map._starts) < 9_500_000
    assert stream_map.find(7_654_321, as_sent=False) == Place(765_432, 1, is_end=False)
