# SPDX-License-Identifier: Apache-2.0
"""What dataset.stats() says: all of it true, live, from any thread and in any mode."""

import dataclasses
import time

import pytest
import tensorflow as tf
from dataset_helpers import make, read, records, without_autotune
from pipe_helpers import Background, feed, stream, wait_until
from sagemaker_tensorflow import (
    ChannelStats,
    PipeModeDatasetException,
    channel_dataset,
    channel_stats,
)

RECORDS = [b"record %02d" % number for number in range(40)]
READ_AHEAD = [0, 1 << 22]


def test_the_counts_of_epochs_that_were_read(serve):
    with serve({"training": [RECORDS, [], RECORDS[:7]]}):
        ds = make()
        assert dataclasses.astuple(ds.stats())[2:] == (0, 0, 0, 0, 0, 0, 0, 0.0, 0.0, 0.0)
        assert len(records(ds.repeat(3).batch(6))) == 8
        stats = ds.stats()
        assert (stats.channel, stats.pipe_dir) == ("training", ds.pipe_dir)
        assert (stats.records, stats.bytes) == (47, 47 * 9)
        assert (stats.epochs, stats.corrupt_records) == (3, 0)
        assert (stats.queued_records, stats.queued_bytes) == (0, 0)


def test_a_folder_by_whatever_spelling(serve):
    with serve({"training": [RECORDS]}) as job:
        ds = make(pipe_dir=f"{job.pipe_dir}/")
        records(ds)
        folder = str(job.pipe_dir)
        for stats in (
            ds.stats(),
            channel_stats("training", f"{folder}//"),
            channel_stats("training"),
        ):
            assert (stats.pipe_dir, stats.records) == (folder, len(RECORDS))


BY_NAME = """
import json, os, sys
from sagemaker_tensorflow import PipeModeDataset, PipeModeDatasetException, channel_stats, testing

seen = []

def look(**options):
    try:
        stats = channel_stats("training", **options)
        seen.append([os.path.relpath(stats.pipe_dir, BASE), stats.records])
    except PipeModeDatasetException as error:
        seen.append(str(error).replace(BASE, ""))

def read(host):
    folders = {name: getattr(host, name) for name in ("pipe_dir", "state_dir", "config_dir")}
    ds = PipeModeDataset("training", "TFRecord", open_timeout=30, read_timeout=30, **folders)
    look()
    list(ds.as_numpy_iterator())
    look()

os.environ["SAGEMAKER_BASE_DIR"] = f"{BASE}/default"
look()
for name, count in (("one", 1), ("two", 2), ("default", 3)):
    with testing.serve({"training": [[b"a"] * count]}, "TFRecord", base_dir=f"{BASE}/{name}") as h:
        read(h)
look(pipe_dir=f"{BASE}/one/input/data")
look(pipe_dir=f"{BASE}/none")
print(json.dumps(seen))
"""


def test_a_channel_by_its_name_alone(fork_server, tmp_path):
    with fork_server.run(f"BASE = {str(tmp_path)!r}\n{BY_NAME}") as program:
        seen = program.result()
    several = "channel 'training' was read in several folders: pass pipe_dir, one of "
    assert seen == [
        ["default/input/data", 0],  # nobody has read it
        ["default/input/data", 0],
        ["one/input/data", 1],
        ["one/input/data", 1],
        f"{several}['/one/input/data', '/two/input/data'], or ask a dataset by its stats()",
        ["default/input/data", 0],  # there is a dataset of it now
        ["default/input/data", 3],
        ["one/input/data", 1],
        ["none", 0],
    ]


@pytest.mark.parametrize("mode", ["File", "FastFile"])
def test_a_channel_in_another_folder_by_its_name_alone(fork_server, tmp_path, mode):
    program = """
        import json
        import pathlib
        from sagemaker_tensorflow import channel_dataset, channel_stats
        from sagemaker_tensorflow.records import encode

        base = pathlib.Path(BASE)
        (base / "data" / "training").mkdir(parents=True)
        (base / "data" / "training" / "part").write_bytes(encode(b"a", "TFRecord"))
        config = {"training": {"TrainingInputMode": MODE}}
        (base / "inputdataconfig.json").write_text(json.dumps(config))
        ds = channel_dataset("training", "TFRecord", pipe_dir=base / "data", config_dir=base)
        assert list(ds.as_numpy_iterator()) == [b"a"]
        stats = channel_stats("training")
        assert stats == ds.stats()
        print(json.dumps([stats.pipe_dir, stats.records]))
    """
    program = program.replace("BASE", repr(str(tmp_path))).replace("MODE", repr(mode))
    with fork_server.run(program) as running:
        assert running.result() == [str(tmp_path / "data"), 1]


