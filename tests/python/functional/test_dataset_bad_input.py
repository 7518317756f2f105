# SPDX-License-Identifier: Apache-2.0
"""Streams that are cut off, corrupt, or not what was announced."""

import gzip
import re
import struct
import zlib

import pytest
import tensorflow as tf
from dataset_helpers import make, read, records
from pipe_helpers import COMPRESSIONS, FORMATS, feed, flip_bit, stream

RECORDS = [b"first", b"second!", b"third record"]


def frame(record):
    return stream([record], "TFRecord")


def read_stream(job, data, record_format="TFRecord", **options):
    """What becomes of a stream; checks that nothing comes after an error."""
    feed(job.make_fifo(), data)
    iterator = iter(make(record_format=record_format, **options))
    elements = []
    try:
        elements.extend(element.numpy() for element in iterator)
    except tf.errors.OpError as error:
        with pytest.raises(StopIteration):
            next(iterator)
        return elements, error
    return elements, None


def check_data_loss(error, message, position):
    assert isinstance(error, tf.errors.DataLossError)
    assert re.search(message, error.message)
    assert re.search(position, error.message)


TFRECORD = stream(RECORDS, "TFRecord")
RECORDIO = stream(RECORDS, "RecordIO")
PARTS = stream([b"x" * 40], "RecordIO", recordio_max_part_bytes=16)
LONG = bytes(3 << 20)  # longer than the reader's buffer


@pytest.mark.parametrize(
    ("record_format", "data", "count", "message"),
    [
        ("TFRecord", TFRECORD[:1], 0, "a TFRecord header"),
        ("TFRecord", TFRECORD[:11], 0, "a TFRecord header"),
        ("TFRecord", TFRECORD[:14], 0, "a record of 5 bytes"),
        ("TFRecord", TFRECORD[:18], 0, "a record of 5 bytes"),
        ("TFRecord", TFRECORD[:-13], 2, "a record of 12 bytes"),
        ("TFRecord", TFRECORD[:-1], 2, "a record of 12 bytes"),
        ("TFRecord", stream([LONG], "TFRecord")[:-5], 0, "a payload of 3145728 bytes, after 31"),
        ("TFRecord", stream([LONG], "TFRecord")[:-1], 0, "a payload CRC"),
        ("RecordIO", RECORDIO[:3], 0, "a RecordIO header"),
        ("RecordIO", RECORDIO[:7], 0, "a RecordIO header"),
        ("RecordIO", RECORDIO[:10], 0, "a RecordIO part of 5 bytes"),
        ("RecordIO", RECORDIO[:13], 0, "a RecordIO part of 5 bytes"),
        ("RecordIO", RECORDIO[:15], 0, "a RecordIO part of 5 bytes"),
        ("RecordIO", RECORDIO[:-1], 2, "a RecordIO part of 12 bytes"),
        ("RecordIO", PARTS[:24], 0, "a multi-part record"),
        ("RecordIO", PARTS[:30], 0, "a multi-part record"),
        ("RecordIO", PARTS[:40], 0, "a RecordIO part of 16 bytes"),
        ("RecordIO", stream([LONG], "RecordIO")[:-1], 0, "a payload of 3145728 bytes, after 31"),
        ("RecordIO", stream([LONG + b"x"], "RecordIO")[:-1], 0, "the padding of a RecordIO rec"),
    ],
)
def test_the_stream_ends_inside_a_record(job, record_format, data, count, message):
    elements, error = read_stream(job, data, record_format)
    assert elements == RECORDS[:count]
    check_data_loss(error, f"the stream ends inside {message}", f"record {count} at byte")


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("record_format", FORMATS)
def test_every_end_but_the_true_one_is_found(serve, record_format, compression):
    """Each possible truncation is one epoch; it is an error, or ends between two records."""
    data = stream(RECORDS, record_format, compression)
    ends = {}  # where a cut looks like an end, and how many records come before
    if compression is None:
        for count in range(len(RECORDS)):
            ends[len(stream(RECORDS[:count], record_format))] = count
    with serve({"training": [data[:length] for length in range(len(data))]}):
        ds = make(record_format=record_format, compression_type=compression)
        for length in range(len(data)):
            elements, error = read(ds)
            if record_format == "TextLine" and compression is None:
                # A last line without a newline is one all the same.
                assert error is None
                assert b"\n".join(elements) == data[:length].removesuffix(b"\n")
                continue
            assert elements == RECORDS[: len(elements)]
            if length == 0:
                assert (elements, error) == ([], None)
            elif length in ends:
                assert (len(elements), error) == (ends[length], None)
            else:
                assert isinstance(error, tf.errors.DataLossError)


