# SPDX-License-Identifier: Apache-2.0
"""RecordReader and ChannelReader: how long they wait for a FIFO and for its writer."""

import threading

import pytest
from pipe_helpers import Background, feed, stream
from sagemaker_tensorflow import records as rec
from sagemaker_tensorflow.records import ChannelReader, RecordReader


def test_nobody_writes(fifo):
    reader = RecordReader(fifo, read_timeout=0.05)
    with pytest.raises(rec.DeadlineExceededError, match=r"fifo.*read_timeout") as caught:
        next(reader)
    assert isinstance(caught.value, TimeoutError)
    assert list(reader) == []


def test_a_writer_falls_silent(fifo):
    reader = RecordReader(fifo, "TFRecord", read_timeout=0.2)
    opened = threading.Event()
    go_on = threading.Event()

    def write():
        with fifo.open("wb", buffering=0) as pipe:
            pipe.write(stream([b"a"], "TFRecord") + b"half")
            opened.set()
            go_on.wait(30)

    writer = Background(write)
    try:
        assert next(reader) == b"a"
        with pytest.raises(rec.DeadlineExceededError):
            next(reader)
    finally:
        go_on.set()
    writer.result()


def test_no_fifo_comes(tmp_path):
    reader = ChannelReader("c", pipe_dir=tmp_path, state_dir=tmp_path / "state", open_timeout=0.05)
    with pytest.raises(rec.DeadlineExceededError, match=r"channel 'c' epoch 0 .*c_0.*open_timeout"):
        next(reader)
    assert reader.epoch is None


def test_no_limit(fifo):
    reader = RecordReader(fifo, "TextLine", read_timeout=None)
    feed(fifo, b"a\n")
    assert list(reader) == [b"a"]
