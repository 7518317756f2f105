# SPDX-License-Identifier: Apache-2.0
"""Processes that fork while they read, as those do that load data in workers."""

import contextlib
import os
import signal
import threading
import time

import pytest
from pipe_helpers import Background, feed, stream, wait_until
from sagemaker_tensorflow.records import (
    CancelledError,
    ChannelReader,
    FailedPreconditionError,
    PipeError,
)
from sagemaker_tensorflow.testing import serve

pytestmark = pytest.mark.long

RECORDS = [b"%06d" % number for number in range(100_000)]


@contextlib.contextmanager
def forked(body=signal.pause):
    """Runs ``body`` in a forked child; yields its process id, and kills it at the end."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            code = body() or 0
        finally:
            os._exit(code)
    try:
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):  # it has been waited for
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@pytest.fixture
def reader(make_job):
    """A reader in mid-epoch, and the thread that feeds it."""
    job = make_job()
    job.make_fifo()
    writer = feed(job.pipe(), stream(RECORDS, "TFRecord"))
    with ChannelReader(
        "training",
        "TFRecord",
        pipe_dir=job.pipe_dir,
        state_dir=job.state_dir,
        open_timeout=30,
        read_timeout=30,
    ) as reader:
        reader.writer = writer
        assert next(reader) == RECORDS[0]
        yield reader


def test_a_child_does_not_keep_the_fifo_open(reader):
    with forked():
        reader.close()
        reader.writer.result()  # by EPIPE: most records are not written yet


def test_a_child_cannot_take_the_parents_records(reader):
    def body():
        try:
            # What the parent had buffered by then, the copy has, too.
            for _ in reader:
                pass
        except PipeError:
            return 7

    with forked(body) as pid:
        wait_for_exit(pid, 7)
    assert list(reader) == RECORDS[1:]


@pytest.fixture
def waiting(make_job):
    """A reader that waits for a FIFO in another thread's call."""
    job = make_job()
    with ChannelReader(
        "training", "TFRecord", pipe_dir=job.pipe_dir, state_dir=job.state_dir, open_timeout=30
    ) as reader:
        thread = Background(lambda: list(reader))
        thread.wait_until_blocked()
        yield reader
        reader.close()
        with pytest.raises(CancelledError):
            thread.result()


@pytest.mark.parametrize(
    "call", [next, lambda reader: reader.read_batch(10), lambda reader: reader.skip(1)]
)
def test_a_child_of_a_reader_that_waits_is_told_so(waiting, call):
    """The other thread, which would end its call one day, is not there."""

    def body():
        try:
            call(waiting)
        except FailedPreconditionError as error:
            return 7 if "forked" in str(error) else 8
        finally:
            waiting.close()

    with forked(body) as pid:
        wait_for_exit(pid, 7)


def test_a_child_that_closes_its_copy_wakes_nobody(waiting):
    with forked(waiting.close) as pid:
        wait_for_exit(pid, 0)
        begun = time.process_time()
        time.sleep(0.5)
        assert time.process_time() - begun < 0.1


def wait_for_exit(pid, code):
    """Fails if a child does not end."""
    status = []

    def has_ended():
        status[:] = os.waitpid(pid, os.WNOHANG)
        return status[0] == pid

    wait_until(has_ended)
    assert os.waitstatus_to_exitcode(status[1]) == code


def test_children_that_live_on_stop_no_channel(tmp_path):
    """Forks at any moment while epochs begin and end; the children outlive them all."""
    epochs = 40
    with (
        contextlib.ExitStack() as children,
        serve({"training": [RECORDS[:50]] * epochs}, "TFRecord", base_dir=tmp_path) as host,
    ):
        read = []

        def run():
            for _ in range(epochs):
                with ChannelReader(
                    "training",
                    "TFRecord",
                    pipe_dir=host.pipe_dir,
                    state_dir=host.state_dir,
                    open_timeout=30,
                    read_timeout=30,
                ) as reader:
                    read.append(list(reader))

        thread = threading.Thread(target=run)
        thread.start()
        for _ in range(60):
            children.enter_context(forked())
            if not thread.is_alive():
                break
        thread.join(60)
        assert not thread.is_alive()
    assert read == [RECORDS[:50]] * epochs