def test_a_last_line_without_a_newline_counts(job):
    assert read_stream(job, b"one\n\ntwo", "TextLine") == ([b"one", b"", b"two"], None)


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_an_empty_epoch(serve, epoch):
    epochs = [[b"a"], [b"b"], [b"c"]]
    epochs[epoch] = []
    with serve({"training": epochs}):
        assert [records(make()) for _ in range(3)] == epochs


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("record_format", FORMATS)
def test_nothing_but_an_end(job, record_format, compression):
    assert read_stream(job, b"", record_format, compression_type=compression) == ([], None)


def test_members_one_after_the_other_some_of_them_empty(job):
    members = [frame(b"a"), b"", b"", frame(b"b")[:9], frame(b"b")[9:], b""]
    data = b"".join(map(gzip.compress, members))
    assert read_stream(job, data, compression_type="GZIP") == ([b"a", b"b"], None)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (gzip.compress(TFRECORD, mtime=0)[:-1], "the stream ends inside a member"),
        (gzip.compress(TFRECORD, mtime=0)[:15], "the stream ends inside a member"),
        (gzip.compress(TFRECORD, mtime=0)[:5], "the stream ends inside a member"),
        (gzip.compress(TFRECORD, mtime=0) + b"\x1f", "the stream ends inside a member"),
        (gzip.compress(TFRECORD, mtime=0) + b"garbage", "garbage follows a complete member"),
        (gzip.compress(TFRECORD, mtime=0) + b"\0", "garbage follows a complete member"),
        (flip_bit(gzip.compress(TFRECORD, mtime=0), -5), "checksum mismatch"),
        (flip_bit(gzip.compress(TFRECORD, mtime=0), -1), "length mismatch"),
        (TFRECORD, "bad header; is this stream really gzip\\? Where the service decompresses"),
        (
            zlib.compress(TFRECORD),
            "bad header; the stream begins like zlib: pass compression_type='ZLIB'",
        ),
    ],
)
def test_gzip_members_that_are_none(job, data, message):
    elements, error = read_stream(job, data, compression_type="GZIP")
    assert elements in (RECORDS, [])
    check_data_loss(error, f"gzip member [01], near compressed byte [0-9]+: {message}", "record")


TEXT = b"some text, line by line\n" * 3
TEXT_HINT = "begins like text: pass record_format='TextLine'"
ZLIB_HINT = "begins like zlib: pass compression_type='ZLIB'"
GZIP_HINT = "begins like gzip: pass compression_type='GZIP'"


@pytest.mark.parametrize(
    ("record_format", "data", "hint"),
    [
        ("TFRecord", gzip.compress(TFRECORD, mtime=0), GZIP_HINT),
        ("RecordIO", gzip.compress(RECORDIO, mtime=0), GZIP_HINT),
        ("TextLine", gzip.compress(b"a\nb\n", mtime=0), GZIP_HINT),
        ("TFRecord", RECORDIO, "begins like RecordIO: pass record_format='RecordIO'"),
        ("RecordIO", TFRECORD, "begins like TFRecord: pass record_format='TFRecord'"),
        ("TFRecord", TEXT, TEXT_HINT),
        ("RecordIO", TEXT, TEXT_HINT),
        ("TFRecord", zlib.compress(TFRECORD), ZLIB_HINT),
        ("RecordIO", zlib.compress(RECORDIO, 1), ZLIB_HINT),
        ("TextLine", zlib.compress(b"a\nb\n" * 9, 9), ZLIB_HINT),
    ],
)
def test_a_hint_at_the_likely_cause(job, record_format, data, hint):
    elements, error = read_stream(job, data, record_format)
    assert elements == []
    check_data_loss(error, re.escape(hint), "record 0 at byte 0: ")


