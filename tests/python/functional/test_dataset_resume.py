# SPDX-License-Identifier: Apache-2.0
"""An iterator's position is saved in a checkpoint and taken up again, also in a new process."""

import gzip
import itertools
import signal
import time

import pytest
import tensorflow as tf
from dataset_helpers import make, without_autotune
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipe_helpers import feed, stream

RECORDS = [b"record %03d" % number for number in range(100)]


def serve_again(serve, epoch, **options):
    """A channel that carries the same in every epoch, as that of a job started again does."""
    return serve({"training": lambda _: epoch}, **options)


def take(iterator, count):
    """The next elements, as bytes or lists of bytes."""
    elements = [element.numpy() for element in itertools.islice(iterator, count)]
    return [element if isinstance(element, bytes) else element.tolist() for element in elements]


def save(iterator, tmp_path):
    return tf.train.Checkpoint(iterator=iterator).save(str(tmp_path / "checkpoint"))


def restore(dataset, path):
    iterator = iter(dataset)
    tf.train.Checkpoint(iterator=iterator).restore(path).assert_consumed()
    return iterator


PIPELINES = {
    "scalars": lambda ds: ds,
    "batch": lambda ds: ds.batch(7),
    "repeat and batch": lambda ds: ds.repeat(3).batch(7),
    "tf.data's repeat": lambda ds: ds.map(tf.identity).repeat(3),
    "map and prefetch": lambda ds: ds.batch(7).map(tf.strings.upper, 2).prefetch(3),
    "shuffle": lambda ds: ds.shuffle(20, seed=3).batch(7),
    "skip": lambda ds: ds.skip(5).batch(7),
}


@pytest.mark.parametrize("read_ahead_bytes", [0, 1, 1 << 22])
@pytest.mark.parametrize("pipeline", PIPELINES.values(), ids=PIPELINES)
@pytest.mark.parametrize("count", [0, 1, 5])
def test_goes_on_where_it_was(serve, tmp_path, pipeline, count, read_ahead_bytes):
    with serve_again(serve, RECORDS):
        dataset = pipeline(make(read_ahead_bytes=read_ahead_bytes))
        iterator = iter(dataset)
        take(iterator, count)
        path = save(iterator, tmp_path)
        expected = take(iterator, 20)
        del iterator
        assert take(restore(dataset, path), 20) == expected


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sizes=st.lists(st.integers(0, 40_000), max_size=30),
    batch_size=st.integers(1, 8),
    count=st.integers(0, 12),
    read_ahead_bytes=st.sampled_from([0, 100, 1 << 22]),
)
def test_every_position_of_any_records(
    serve, tmp_path_factory, sizes, batch_size, count, read_ahead_bytes
):
    epoch = [bytes([number]) * size for number, size in enumerate(sizes)]
    with serve_again(serve, epoch):
        dataset = make(read_ahead_bytes=read_ahead_bytes).repeat(2).batch(batch_size)
        iterator = iter(dataset)
        take(iterator, count)
        path = save(iterator, tmp_path_factory.mktemp("checkpoint"))
        expected = take(iterator, 1000)
        del iterator
        assert take(restore(dataset, path), 1000) == expected


def test_saved_again_after_it_was_restored(serve, tmp_path):
    with serve_again(serve, RECORDS):
        dataset = make().batch(3)
        got = []
        path = save(iter(dataset), tmp_path)
        for _ in range(5):
            iterator = restore(dataset, path)
            got += take(iterator, 2)
            path = save(iterator, tmp_path)
            del iterator
        assert sum(got, []) == RECORDS[:30]  # noqa: RUF017


def test_an_iterator_at_its_end_stays_there(serve, tmp_path):
    with serve_again(serve, RECORDS) as job:
        dataset = make()
        iterator = iter(dataset)
        take(iterator, 1000)
        path = save(iterator, tmp_path)
        state = job.state()
        assert take(restore(dataset, path), 1000) == []
        assert job.state() == state  # no FIFO was opened for that


def test_saving_reads_and_opens_nothing(serve, tmp_path):
    with serve_again(serve, RECORDS) as job:
        path = save(iter(make()), tmp_path)
        iterator = restore(make(), path)
        assert job.state() is None
        assert take(iterator, 1) == RECORDS[:1]


def test_skipped_corrupt_records_are_no_part_of_the_count(serve, tmp_path):
    bytes_ = bytearray(stream(RECORDS, "TFRecord"))
    frame = len(bytes_) // len(RECORDS)
    bytes_[10 * frame + 12] ^= 1
    with serve_again(serve, bytes(bytes_)):
        dataset = make(max_corrupted_records_to_skip=1).batch(5)
        iterator = iter(dataset)
        take(iterator, 4)
        path = save(iterator, tmp_path)
        expected = take(iterator, 1000)
        del iterator
        assert take(restore(dataset, path), 1000) == expected
        assert expected[0] == RECORDS[21:26]


def test_a_stream_that_is_too_short(serve, tmp_path):
    with serve({"training": [RECORDS, RECORDS[:10], RECORDS]}):
        dataset = without_autotune(make())  # or elements read ahead would be in the checkpoint
        iterator = iter(dataset)
        take(iterator, 50)
        path = save(iterator, tmp_path)
        del iterator
        iterator = restore(dataset, path)
        with pytest.raises(tf.errors.DataLossError) as raised:
            next(iterator)
        assert (
            "channel 'training': the epoch to go on with ends after 10 records, before the saved "
            "position, 50; is it the same data, in the same order?"
        ) in raised.value.message
        assert take(iterator, 1000) == []


