# SPDX-License-Identifier: Apache-2.0
"""RecordReader on streams that are cut off, corrupt, or not what was announced."""

import contextlib

import pytest
from pipe_helpers import COMPRESSIONS, flip_bit, split, stream
from sagemaker_tensorflow import records as rec
from sagemaker_tensorflow.records import RecordReader


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("record_format", ["RecordIO", "TFRecord"])
def test_every_truncation_is_found(record_format, compression, file_of):
    records = [b"first", b"second"]
    data = stream(records, record_format, compression)
    whole = {0}  # truncations that leave a valid stream
    if compression is None:
        whole |= {len(stream(records[:1], record_format)), len(data)}
    for size in range(len(data)):
        reader = RecordReader(file_of(data[:size]), record_format, compression_type=compression)
        got = []
        with contextlib.nullcontext() if size in whole else pytest.raises(rec.DataLossError):
            got.extend(reader)  # keeps what came before the error
        assert got == records[: len(got)]
        assert list(reader) == []


def test_a_batch_ends_before_an_error(file_of):
    records = [b"one", b"two"]
    reader = RecordReader(file_of(stream(records, "TFRecord") + b"rest"), "TFRecord")
    assert split(reader.read_batch(10)) == records
    with pytest.raises(rec.DataLossError, match=r"file': record 2 at byte 38: .*header"):
        reader.read_batch(10)
    assert split(reader.read_batch(10)) == []


@pytest.mark.parametrize("call", ["next", "skip"])
def test_the_error_behind_a_batch_reaches_other_calls(call, file_of):
    reader = RecordReader(file_of(stream([b"a"], "TFRecord") + b"rest"), "TFRecord")
    reader.read_batch(10)
    with pytest.raises(rec.DataLossError):
        next(reader) if call == "next" else reader.skip(1)
    assert list(reader) == []


def test_after_a_corrupt_record_comes_the_next(file_of):
    data = b"".join(
        [
            stream([b"a"], "TFRecord"),
            flip_bit(stream([b"b"], "TFRecord"), 12),
            stream([b"c"], "TFRecord"),
        ]
    )
    reader = RecordReader(file_of(data), "TFRecord")
    assert next(reader) == b"a"
    with pytest.raises(rec.CorruptRecordError, match="record 1 at byte 17: payload CRC"):
        next(reader)
    assert next(reader) == b"c"
    assert (reader.records, reader.corrupted_records) == (2, 1)

    reader = RecordReader(file_of(data), "TFRecord")
    assert split(reader.read_batch(3)) == [b"a"]
    with pytest.raises(rec.CorruptRecordError):
        reader.read_batch(3)
    assert split(reader.read_batch(3)) == [b"c"]

    reader = RecordReader(file_of(data), "TFRecord", max_corrupted_records_to_skip=1)
    assert list(reader) == [b"a", b"c"]
    assert (reader.records, reader.corrupted_records) == (2, 1)


@pytest.mark.parametrize(
    ("data", "options", "hint"),
    [
        (stream([b"a"], "TFRecord"), {}, "record_format='TFRecord'"),
        (stream([b"a"], "RecordIO"), {"record_format": "TFRecord"}, "record_format='RecordIO'"),
        (stream([b"a"], "RecordIO", "GZIP"), {}, "compression_type='GZIP'"),
        (b"plain text", {"compression_type": "GZIP"}, "really gzip"),
    ],
)
def test_a_likely_cause_is_named(data, options, hint, file_of):
    with pytest.raises(rec.DataLossError, match=hint):
        next(RecordReader(file_of(data), **options))