def test_objects_of_which_only_some_are_compressed(job):
    elements, error = read_stream(job, TFRECORD + gzip.compress(TFRECORD, mtime=0))
    assert elements == RECORDS
    where = f"record {len(RECORDS)} at byte {len(TFRECORD)}: "
    check_data_loss(error, "gzip data begins here: objects must be all compressed or all", where)


@pytest.mark.parametrize("position", range(12))
def test_the_length_of_a_tfrecord_is_wrong(job, position):
    data = frame(b"first") + flip_bit(frame(b"second!"), position) + frame(b"third")
    elements, error = read_stream(job, data)
    assert elements == [b"first"]
    check_data_loss(error, "length CRC mismatch; the stream is corrupt", "record 1 at byte 21: ")


@pytest.mark.parametrize(
    ("position", "message"),
    [
        (0, "magic number expected; the stream is corrupt from here on"),
        (3, "magic number expected; the stream is corrupt from here on"),
        (7, "the stream ends inside|part flag"),
    ],
)
def test_the_header_of_a_recordio_part_is_wrong(job, position, message):
    first = stream([b"first"], "RecordIO")
    data = first + flip_bit(stream([b"second!"], "RecordIO"), position)
    elements, error = read_stream(job, data, "RecordIO")
    assert elements == [b"first"]
    check_data_loss(error, message, f"record 1 at byte {len(first)}: ")


@pytest.mark.parametrize("flag", [2, 3, 4, 7])
def test_a_recordio_part_out_of_order(job, flag):
    data = struct.pack("<II", 0xCED7230A, flag << 29 | 4) + b"abcd"
    elements, error = read_stream(job, data, "RecordIO")
    assert elements == []
    check_data_loss(error, f"RecordIO part flag {flag} where a whole record or a first", "byte 0")


def test_a_new_recordio_record_inside_another(job):
    whole = stream([b"abcd"], "RecordIO")
    first = struct.pack("<II", 0xCED7230A, 1 << 29 | 4) + b"abcd"
    elements, error = read_stream(job, whole + first + whole, "RecordIO")
    assert elements == [b"abcd"]
    check_data_loss(error, "flag 0 where a middle or last part", "record 1 at byte 12: ")


@pytest.mark.parametrize("size", [10, len(LONG)], ids=["short", "long"])
def test_a_payload_that_is_wrong(job, size):
    """That record is lost, but where the next one begins is known."""
    wrong = flip_bit(frame(bytes(size)), -5)
    feed(job.make_fifo(), frame(b"before"), wrong, frame(b"between"), wrong, frame(b"after"))
    iterator = iter(make())
    assert next(iterator).numpy() == b"before"
    for next_record, position in ((b"between", "record 1 at byte 22"), (b"after", "record 3 at")):
        with pytest.raises(tf.errors.DataLossError) as raised:
            next(iterator)
        check_data_loss(raised.value, f"payload CRC mismatch in a record of {size} b", position)
        assert next(iterator).numpy() == next_record
    with pytest.raises(StopIteration):
        next(iterator)


def good_and_bad(letters):
    """A stream of records, the capital ones of them corrupt."""
    return b"".join(
        flip_bit(frame(letter.encode()), -1) if letter.isupper() else frame(letter.encode())
        for letter in letters
    )


@pytest.mark.parametrize(
    ("letters", "limit"),
    [("aBc", 1), ("Ab", 1), ("aB", 1), ("aBcDeF", 1), ("ABCdEFGhIJKl", 3), ("AB", 2)],
)
def test_corrupt_records_within_the_limit_are_skipped(job, letters, limit):
    elements, error = read_stream(job, good_and_bad(letters), max_corrupted_records_to_skip=limit)
    assert error is None
    assert elements == [letter.encode() for letter in letters if letter.islower()]