@pytest.mark.parametrize("read_ahead_bytes", [0, 1 << 22])
def test_a_fifo_that_is_late(job, tmp_path, read_ahead_bytes):
    """The position waits for it, whatever the time limit, and no epoch is counted for that."""
    data = stream(RECORDS, "TFRecord")
    options = {"read_ahead_bytes": read_ahead_bytes}
    feed(job.make_fifo(0), data)
    iterator = iter(without_autotune(make(**options).repeat(3)))
    take(iterator, 7)
    path = save(iterator, tmp_path)
    del iterator
    iterator = restore(without_autotune(make(open_timeout=0.1, **options).repeat(3)), path)
    for _ in range(2):
        with pytest.raises(tf.errors.DeadlineExceededError):
            next(iterator)
    for epoch in range(1, 4):
        feed(job.make_fifo(epoch), data)
    assert take(iterator, 1000) == RECORDS[7:] + RECORDS * 2


def test_a_dataset_with_fewer_epochs(serve, tmp_path):
    with serve_again(serve, RECORDS):
        iterator = iter(make().repeat(3))
        take(iterator, 250)
        path = save(iterator, tmp_path)
        with pytest.raises(tf.errors.InvalidArgumentError) as raised:
            restore(make().repeat(2), path)
        assert "the saved position is behind 2 epochs, but the dataset reads 2 only" in (
            raised.value.message
        )


PROGRAM = """
import sys
import tensorflow as tf
from sagemaker_tensorflow import PipeModeDataset

folder, compression_type, read_ahead_bytes, epochs, count = sys.argv[1:]
ds = PipeModeDataset(
    "training", "TFRecord", compression_type=compression_type or None,
    read_ahead_bytes=int(read_ahead_bytes), open_timeout=30, read_timeout=30,
)
seen = tf.Variable(tf.zeros([int(count)], tf.int64))
iterator = iter(ds.repeat(int(epochs)).batch(10).prefetch(2))
checkpoint = tf.train.Checkpoint(iterator=iterator, seen=seen)
manager = tf.train.CheckpointManager(checkpoint, folder, max_to_keep=2)
checkpoint.restore(manager.latest_checkpoint)
for step, batch in enumerate(iterator):
    numbers = tf.strings.to_number(tf.strings.substr(batch, 7, 3), tf.int64)
    seen.assign(tf.tensor_scatter_nd_add(seen, numbers[:, None], tf.ones_like(numbers)))
    if step % 3 == 2:
        manager.save()
        print("saved", flush=True)
manager.save()
print("done", seen.numpy().tolist(), flush=True)
"""


@pytest.mark.parametrize("read_ahead_bytes", [0, 1 << 22])
@pytest.mark.parametrize("compression_type", ["", "GZIP"])
def test_a_killed_training_sees_every_record_exactly_once(
    serve, fork_server, tmp_path, compression_type, read_ahead_bytes
):
    epochs = 3
    epoch = stream(RECORDS, "TFRecord")
    if compression_type:
        epoch = gzip.compress(epoch)
    arguments = [tmp_path, compression_type, read_ahead_bytes, epochs, len(RECORDS)]
    # Slowly, so that kills meet it anywhere: before the first checkpoint, while it saves, between
    # epochs.
    with serve_again(serve, epoch, chunk_bytes=200, bytes_per_second=30_000) as job:
        for saves, delay in [(0, 0.01), (1, 0.002), (1, 0.03), (2, 0.011), (3, 0.0)]:
            with fork_server.run(PROGRAM, *arguments) as program:
                # On a fast machine it may have come to its end by then.
                program.wait_for_output("saved", times=saves, or_good_end=True)
                time.sleep(delay)
                if not program.has_ended():
                    program.send(signal.SIGKILL)
                program.wait()
        with fork_server.run(PROGRAM, *arguments) as program:
            assert program.wait() == 0, program.stderr
            done = program.stdout.splitlines()[-1]
        assert done == f"done {[epochs] * len(RECORDS)}"
        assert int(job.state()) > epochs


@pytest.mark.parametrize("shuffle", [{}, {"ShuffleConfig": {"Seed": 1}}])
@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("count", [0, 5])
def test_a_channel_that_is_reshuffled(serve, tmp_path, capfd, shuffle, known, count):
    """A position in an epoch whose order will not come again: whoever restores it is told."""
    with serve_again(serve, RECORDS) as job:
        job.write_config({"training": {"TrainingInputMode": "Pipe", **shuffle}})
        dataset = make() if known else tf.data.Dataset.from_tensors("training").flat_map(make)
        dataset = without_autotune(dataset)
        iterator = iter(dataset)
        take(iterator, count)
        path = save(iterator, tmp_path)
        del iterator
        capfd.readouterr()
        assert take(restore(dataset, path), 1) == RECORDS[count : count + 1]
    warnings = capfd.readouterr().err.count("channel 'training' has a ShuffleConfig")
    assert warnings == (1 if shuffle and count > 0 else 0)
