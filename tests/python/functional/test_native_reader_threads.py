# SPDX-License-Identifier: Apache-2.0
"""RecordReader with several threads: one waits, another closes, all share."""

import contextlib
import itertools
import time

import pytest
from pipe_helpers import Background, feed, feed_nothing_for_ever, split, stream
from sagemaker_tensorflow import records as rec
from sagemaker_tensorflow.records import RecordReader


@pytest.mark.parametrize(
    "call", [next, lambda reader: reader.read_batch(3), lambda reader: reader.skip(3)]
)
def test_close_wakes_a_blocked_call(call, fifo):
    reader = RecordReader(fifo, "TextLine")
    blocked = Background(call, reader)
    blocked.wait_until_blocked()
    begun = time.monotonic()
    reader.close()
    with pytest.raises(rec.CancelledError):
        blocked.result()
    assert time.monotonic() - begun < 1
    for _ in range(2):
        with pytest.raises(rec.CancelledError, match="closed"):
            call(reader)
        reader.close()


def test_the_writer_notices_close(fifo):
    reader = RecordReader(fifo, "TextLine")
    noticed = []

    def write():
        with fifo.open("wb", buffering=0) as pipe:
            try:
                while True:
                    pipe.write(b"line\n" * 1000)
            except BrokenPipeError:
                noticed.append(True)

    writer = Background(write)
    with reader:
        assert next(reader) == b"line"
    writer.result()
    assert noticed


def test_others_run_while_one_waits(fifo):
    reader = RecordReader(fifo, "TextLine")
    blocked = Background(next, reader)
    blocked.wait_until_blocked()
    assert sum(range(100_000)) > 0  # would wait for the GIL without end
    assert reader.records == 0  # properties do not wait for the call
    feed(fifo, b"a\n")
    assert blocked.result() == b"a"


def test_threads_share_a_reader(fifo):
    records = [str(i).encode() for i in range(20_000)]
    reader = RecordReader(fifo, "TFRecord")

    def take(thread):
        got = []
        while True:
            if thread % 2:
                record = next(reader, None)
                new = [] if record is None else [record]
            else:
                new = split(reader.read_batch(7))
            if not new:
                return got
            got += new

    threads = [Background(take, i) for i in range(4)]
    data = stream(records, "TFRecord")
    feed(fifo, *[data[i : i + 10_000] for i in range(0, len(data), 10_000)])
    taken = [thread.result() for thread in threads]
    assert sorted(itertools.chain(*taken)) == sorted(records)
    assert all(got == sorted(got, key=int) for got in taken)
    assert reader.records == len(records)


def test_close_wakes_those_who_wait_for_their_turn(fifo):
    reader = RecordReader(fifo)
    threads = [Background(next, reader) for _ in range(3)]
    for thread in threads:
        thread.wait_until_blocked()
    reader.close()
    for thread in threads:
        with pytest.raises(rec.CancelledError):
            thread.result()


def test_threads_that_close(file_of):
    path = file_of(stream([b"x" * 100] * 5000, "TFRecord"))
    for _ in range(20):
        reader = RecordReader(path, "TFRecord")

        def use(reader=reader):
            with contextlib.suppress(rec.CancelledError):
                for _ in reader:
                    pass

        threads = [Background(use), Background(use), Background(reader.close)]
        for thread in threads:
            thread.result()


def test_others_run_where_there_is_data_for_ever_and_never_a_record(fifo):
    reader = RecordReader(fifo, "TFRecord", compression_type="GZIP")
    writer = feed_nothing_for_ever(fifo)
    reading = Background(next, reader)
    time.sleep(0.1)  # well into it; and this thread goes on
    reader.close()
    with pytest.raises(rec.CancelledError):
        reading.result()
    writer.result()
