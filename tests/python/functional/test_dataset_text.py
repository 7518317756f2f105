# SPDX-License-Identifier: Apache-2.0
"""Text channels: header lines, and lines that end in carriage returns."""

import csv
import io

import pytest
import tensorflow as tf
from dataset_helpers import make, records, without_autotune
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HEADER = b"id,name"
OBJECTS = [[b"1,one", b"2,two"], [], [b"3,three"]]
ROWS = sum(OBJECTS, [])  # noqa: RUF017


def text(objects, header=(HEADER,), ending=b"\n"):
    """The stream of objects that begin with the same header each."""
    return b"".join(line + ending for rows in objects for line in [*header, *rows])


def lines_of(**options):
    return make(record_format="TextLine", **options)


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
@pytest.mark.parametrize("read_ahead_bytes", [0, 1 << 22])
def test_a_header_in_each_object(serve, ending, read_ahead_bytes):
    with serve({"training": lambda _: text(OBJECTS, ending=ending)}, "TextLine"):
        options = {"read_ahead_bytes": read_ahead_bytes, "strip_carriage_return": True}
        once = lines_of(skip_header_lines=1, **options)
        assert records(once) == [*ROWS[:2], HEADER, HEADER, ROWS[2]]
        ds = lines_of(skip_header_lines=1, repeated_header=True, **options)
        assert records(ds) == ROWS
        assert records(ds.repeat(2)) == ROWS * 2
        assert [batch.tolist() for batch in ds.batch(2).as_numpy_iterator()] == [ROWS[:2], ROWS[2:]]


def test_carriage_returns_stay_unless_they_are_to_go(serve):
    with serve({"training": lambda _: b"a\r\nb\rc\r\n\r\nlast\r"}, "TextLine"):
        assert records(lines_of()) == [b"a\r", b"b\rc\r", b"\r", b"last\r"]
        assert records(lines_of(strip_carriage_return=True)) == [b"a", b"b\rc", b"", b"last"]


def test_header_lines_of_each_epoch(serve):
    with serve({"training": [b"x\ny\n1\n", b"", b"x\n", b"x\ny\n2\n3"]}, "TextLine"):
        assert records(lines_of(skip_header_lines=2).repeat(4)) == [b"1", b"2", b"3"]


@pytest.mark.parametrize("read_ahead_bytes", [0, 1 << 22])
@pytest.mark.parametrize("chunk_bytes", [1, 1000])
def test_only_a_whole_header_goes(serve, read_ahead_bytes, chunk_bytes):
    """Its second line is blank, as some of the records are."""
    rows = [[b"1,one", b"", b"2,two"], [b"", HEADER, b"3,three"], [HEADER]]
    data = text(rows, header=(HEADER, b""))
    with serve({"training": lambda _: data}, "TextLine", chunk_bytes=chunk_bytes):
        options = {"skip_header_lines": 2, "repeated_header": True}
        ds = lines_of(read_ahead_bytes=read_ahead_bytes, **options)
        expected = sum(rows, [])  # noqa: RUF017
        assert records(ds) == expected
        assert records(ds.skip(3).repeat(2)) == expected[3:] * 2
    with serve({"training": [b"h\n1h\n2"]}, "TextLine"):
        assert records(lines_of(skip_header_lines=1, repeated_header=True)) == [b"1h", b"2"]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    objects=st.lists(
        st.lists(st.lists(st.text("abc\u00e9 ", max_size=9), min_size=2, max_size=2)),
        min_size=1,
        max_size=4,
    ),
    chunk_bytes=st.integers(1, 100),
    compression_type=st.sampled_from([None, "GZIP"]),
)
def test_what_a_csv_writer_writes(serve, objects, chunk_bytes, compression_type):
    """Its lines end in CRLF."""

    def written(rows):
        out = io.StringIO()
        csv.writer(out).writerows([["the", "header"], *rows])
        return out.getvalue().encode()

    lines = [line for rows in objects for line in written(rows).split(b"\r\n")[1:-1]]
    objects = [line for rows in objects for line in written(rows).split(b"\r\n")[:-1]]
    with serve(
        {"training": [[line + b"\r" for line in objects]]},
        "TextLine",
        chunk_bytes=chunk_bytes,
        compression_type=compression_type,
    ):
        ds = lines_of(
            compression_type=compression_type,
            skip_header_lines=1,
            repeated_header=True,
            strip_carriage_return=True,
        )
        assert records(ds) == lines


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_positions_count_lines_that_are_no_header(serve, tmp_path, count):
    with serve({"training": lambda _: text(OBJECTS)}, "TextLine"):
        ds = without_autotune(lines_of(skip_header_lines=1, repeated_header=True))
        iterator = iter(ds)
        for _ in range(count):
            next(iterator)
        path = tf.train.Checkpoint(iterator=iterator).save(str(tmp_path / "checkpoint"))
        del iterator
        iterator = iter(ds)
        tf.train.Checkpoint(iterator=iterator).restore(path)
        assert [element.numpy() for element in iterator] == ROWS[count:]


def test_shards_are_of_lines_that_are_no_header(serve):
    with serve({"training": lambda _: text(OBJECTS)}, "TextLine"):
        ds = lines_of(skip_header_lines=1, repeated_header=True)
        assert [records(ds.shard(2, i)) for i in range(2)] == [[ROWS[0], ROWS[2]], [ROWS[1]]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"skip_header_lines": -1}, "skip_header_lines must not be negative, but is -1"),
        ({"repeated_header": True}, "repeated_header needs skip_header_lines"),
        ({"record_format": "RecordIO", "skip_header_lines": 1}, "'TextLine', and this one is 'R"),
        ({"record_format": "TFRecord", "strip_carriage_return": True}, "and this one is 'TFRecord"),
    ],
)
def test_arguments_that_mean_nothing(job, options, message):
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        make(**{"record_format": "TextLine", **options})
    assert message in raised.value.message
    assert job.state() is None
