# SPDX-License-Identifier: Apache-2.0
"""Much of everything, for long: nothing grows, nothing slows down, nothing is lost.

What is measured is printed; ``make test-slow PYTEST_OPTIONS='-k load'`` runs it all.
"""

import os
import time
from pathlib import Path

import pytest
import tensorflow as tf
from pipe_helpers import Background, stream, wait_until
from sagemaker_tensorflow import PipeModeDataset
from sagemaker_tensorflow.records import ChannelReader
from sagemaker_tensorflow.testing import serve

pytestmark = pytest.mark.long

RECORD = b"r" * 1000


def usage():
    """Resident bytes, open files and threads of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "bytes": pages * os.sysconf("SC_PAGE_SIZE"),
        "files": len(list(Path("/proc/self/fd").iterdir())),
        "threads": len(list(Path("/proc/self/task").iterdir())),
    }


def assert_flat(before, after, more_bytes=64 << 20):
    assert after["bytes"] < before["bytes"] + more_bytes
    assert after["files"] <= before["files"]
    # A thread that was joined is in the list for a moment longer.
    wait_until(lambda: usage()["threads"] <= before["threads"])


def dataset(host, channel="training", **options):
    return PipeModeDataset(
        channel,
        "TFRecord",
        pipe_dir=host.pipe_dir,
        state_dir=host.state_dir,
        config_dir=host.config_dir,
        open_timeout=60,
        read_timeout=60,
        **options,
    )


def check_epochs(job_dir, epochs):
    """Reads so many small epochs of one channel, feeding it included.

    Returns:
        Epochs/s of the whole, and the processor time of an epoch, in ms, in the first and the last
        tenth: what a busy machine does not change much.
    """
    tenth = epochs // 10
    times = []
    begun = time.monotonic()
    with serve({"training": lambda _: [RECORD]}, "TFRecord", base_dir=job_dir) as host:
        iterator = iter(dataset(host).repeat(epochs))
        for number, record in enumerate(iterator):
            assert record.numpy() == RECORD
            if number % tenth == 0:
                times.append(time.process_time())
            if number == tenth:
                before = usage()
        assert number == epochs - 1
        assert_flat(before, usage())
        state = Path(host.state_dir, ".training-pipe_mode-state").read_text()
        assert state == str(epochs)
    first, last = times[1] - times[0], times[-1] - times[-2]
    return epochs / (time.monotonic() - begun), first / tenth * 1e3, last / tenth * 1e3


def test_load_of_epochs(tmp_path):
    check_epochs(tmp_path, 500)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_load_of_100_000_epochs(tmp_path, capsys):
    rate, first, last = check_epochs(tmp_path, 100_000)
    with capsys.disabled():
        print(
            f"\n100,000 epochs: {rate:.0f}/s; {first:.2f} ms of processor each, {last:.2f} at last"
        )
    assert last < 1.5 * first


def check_channels(job_dir, channels, epochs, records):
    """Reads so many channels at once, each by two iterators in turn; returns records/s."""

    def twice(ds):
        return ds.concatenate(ds)

    names = [f"channel{number}" for number in range(channels)]
    with serve(
        {name: [[RECORD] * records] * epochs for name in names}, "TFRecord", base_dir=job_dir
    ) as host:
        begun = time.monotonic()
        combined = tf.data.Dataset.sample_from_datasets(
            [twice(dataset(host, name).repeat(epochs // 2).batch(100)) for name in names],
            stop_on_empty_dataset=False,
            seed=1,
        )
        count = sum(int(tf.size(batch)) for batch in combined)
        seconds = time.monotonic() - begun
        assert count == channels * epochs * records
        for name in names:
            assert [report.reader_closed for report in host.reports[name]] == [False] * epochs
    return count / seconds


def test_load_of_channels(tmp_path):
    check_channels(tmp_path / "warm", 20, epochs=2, records=200)
    before = usage()
    check_channels(tmp_path / "again", 20, epochs=4, records=200)
    assert_flat(before, usage())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_load_of_20_channels_and_many_epochs(tmp_path, capsys):
    check_channels(tmp_path / "warm", 20, epochs=2, records=1000)
    before = usage()
    rate = check_channels(tmp_path / "long", 20, epochs=100, records=10_000)
    assert_flat(before, usage(), more_bytes=128 << 20)
    with capsys.disabled():
        print(f"\n20 channels, 100 epochs each: {rate:.0f} records/s of 1 kB")


def check_interleave(job_dir):
    readers, records = 24, 300
    # One channel, an epoch for each: whoever comes first.
    epochs = [[b"%d %d" % (epoch, i) for i in range(records)] for epoch in range(readers)]
    with serve({"training": epochs}, "TFRecord", base_dir=job_dir) as host:
        ds = tf.data.Dataset.range(readers).interleave(
            lambda _: dataset(host), cycle_length=readers, num_parallel_calls=readers
        )
        seen = sorted(record.numpy() for record in ds)
    assert seen == sorted(record for epoch in epochs for record in epoch)


def test_load_of_24_readers_in_parallel_interleave(tmp_path):
    check_interleave(tmp_path / "warm")
    before = usage()
    check_interleave(tmp_path / "again")
    assert_flat(before, usage())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_load_of_50_gigabytes(tmp_path, capsys):
    piece = [RECORD * 100] * 10_000  # 1 GB an epoch
    rates = []
    with serve({"training": lambda _: piece}, "TFRecord", base_dir=tmp_path) as host:
        iterator = iter(dataset(host).repeat(50).batch(64))
        before = None
        begun, count = time.monotonic(), 0
        for batch in iterator:
            count += batch.shape[0]
            if count >= 10_000:
                rates.append(count * len(RECORD) * 100 / (time.monotonic() - begun) / 1e6)
                begun, count = time.monotonic(), 0
                before = before or usage()
        assert_flat(before, usage())
    with capsys.disabled():
        print(f"\n50 GB: {rates[0]:.0f} MB/s at first, {rates[-1]:.0f} at last")
    assert len(rates) == 49 or len(rates) == 50
    assert rates[-1] > rates[0] / 2


@pytest.mark.parametrize("pause", [0, 0.005])
def test_load_of_single_bytes(make_job, pause):
    job = make_job()
    job.make_fifo()
    records = [b"one", b"", b"three"]
    before = usage()
    writer = Background(trickle, job.pipe(), stream(records, "TFRecord", "GZIP"), pause)
    assert read_gzip(job) == records
    writer.result()
    assert_flat(before, usage())


def read_gzip(job):
    with ChannelReader(
        "training",
        "TFRecord",
        compression_type="GZIP",
        pipe_dir=job.pipe_dir,
        state_dir=job.state_dir,
        open_timeout=30,
        read_timeout=30,
    ) as reader:
        return list(reader)


def trickle(path, data, pause):
    with path.open("wb", buffering=0) as fifo:
        for byte in data:
            fifo.write(bytes([byte]))
            time.sleep(pause)


def test_load_of_a_consumer_that_sleeps(tmp_path):
    # What nobody takes waits in the pipe and within the budget, and is all there afterwards.
    records = [RECORD] * 20_000
    with serve({"training": [records]}, "TFRecord", base_dir=tmp_path) as host:
        iterator = iter(dataset(host, read_ahead_bytes=1 << 20))
        next(iterator)
        before = usage()
        time.sleep(0.3)
        assert_flat(before, usage(), more_bytes=16 << 20)
        assert sum(1 for _ in iterator) == len(records) - 1