@pytest.mark.parametrize("letters", ["aBCDe", "BCDa"])
def test_more_corrupt_records_in_a_row_than_the_limit(job, letters):
    feed(job.make_fifo(), good_and_bad(letters))
    iterator = iter(make(max_corrupted_records_to_skip=2))
    for letter in letters.replace("BCD", "!"):
        if letter == "!":
            with pytest.raises(tf.errors.DataLossError, match="payload CRC mismatch"):
                next(iterator)
        else:
            assert next(iterator).numpy() == letter.encode()


def test_skip_checks_what_it_drops(job):
    feed(job.make_fifo(), good_and_bad("abCd"))
    elements, error = read(make().skip(3))
    assert elements == []
    check_data_loss(error, "payload CRC mismatch", "record 2 at byte 34: ")


def test_skip_counts_what_it_drops_within_the_limit(job):
    feed(job.make_fifo(), good_and_bad("abCde"))
    assert records(make(max_corrupted_records_to_skip=1).skip(3)) == [b"e"]


@pytest.mark.parametrize(
    ("data", "elements"),
    [
        (good_and_bad("aBcDEf"), [b"a", b"c", b"f"]),
        (good_and_bad("ab") + flip_bit(frame(b"c"), 0) + frame(b"d"), [b"a", b"b"]),
        (good_and_bad("ab")[:-1], [b"a"]),
    ],
    ids=["payload", "length", "end"],
)
def test_ignore_errors_comes_to_an_end(job, data, elements):
    feed(job.make_fifo(), data)
    assert records(make().ignore_errors()) == elements


def test_ignore_errors_without_a_fifo(job):
    assert records(make(open_timeout=0.05).ignore_errors()) == []


def test_an_error_says_where(job):
    feed(job.make_fifo(12, "validation"), good_and_bad("abcD"))
    job.state_dir.mkdir()
    job.state_file("validation").write_text("12")
    _, error = read(make("validation"))
    assert (
        f"channel 'validation' epoch 12 ({job.pipe(12, 'validation')}): record 3 at byte 51: "
        "payload CRC mismatch in a record of 1 bytes"
    ) in error.message


def test_a_record_longer_than_allowed(job):
    data = frame(b"x" * 10) + frame(b"x" * 11)
    elements, error = read_stream(job, data, max_record_bytes=10)
    assert elements == [b"x" * 10]
    check_data_loss(error, r"of 11 bytes is longer than max_record_bytes \(10\)", "record 1 at")


@pytest.mark.parametrize(
    ("fault_at_byte", "elements", "fails"),
    [(len(TFRECORD) - 3, RECORDS[:2], True), (len(TFRECORD), RECORDS, False)],
    ids=["inside a record", "between two"],
)
def test_the_writer_is_killed(serve, fault_at_byte, elements, fails):
    options = {"fault": "die", "fault_at_byte": fault_at_byte, "fault_epoch": 0, "process": True}
    with serve({"training": [[*RECORDS, b"more"], [b"next"]]}, **options):
        read_elements, error = read(make())
        assert read_elements == elements
        if fails:
            check_data_loss(error, "the stream ends inside", "record 2 at byte")
        else:
            assert error is None
        assert records(make()) == [b"next"]


@pytest.mark.parametrize("make_it", ["mkdir", "socket"])
def test_something_else_in_the_place_of_a_fifo(job, make_it):
    if make_it == "mkdir":
        job.pipe().mkdir()
    else:
        import socket

        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(job.pipe()))
    elements, error = read(make())
    assert elements == []
    assert isinstance(error, tf.errors.FailedPreconditionError)
    assert "is neither a FIFO nor a regular file" in error.message
    assert job.state() is None


def test_regular_files_work_too(job):
    for epoch, record in enumerate([b"a", b"b"]):
        job.pipe(epoch).write_bytes(frame(record))
    assert records(make().repeat(2)) == [b"a", b"b"]
