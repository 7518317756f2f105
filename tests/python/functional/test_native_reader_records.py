# SPDX-License-Identifier: Apache-2.0
"""RecordReader and ChannelReader: what comes out, record by record and in batches."""

import gc
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipe_helpers import COMPRESSIONS, FORMATS, LONG, feed, lists_of_records, split, stream
from sagemaker_tensorflow import testing
from sagemaker_tensorflow.records import ChannelReader, RecordReader, RecordWriter

property_test = settings(max_examples=25, deadline=None)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("record_format", FORMATS)
def test_any_records_in_any_chunks_through_a_fifo(record_format, compression, tmp_path_factory):
    @property_test
    @given(
        epochs=st.lists(lists_of_records(record_format), min_size=1, max_size=2),
        chunk_bytes=st.integers(1, 100) | st.sampled_from([4096, 65536, 1 << 20]),
    )
    def check(epochs, chunk_bytes):
        # Tiny chunks are for the seams; a megabyte in them is but slow.
        if sum(map(len, itertools.chain(*epochs))) > 100_000:
            chunk_bytes = max(chunk_bytes, 4096)
        options = {"compression_type": compression}
        with testing.serve(
            {"c": epochs}, record_format, chunk_bytes=chunk_bytes, **options
        ) as host:
            for number, expected in enumerate(epochs):
                reader = ChannelReader(
                    "c",
                    record_format,
                    pipe_dir=host.pipe_dir,
                    state_dir=host.state_dir,
                    open_timeout=30,
                    **options,
                )
                assert list(reader) == expected
                assert (reader.epoch, reader.records) == (number, len(expected))

    check()


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("record_format", FORMATS)
def test_any_records_by_any_calls_from_a_file(record_format, compression, tmp_path):
    path = tmp_path / "file"

    @property_test
    @given(
        records=lists_of_records(record_format),
        calls=st.lists(st.tuples(st.sampled_from(["next", "batch", "skip"]), st.integers(1, 5))),
    )
    def check(records, calls):
        with RecordWriter(path, record_format, compression_type=compression) as writer:
            for record in records:
                writer.write(record)
        left = list(records)
        with RecordReader(path, record_format, compression_type=compression) as reader:
            for call, count in calls:
                if call == "next":
                    assert next(reader, None) == (left.pop(0) if left else None)
                    continue
                expected, left = left[:count], left[count:]
                if call == "batch":
                    assert split(reader.read_batch(count)) == expected
                else:
                    assert reader.skip(count) == len(expected)
                assert reader.records == len(records) - len(left)
            assert list(reader) == left

    check()


@property_test
@given(
    records=st.lists(st.binary(max_size=64)),
    max_part_bytes=st.integers(1, 16),
)
def test_recordio_in_parts(records, max_part_bytes, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "parts"
    path.write_bytes(stream(records, "RecordIO", recordio_max_part_bytes=max_part_bytes))
    assert list(RecordReader(path)) == records


@property_test
@given(
    st.lists(
        st.lists(st.sampled_from([b"\x0a\x23\xd7\xce", b"\x0a\x23", b"abcd", b""])).map(b"".join)
    )
)
def test_recordio_with_the_magic_number_inside(tmp_path_factory, records):
    path = tmp_path_factory.getbasetemp() / "dmlc"
    path.write_bytes(stream(records, "RecordIO", recordio_parts="dmlc"))
    assert list(RecordReader(path, recordio_parts="dmlc")) == records


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("record_format", FORMATS)
def test_long_records(record_format, compression, fifo):
    records = [b"a" * LONG, b"", b"b" * (LONG + 1), b"c"]
    feed(fifo, stream(records, record_format, compression))
    assert list(RecordReader(fifo, record_format, compression_type=compression)) == records


def test_names_compare_without_case(file_of):
    path = file_of(stream([b"a"], "TFRecord", "GZIP"))
    assert list(RecordReader(path, "tfrecord", compression_type="Gzip")) == [b"a"]
    assert list(RecordReader(file_of(b"a\n"), "TEXTLINE", compression_type="")) == [b"a"]


def test_end_is_the_end(file_of):
    reader = RecordReader(file_of(stream([b"a"], "TFRecord")), "TFRecord")
    assert iter(reader) is reader
    assert list(reader) == [b"a"]
    assert list(reader) == []
    assert reader.skip(1) == 0
    assert split(reader.read_batch(1)) == []
    assert (reader.records, reader.corrupted_records) == (1, 0)


def test_batches_are_arrays_of_their_own(file_of):
    records = [b"one", b"", b"three" * LONG, b"four"]
    reader = RecordReader(file_of(stream(records, "TFRecord")), "TFRecord")
    batches = [reader.read_batch(3), reader.read_batch(3), reader.read_batch(3)]
    reader.close()
    del reader
    gc.collect()
    for data, offsets in batches:
        assert (data.dtype, offsets.dtype) == (np.uint8, np.int64)
        assert data.ndim == offsets.ndim == 1
        assert data.flags.writeable
        assert offsets[0] == 0
        assert offsets[-1] == len(data)
    assert [split(batch) for batch in batches] == [records[:3], records[3:], []]
