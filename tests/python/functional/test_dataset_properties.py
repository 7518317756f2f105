# SPDX-License-Identifier: Apache-2.0
"""Any records, in any chunking, format and compression, come back as they were."""

import pytest
import tensorflow as tf
from dataset_helpers import make, records
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipe_helpers import COMPRESSIONS, FORMATS, lists_of_records, stream

ANY_CHUNK = st.integers(1, 70_000) | st.just(1 << 20)


def reader_of_files(path, record_format, compression_type):
    """What a user would read the same bytes with in File mode."""
    dataset = {"TFRecord": tf.data.TFRecordDataset, "TextLine": tf.data.TextLineDataset}
    return dataset[record_format](str(path), compression_type=compression_type)


@pytest.mark.parametrize("compression_type", COMPRESSIONS)
@pytest.mark.parametrize("record_format", FORMATS)
def test_records_come_back(serve, tmp_path, record_format, compression_type):
    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(written=lists_of_records(record_format), chunk_bytes=ANY_CHUNK)
    def come_back(written, chunk_bytes):
        if record_format == "TextLine":
            # TensorFlow drops each '\r' of a line; for us it is a byte like any other.
            written = [record.replace(b"\r", b" ") for record in written]
        data = stream(written, record_format, compression_type)
        with serve({"training": [data]}, record_format, chunk_bytes=chunk_bytes):
            ds = make(record_format=record_format, compression_type=compression_type)
            assert records(ds) == written
        if record_format != "RecordIO":
            path = tmp_path / "file"
            path.write_bytes(data)
            assert records(reader_of_files(path, record_format, compression_type)) == written

    come_back()


@pytest.mark.parametrize("last_newline", [b"", b"\n"])
def test_text_lines_are_those_of_tensorflow(serve, tmp_path, last_newline):
    @settings(max_examples=15, deadline=None)
    @given(
        text=st.binary(max_size=300).map(
            lambda data: data.replace(b"\r", b"\n").replace(b"\x1f\x8b", b"gz")
        )
    )
    def same_lines(text):
        data = text + last_newline
        path = tmp_path / "file"
        path.write_bytes(data)
        with serve({"training": [data]}, "TextLine"):
            assert records(make(record_format="TextLine")) == records(
                reader_of_files(path, "TextLine", None)
            )

    same_lines()


@pytest.mark.parametrize("recordio_parts", ["joined", "dmlc"])
def test_recordio_in_parts(serve, recordio_parts):
    """However the writer splits records, and wherever the magic number stands in them."""
    pieces = st.binary(max_size=9) | st.just(b"\x0a\x23\xd7\xce")

    @settings(max_examples=15, deadline=None)
    @given(
        written=st.lists(st.lists(pieces, max_size=9).map(b"".join), max_size=9),
        max_part_bytes=st.integers(1, 30),
        chunk_bytes=ANY_CHUNK,
    )
    def come_back(written, max_part_bytes, chunk_bytes):
        options = {"recordio_parts": recordio_parts, "chunk_bytes": chunk_bytes}
        with serve(
            {"training": [written]}, "RecordIO", recordio_max_part_bytes=max_part_bytes, **options
        ):
            assert records(make(record_format="RecordIO", recordio_parts=recordio_parts)) == written

    come_back()