@pytest.mark.parametrize("mode", ["File", "FastFile"])
def test_a_channel_that_is_no_pipe(job, mode):
    job.write_config({"training": {"TrainingInputMode": mode}})
    (job.pipe_dir / "training").mkdir()
    (job.pipe_dir / "training" / "part").write_bytes(stream(RECORDS, "TFRecord"))
    for epochs in range(1, 3):
        ds = channel_dataset("training", "TFRecord")
        assert len(records(ds.batch(3).prefetch(1))) == 14
        assert channel_stats("training").records == epochs * len(RECORDS)
        assert ds.repeat().stats() == channel_stats("training", job.pipe_dir)
        assert ds.stats().pipe_dir == str(job.pipe_dir)


@pytest.mark.parametrize("read_ahead_bytes", READ_AHEAD)
@pytest.mark.parametrize("size", [0, 7])
def test_all_iterators_of_the_channel_add_up(serve, read_ahead_bytes, size):
    with serve({"training": [RECORDS] * 3, "validation": [RECORDS[:5]]}):
        ds = make(read_ahead_bytes=read_ahead_bytes)
        ds = ds.batch(size) if size else ds
        for epochs in range(1, 4):
            records(ds)
            stats = channel_stats("training")
            assert (stats.records, stats.epochs) == (epochs * len(RECORDS), epochs)
        records(make("validation"))
        assert make("validation").stats().records == 5
        assert ds.stats() == stats  # of an own dataset, nothing has changed


@pytest.mark.parametrize("read_ahead_bytes", READ_AHEAD)
@pytest.mark.parametrize("allowed", [0, 1])
def test_corrupt_records_count_whether_skipped_or_reported(serve, read_ahead_bytes, allowed):
    bad = bytearray(stream([b"corrupt"], "TFRecord"))
    bad[-1] ^= 1
    with serve({"training": [bytes(bad) + stream([b"good"], "TFRecord")]}):
        ds = make(read_ahead_bytes=read_ahead_bytes, max_corrupted_records_to_skip=allowed)
        assert (read(ds)[1] is None) == (allowed > 0)
        assert ds.stats().corrupt_records == 1


@pytest.mark.parametrize("read_ahead_bytes", READ_AHEAD)
def test_records_before_a_restored_position_do_not_count(serve, tmp_path, read_ahead_bytes):
    with serve({"training": [RECORDS] * 3}):
        ds = without_autotune(make(read_ahead_bytes=read_ahead_bytes).repeat(2))
        iterator = iter(ds)
        for _ in range(50):
            next(iterator)
        path = tf.train.Checkpoint(iterator=iterator).save(str(tmp_path / "checkpoint"))
        del iterator
        iterator = iter(ds)
        tf.train.Checkpoint(iterator=iterator).restore(path)
        before = channel_stats("training")
        assert len(list(iterator)) == 30
        after = channel_stats("training")
        assert (after.records - before.records, after.epochs - before.epochs) == (30, 1)


@pytest.mark.parametrize("read_ahead_bytes", READ_AHEAD)
def test_waiting_shows_while_it_lasts(job, read_ahead_bytes):
    """For the FIFO, for its writer, for data: it all is waiting for the pipe."""
    ds = make(read_ahead_bytes=read_ahead_bytes)
    iterator = iter(ds)
    first = Background(lambda: next(iterator).numpy())
    names = ["pipe_wait_seconds", "starved_seconds"]

    def wait_until_more():
        before = ds.stats()
        wait_until(lambda: all(getattr(ds.stats(), n) >= getattr(before, n) + 0.05 for n in names))

    wait_until_more()
    path = job.make_fifo()
    wait_until_more()
    with path.open("wb", buffering=0) as fifo:
        wait_until_more()
        fifo.write(stream([b"first"], "TFRecord"))
        assert first.result() == b"first"
    stats = ds.stats()
    assert stats.records == 1
    assert stats.backpressure_seconds < stats.pipe_wait_seconds
    if read_ahead_bytes == 0:  # whoever waits for the pipe is who asked
        assert stats.starved_seconds == stats.pipe_wait_seconds


def test_waits_add_up_to_the_time_that_passed(job):
    ds = make(read_ahead_bytes=0)
    begin = time.monotonic()
    feeding = Background(
        lambda: (time.sleep(0.3), feed(job.make_fifo(), stream([b"a"], "TFRecord")))
    )
    assert records(ds) == [b"a"]
    assert 0.25 <= ds.stats().pipe_wait_seconds <= time.monotonic() - begin
    feeding.result()


