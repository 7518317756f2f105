# SPDX-License-Identifier: Apache-2.0
"""Processes that fork while they read, as those do that load data in workers."""

import contextlib
import os
import signal
import threading

import pytest
from pipe_helpers import feed, stream
from sagemaker_tensorflow.records import ChannelReader, PipeError
from sagemaker_tensorflow.testing import serve

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
        _, status = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(status) == 7
    assert list(reader) == RECORDS[1:]


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
