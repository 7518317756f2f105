# SPDX-License-Identifier: Apache-2.0
"""The native readers and signals: Ctrl-C, handlers that run during a read, an ending process."""

import contextlib
import os
import signal
import threading
import time

import pytest
from pipe_helpers import (
    LONG,
    Background,
    Script,
    feed,
    feed_nothing_for_ever,
    is_blocked,
    split,
    stream,
    wait_until,
)
from sagemaker_tensorflow import records as rec
from sagemaker_tensorflow.records import RecordReader

pytestmark = pytest.mark.long

WAIT_FOR_A_RECORD = """
    import sys
    from sagemaker_tensorflow.records import ChannelReader, RecordReader

    kind, path = sys.argv[1:]
    if kind == "file":
        next(RecordReader(path))
    elif kind == "batch":
        RecordReader(path).read_batch(10)
    elif kind == "skip":
        RecordReader(path).skip(10)
    else:
        next(ChannelReader("nothing", pipe_dir=path, state_dir=path))
"""


@pytest.mark.parametrize("kind", ["file", "batch", "skip", "channel"])
def test_ctrl_c(kind, fifo, tmp_path):
    with Script(WAIT_FOR_A_RECORD, kind, tmp_path if kind == "channel" else fifo) as script:
        script.wait_until_blocked()
        begun = time.monotonic()
        script.send(signal.SIGINT)
        code, _, errors = script.finish()
    assert time.monotonic() - begun < 1.5  # the interpreter's own end included
    assert code == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.parametrize("call", ["next(reader)", "reader.read_batch(10)", "reader.skip(10)"])
def test_ctrl_c_where_there_is_data_for_ever_and_never_a_record(call, make_job):
    job = make_job()
    job.make_fifo()
    code = f"""
        import sys, threading
        from sagemaker_tensorflow.records import ChannelReader

        pipe_dir, state_dir = sys.argv[1:]
        reader = ChannelReader(
            "training", "TFRecord", compression_type="GZIP", pipe_dir=pipe_dir, state_dir=state_dir
        )
        {call}
    """
    with Script(code, job.pipe_dir, job.state_dir) as script:
        writer = feed_nothing_for_ever(job.pipe())
        wait_until(lambda: job.state() == "1", timeout=60)
        begun = time.monotonic()
        script.send(signal.SIGINT)
        code, _, errors = script.finish()
        assert time.monotonic() - begun < 1.5  # the interpreter's own end included
        writer.result()
    assert code == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")


def test_ctrl_c_while_another_thread_reads(fifo):
    code = """
        import sys, threading
        from sagemaker_tensorflow.records import RecordReader

        reader = RecordReader(sys.argv[1])
        threading.Thread(target=next, args=[reader], daemon=True).start()
        next(reader)
    """
    with Script(code, fifo) as script:
        script.wait_until_blocked()
        script.send(signal.SIGINT)
        code, _, errors = script.finish()
    assert code == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")


@contextlib.contextmanager
def handler(function, signal_number=signal.SIGINT):
    before = signal.signal(signal_number, function)
    try:
        yield
    finally:
        signal.signal(signal_number, before)


def interrupt(signal_number=signal.SIGINT):
    signal.pthread_kill(threading.main_thread().ident, signal_number)


def wait_until_main_thread_blocks():
    wait_until(lambda: is_blocked(os.getpid()))


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_handler_that_does_not_raise_lets_the_read_go_on(signal_number, fifo):
    called = threading.Event()

    def then_feed():
        for _ in range(3):
            wait_until_main_thread_blocks()
            interrupt(signal_number)
            assert called.wait(30)
            called.clear()
        feed(fifo, b"a\n").result()

    with handler(lambda *_: called.set(), signal_number):
        feeder = Background(then_feed)
        assert next(RecordReader(fifo, "TextLine")) == b"a"
        feeder.result()


def test_a_signal_in_the_midst_of_a_long_record_costs_nothing(fifo):
    called = threading.Event()
    data = stream([b"x" * LONG], "TFRecord")

    def write():
        with fifo.open("wb", buffering=0) as pipe:
            pipe.write(data[: LONG // 2])
            wait_until_main_thread_blocks()
            interrupt()
            assert called.wait(30)
            # Longer than the grace that the core gives a signal.
            time.sleep(0.1)
            pipe.write(data[LONG // 2 :])

    with handler(lambda *_: called.set()):
        writer = Background(write)
        assert list(RecordReader(fifo, "TFRecord")) == [b"x" * LONG]
        writer.result()


class RaisedError(Exception):
    pass


def raise_it(*_):
    raise RaisedError


def test_a_batch_survives_a_handler_that_raises(fifo):
    opened = threading.Event()
    raised = threading.Event()

    def write():
        with fifo.open("wb", buffering=0) as pipe:
            pipe.write(b"one\ntwo\nthree\nfour\n")
            opened.set()
            wait_until_main_thread_blocks()
            interrupt()
            assert raised.wait(30)
            pipe.write(b"five\n")

    reader = RecordReader(fifo, "TextLine")
    with handler(raise_it):
        writer = Background(write)
        with pytest.raises(RaisedError):
            reader.read_batch(10)
        raised.set()
    assert next(reader) == b"one"
    assert split(reader.read_batch(1)) == [b"two"]
    assert reader.skip(1) == 1
    assert split(reader.read_batch(10)) == [b"four", b"five"]
    assert reader.records == 5
    writer.result()


def test_a_handler_may_close_the_reader(fifo):
    reader = RecordReader(fifo)
    with handler(lambda *_: reader.close()):
        Background(lambda: (wait_until_main_thread_blocks(), interrupt()))
        with pytest.raises(rec.CancelledError):
            next(reader)


def test_a_handler_cannot_read_in_the_midst_of_a_read(fifo):
    reader = RecordReader(fifo)
    with handler(lambda *_: next(reader)):
        Background(lambda: (wait_until_main_thread_blocks(), interrupt()))
        with pytest.raises(rec.FailedPreconditionError, match="signal handler"):
            next(reader)


def test_a_loop_without_waits_sees_signals(tmp_path):
    code = """
        import os, signal, sys, threading
        from sagemaker_tensorflow.records import RecordReader

        threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
        while True:
            RecordReader(sys.argv[1], "TFRecord").skip(10**12)
    """
    path = tmp_path / "file"
    path.write_bytes(stream([b"x"] * 100_000, "TFRecord"))
    with Script(code, path) as script:
        code, _, errors = script.finish()
    assert code == -signal.SIGINT
    assert errors.rstrip().endswith("KeyboardInterrupt")


def test_the_interpreter_ends_while_a_daemon_thread_waits(fifo):
    code = """
        import sys, threading
        from sagemaker_tensorflow.records import RecordReader

        for path in sys.argv[1:]:
            threading.Thread(target=next, args=[RecordReader(path)], daemon=True).start()
    """
    with Script(code, fifo, fifo) as script:
        assert script.finish() == (0, "", "")


def test_the_interpreter_ends_while_daemon_threads_read(file_of):
    code = """
        import sys, threading
        from sagemaker_tensorflow.records import RecordReader

        def read():
            while True:
                for _ in RecordReader(sys.argv[1], "TextLine"):
                    pass

        for _ in range(4):
            threading.Thread(target=read, daemon=True).start()
    """
    path = file_of(b"line\n" * 1000)
    for _ in range(5):
        with Script(code, path) as script:
            assert script.finish() == (0, "", "")