def test_the_queue_and_what_becomes_of_it(serve):
    with serve({"training": [RECORDS]}):
        ds = make()
        iterator = iter(without_autotune(ds))
        next(iterator)
        wait_until(lambda: ds.stats().epochs == 1)  # all is read
        assert (ds.stats().queued_records, ds.stats().queued_bytes) == (39, 39 * 9)
        next(iterator)
        assert (ds.stats().queued_records, ds.stats().queued_bytes) == (38, 38 * 9)
        del iterator
        wait_until(lambda: ds.stats().queued_records == 0)
        assert ds.stats().queued_bytes == 0
        assert ds.stats().records == 2


@pytest.mark.parametrize("size", [0, 4])
def test_the_pipe_waits_while_the_queue_is_full(serve, size):
    with serve({"training": [[bytes(1000)] * 2000]}):
        ds = make(read_ahead_bytes=10_000)
        ds = ds.batch(size) if size else ds
        iterator = iter(without_autotune(ds))
        next(iterator)
        wait_until(lambda: channel_stats("training").backpressure_seconds > 0.1)
        stats = channel_stats("training")
        # A group in the queue, one on its way there, and one that is being taken apart.
        assert 0 < stats.queued_bytes <= (10_000 + 2 * 4000 if size else 3 * 256 * 1000)
        assert stats.backpressure_seconds > stats.starved_seconds


def test_the_pipe_waits_between_epochs_that_nobody_asks_for(serve):
    with serve({"training": [RECORDS, RECORDS]}):
        iterator = iter(without_autotune(make().repeat()))
        next(iterator)
        wait_until(lambda: channel_stats("training").backpressure_seconds > 0.1)


def test_without_reading_ahead_the_pipe_waits_for_whoever_is_away(serve):
    with serve({"training": [RECORDS]}):
        ds = make(read_ahead_bytes=0)
        iterator = iter(without_autotune(ds))
        next(iterator)
        time.sleep(0.2)
        next(iterator)
        assert 0.15 <= ds.stats().backpressure_seconds <= 5


def test_an_absence_with_nothing_there_is_none_of_the_pipes(job):
    ds = make(read_ahead_bytes=0)
    iterator = iter(without_autotune(ds))
    with job.make_fifo().open("r+b", buffering=0) as fifo:
        fifo.write(stream([b"first"], "TFRecord"))
        next(iterator)
        time.sleep(0.2)
        second = Background(lambda: next(iterator))
        wait_until(lambda: ds.stats().pipe_wait_seconds > 0.03)
        fifo.write(stream([b"second"], "TFRecord"))
        second.result()
    assert ds.stats().backpressure_seconds < 0.15


def test_numbers_only_grow_while_others_read(serve):
    with serve({"training": [RECORDS * 50] * 10}):
        ds = make()
        reading = Background(lambda: [records(ds.batch(3)) for _ in range(10)])
        last = ds.stats()
        while reading.is_alive():
            now = ds.stats()
            for field in dataclasses.fields(ChannelStats):
                if field.name not in {"queued_records", "queued_bytes"}:
                    assert getattr(now, field.name) >= getattr(last, field.name)
            last = now
        reading.result()
    assert ds.stats().records == 10 * 50 * len(RECORDS)


def test_in_a_graph_and_under_a_strategy(serve):
    with serve({"training": [RECORDS]}):
        ds = make()
        records(ds)

        @tf.function
        def traced():
            return ds.stats().records

        assert traced() == len(RECORDS)
        with tf.distribute.MirroredStrategy(["CPU:0"]).scope(), tf.Graph().as_default():
            assert ds.stats().records == len(RECORDS)


def test_in_tensorflow_1_behaviour(fork_server):
    with fork_server.run(
        """
        import json
        import tensorflow as tf
        tf.compat.v1.disable_eager_execution()
        from sagemaker_tensorflow import channel_stats
        stats = channel_stats("training", "/nowhere")
        print(json.dumps([stats.records, stats.starved_seconds, stats.pipe_dir]))
        """
    ) as program:
        assert program.result() == [0, 0.0, "/nowhere"]


def test_a_channel_that_is_not_known_yet(job):
    seen = []

    def dataset_of(channel):
        ds = make(channel)
        with pytest.raises(PipeModeDatasetException, match=r"channel_stats\('<name>'\)"):
            ds.stats()
        seen.append(ds)
        return ds

    tf.data.Dataset.from_tensors("training").flat_map(dataset_of)
    assert seen
