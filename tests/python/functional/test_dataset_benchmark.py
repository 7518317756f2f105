# SPDX-License-Identifier: Apache-2.0
"""The lines on stdout that tools of the predecessor look for in a job's log."""

import re

import pytest
import tensorflow as tf
from dataset_helpers import make, read, records
from pipe_helpers import stream

# As such tools have them.
TOTALS = [
    re.compile(r"total read_time_ms: (\d+)$"),
    re.compile(r"total read_bytes: (\d+)$"),
    re.compile(r"total read_GB/s: ([0-9.e+-]+)$"),
]
INTERVAL = re.compile(r"Iterator records: (\d+)$")


@pytest.fixture
def printed(capfd):
    """What was printed since the last call: the numbers of each kind of line."""

    def printed():
        lines = capfd.readouterr().out.splitlines()
        return [
            [match.group(1) for line in lines if (match := kind.search(line))]
            for kind in (INTERVAL, *TOTALS)
        ]

    return printed


def test_totals(serve, printed):
    with serve({"training": [[b"abc"] * 10]}):
        records(make(benchmark=True))
    interval, (milliseconds,), (size,), (speed,) = printed()
    assert interval == []
    assert int(milliseconds) >= 0
    assert int(size) == 30
    assert float(speed) > 0


def test_totals_agree(serve, printed):
    """An epoch that takes 0.2 s because of its writer."""
    with serve({"training": [[bytes(100_000)] * 20]}, bytes_per_second=1e7, chunk_bytes=1 << 14):
        records(make(benchmark=True, read_ahead_bytes=0))
    _, (milliseconds,), (size,), (speed,) = printed()
    assert int(size) == 2_000_000
    assert int(milliseconds) >= 100
    # The time is printed in whole milliseconds.
    assert float(speed) == pytest.approx(2e6 / 2**30 / (int(milliseconds) / 1000), rel=0.02)


@pytest.mark.parametrize(
    ("interval", "count", "lines"),
    [(1, 3, ["1", "2", "3"]), (10, 25, ["10", "20"]), (10, 9, []), (0, 9, [])],
)
def test_intervals(serve, printed, interval, count, lines):
    with serve({"training": [[b"abc"] * count]}):
        records(make(benchmark_records_interval=interval))
    assert printed() == [lines, [], [], []]


def test_silent_unless_asked(serve, capfd):
    with serve({"training": [[b"abc"]]}):
        records(make())
    assert capfd.readouterr().out == ""


def test_once_for_each_iterator_that_has_read(serve, printed):
    with serve({"training": [[b"a"], [b"bb"], [b"ccc"]]}):
        ds = make(benchmark=True)
        unused = [iter(ds) for _ in range(2)]
        records(ds.repeat(2))  # tf.data makes a third iterator
        del unused
        assert printed()[2] == ["1", "2"]
        iterator = iter(ds)
        next(iterator)
        assert printed()[2] == []
        del iterator  # before its end
        assert printed()[2] == ["3"]


def test_after_an_error(serve, printed):
    with serve({"training": [stream([b"abc", b"d"], "TFRecord")[:-1]]}):
        elements, error = read(make(benchmark=True))
    assert elements == [b"abc"]
    assert isinstance(error, tf.errors.DataLossError)
    del error  # its traceback holds the iterator
    assert printed()[2] == ["3"]


def test_lines_of_several_channels_do_not_mix(serve, capfd):
    names = [f"channel_{number}" for number in range(4)]
    with serve({name: [[b"abc"] * 500] for name in names}):
        channels = tf.data.Dataset.from_tensor_slices(names)
        ds = channels.interleave(
            lambda name: make(name, benchmark=True, benchmark_records_interval=1),
            cycle_length=4,
            num_parallel_calls=4,
        )
        assert len(records(ds)) == 2000
    lines = capfd.readouterr().out.splitlines()
    prefix = "PipeModeDatasetOp::Dataset::Iterator "
    kinds = [
        re.fullmatch(re.escape(prefix) + r"(\D+): [0-9.e+-]+", line).group(1) for line in lines
    ]
    assert kinds.count("records") == 2000
    assert kinds.count("records read_time_ns") == 2000
    assert kinds.count("records read_bytes") == 2000
    assert kinds.count("total read_bytes") == 4
