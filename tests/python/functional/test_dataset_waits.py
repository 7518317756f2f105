# SPDX-License-Identifier: Apache-2.0
"""Waiting for FIFOs, writers and data: time limits, cancellation, what is said meanwhile."""

import os
import re
import time
from pathlib import Path

import pytest
import tensorflow as tf
from dataset_helpers import make, read, records, without_autotune
from pipe_helpers import Background, feed, is_blocked, stream, wait_until

A_MOMENT = 1.0  # what a person calls prompt


def wait_until_blocked():
    """Until one of TensorFlow's threads, or one of ours, waits in the op."""
    tasks = Path("/proc/self/task")
    wait_until(lambda: any(is_blocked(os.getpid(), int(task.name)) for task in tasks.iterdir()))


def silent_writer(path):
    """Opens the FIFO and sends nothing; returns a descriptor."""
    return Background(os.open, path, os.O_WRONLY)


def check_limit(dataset, seconds, *texts):
    """The dataset ends with DeadlineExceededError after so many seconds."""
    begun = time.monotonic()
    elements, error = read(dataset)
    waited = time.monotonic() - begun
    assert isinstance(error, tf.errors.DeadlineExceededError)
    for text in (f"waited {seconds} s for ", *texts):
        assert text in error.message
    assert seconds <= waited < seconds + 5 * A_MOMENT
    return elements


def test_no_fifo_appears(job):
    text = f"channel 'training' epoch 0 ({job.pipe()}): waited 0.2 s for FIFO '{job.pipe()}' to ap"
    assert check_limit(make(open_timeout=0.2), 0.2, text, "does the job send this channel") == []
    assert job.state() is None


def test_no_folder_of_fifos(job, tmp_path):
    check_limit(make(open_timeout=0.2, pipe_dir=tmp_path / "none"), 0.2, f"{tmp_path}/none")


def test_no_further_fifo_appears(serve):
    with serve({"training": [[b"a"]]}) as job:
        assert check_limit(make(open_timeout=0.2).repeat(2), 0.2, str(job.pipe(1))) == [b"a"]
        assert job.state() == "1"


def test_no_writer_opens(job):
    job.make_fifo()
    check_limit(make(open_timeout=0.2), 0.2, f"a writer to open FIFO '{job.pipe()}'")


def test_a_writer_that_sends_nothing(job):
    writer = silent_writer(job.make_fifo())
    check_limit(make(read_timeout=0.2), 0.2, f"data from '{job.pipe()}' (limit: read_timeout)")
    with pytest.raises(BrokenPipeError):  # the FIFO is closed
        os.write(writer.result(), b"late")


def test_a_writer_that_falls_silent_inside_a_record(serve):
    with serve({"training": [[b"a", b"b"], [b"c"]]}, fault="stall", fault_at_byte=20):
        ds = make(read_timeout=0.2)
        iterator = iter(ds)
        assert next(iterator).numpy() == b"a"
        with pytest.raises(tf.errors.DeadlineExceededError, match="record 1 at byte 17"):
            next(iterator)
        with pytest.raises(StopIteration):
            next(iterator)
        assert records(ds) == [b"c"]  # too short to stall


def test_the_limit_is_for_each_next_byte(serve):
    """The epoch as a whole takes longer."""
    size = len(stream([b"x" * 40], "TFRecord"))
    with serve({"training": [[b"x" * 40]]}, chunk_bytes=1, bytes_per_second=size / 3):
        begun = time.monotonic()
        assert records(without_autotune(make(read_timeout=2))) == [b"x" * 40]
        assert time.monotonic() - begun > 2


@pytest.mark.parametrize("folder_exists", [True, False])
def test_a_fifo_that_comes_late_is_found_at_once(job, folder_exists):
    if not folder_exists:
        job.pipe_dir.rmdir()
    reading = Background(lambda: (records(make()), time.monotonic()))
    wait_until_blocked()
    if not folder_exists:
        job.pipe_dir.mkdir()
    begun = time.monotonic()
    feed(job.make_fifo(), stream([b"a"], "TFRecord"))
    elements, ended = reading.result()
    assert elements == [b"a"]
    assert ended - begun < A_MOMENT


# No identity maps: TensorFlow would leave them out.
PIPELINES = {
    "prefetch": lambda ds: ds.prefetch(2),
    "batch and prefetch": lambda ds: ds.batch(1).prefetch(1),
    "parallel map": lambda ds: ds.map(tf.strings.lower, num_parallel_calls=2),
    "parallel interleave": lambda ds: tf.data.Dataset.range(1).interleave(
        lambda _: ds, num_parallel_calls=2
    ),
    "parallel batch": lambda ds: ds.map(tf.strings.lower).batch(1, num_parallel_calls=2),
}


@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=PIPELINES)
@pytest.mark.parametrize("missing", ["FIFO", "writer", "data"])
def test_dropping_an_iterator_that_reads_ahead(job, missing, pipeline):
    """Its background thread ends; an epoch that has not begun is left to the next reader."""

    def write():
        writer = os.open(job.pipe(), os.O_WRONLY)
        os.write(writer, stream([b"a"], "TFRecord"))
        return writer

    job.make_fifo()
    writing = Background(write)
    iterator = iter(without_autotune(pipeline(make().repeat())))
    assert next(iterator).numpy() in (b"a", [b"a"])
    writer = writing.result()
    if missing == "writer":
        job.make_fifo(1)
    if missing != "data":
        os.close(writer)
    wait_until_blocked()
    begun = time.monotonic()
    del iterator
    assert time.monotonic() - begun < A_MOMENT
    assert job.state() == "1"
    if missing == "data":
        with pytest.raises(BrokenPipeError):
            os.write(writer, b"late")
        os.close(writer)


def test_an_interrupted_wait_leaves_the_epoch_to_the_next_reader(job):
    """For a FIFO, and for its writer."""
    for _ in range(2):
        reading = Background(read, make(open_timeout=0.2))
        assert isinstance(reading.result()[1], tf.errors.DeadlineExceededError)
        if not job.pipe().exists():
            job.make_fifo()
    feed(job.pipe(), stream([b"a"], "TFRecord"))
    assert records(make()) == [b"a"]


def test_a_long_wait_is_logged(job, fork_server):
    with fork_server.run(
        """
        import tensorflow as tf
        from sagemaker_tensorflow import PipeModeDataset

        try:
            next(iter(PipeModeDataset("training", open_timeout=10.5)))
        except tf.errors.DeadlineExceededError:
            pass
        """
    ) as program:
        assert program.wait() == 0
        (line,) = [line for line in program.stderr.splitlines() if "has waited" in line]
    assert re.match(r"(.*: )?W", line)  # a warning, before and after 2.17
    assert f"PipeModeDataset has waited 10 s for FIFO '{job.pipe()}' to appear" in line
