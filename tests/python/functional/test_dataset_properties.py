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
    @given(text=st.binary(max_size=300).map(lambda data: data.replace(b"\r", b"\n")))
    def same_lines(text):
        data = text + last_newline
        path = tmp_path / "file"
        path.write_bytes(data)
        with serve({"training": [data]}, "TextLine"):
            assert records(make(record_format="TextLine")) == records(
                reader_of_files(path, "TextLine", None)
            )

    same_lines()


def test_lines_for_the_tools_of_the_predecessor(serve, capfd):
    with serve({"training": [[b"abc"] * 25]}):
        assert len(records(make(benchmark=True, benchmark_records_interval=10))) == 25
    lines = capfd.readouterr().out.splitlines()
    prefix = "PipeModeDatasetOp::Dataset::Iterator "
    found = [line.removeprefix(prefix).split(": ") for line in lines if line.startswith(prefix)]
    assert [value for label, value in found if label == "records"] == ["10", "20"]
    assert [label for label, _ in found[-3:]] == [
        "total read_time_ms",
        "total read_bytes",
        "total read_GB/s",
    ]
    assert int(found[-3][1]) >= 0
    assert found[-2][1] == "75"
    assert float(found[-1][1]) > 0
