# SPDX-License-Identifier: Apache-2.0
"""batch and repeat directly on a PipeModeDataset stay in the op and give what tf.data gives."""

import itertools

import pytest
import tensorflow as tf
from dataset_helpers import make, read, records
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipe_helpers import Background, stream
from sagemaker_tensorflow import PipeModeDataset

EPOCHS = st.lists(
    st.lists(st.binary(max_size=40) | st.integers(1, 2_000_000).map(bytes), max_size=9),
    min_size=1,
    max_size=4,
)


def as_lists(dataset):
    return [element.tolist() for element in dataset.as_numpy_iterator()]


def reference(epochs):
    return tf.data.Dataset.from_tensor_slices([*itertools.chain(*epochs), b"end"]).take(
        sum(map(len, epochs))
    )


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    epochs=EPOCHS,
    size=st.integers(1, 12),
    drop=st.booleans(),
    skip=st.integers(0, 3),
    record_format=st.sampled_from(["TFRecord", "RecordIO"]),
)
def test_same_batches_as_tf_data(serve, epochs, size, drop, skip, record_format):
    with serve({"training": epochs}, record_format, chunk_bytes=1000):
        ds = make(record_format=record_format).repeat(len(epochs)).batch(size, drop).skip(skip)
        expected = reference(epochs).batch(size, drop).skip(skip)
        assert ds.element_spec == expected.element_spec
        assert as_lists(ds) == as_lists(expected)


def test_stays_one_op(job):
    ds = make().repeat(20).batch(64)
    assert isinstance(ds, PipeModeDataset)
    assert ds.channel == "training"
    graph = tf.compat.v1.GraphDef.FromString(
        tf.raw_ops.DatasetToGraphV2(
            input_dataset=ds._variant_tensor, external_state_policy=1
        ).numpy()
    )
    assert [node.op for node in graph.node if node.op.endswith("Dataset")] == ["PipeModeDataset"]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((None,), tf.data.INFINITE_CARDINALITY),
        ((-1, 3), tf.data.INFINITE_CARDINALITY),
        ((2, 3), tf.data.UNKNOWN_CARDINALITY),
        ((2, 0), 0),
        ((0, None), 0),
    ],
)
def test_repeated_repeats(job, counts, expected):
    ds = make()
    for count in counts:
        ds = ds.repeat(count)
    assert isinstance(ds, PipeModeDataset)
    assert ds.cardinality() == expected


def test_repeat_of_repeat_multiplies(serve):
    with serve({"training": [[b"%d" % epoch] for epoch in range(6)]}) as job:
        assert records(make().repeat(2).repeat(3)) == [b"%d" % epoch for epoch in range(6)]
        assert job.state() == "6"


def test_an_endless_repeat_passes_over_empty_epochs(serve):
    epochs = [[], [b"a"], [], [], [b"b", b"c"]]
    with serve({"training": epochs}):
        assert records(make().repeat().take(3)) == [b"a", b"b", b"c"]


def test_batches_then_repeat_keeps_epochs_apart(serve):
    with serve({"training": [[b"a", b"b", b"c"], [b"d"], [b"one too many for repeat"]]}):
        assert as_lists(make().batch(2).repeat(2)) == [[b"a", b"b"], [b"c"], [b"d"]]


def test_tensors_as_arguments(serve):
    with serve({"training": [[b"a", b"b", b"c"]]}):
        ds = make().repeat(tf.constant(1, tf.int64))
        ds = ds.batch(tf.constant(2, tf.int64), tf.constant(True))
        assert ds.element_spec.shape == [2]
        assert as_lists(ds) == [[b"a", b"b"]]


def test_arguments_known_only_in_the_graph(serve):
    @tf.function
    def concatenated(count, size):
        ds = make().repeat(count).batch(size)
        return ds.reduce("", lambda text, batch: text + tf.strings.reduce_join(batch) + "|")

    with serve({"training": [[b"a", b"b", b"c"], [b"d"], [b"one too many for repeat"]]}):
        assert concatenated(tf.constant(2, tf.int64), tf.constant(3, tf.int64)) == b"abc|d|"


@pytest.mark.parametrize("size", [0, -1])
def test_a_batch_size_that_is_none(job, size):
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match="Batch size"):
        make().batch(size)


def test_an_error_loses_no_record_of_the_batch(serve):
    good = stream([b"a", b"b"], "TFRecord")
    bad = bytearray(stream([b"corrupt"], "TFRecord"))
    bad[-1] ^= 1
    with serve({"training": [good + bytes(bad) + stream([b"c", b"d", b"e"], "TFRecord")]}):
        iterator = iter(make().batch(4))
        with pytest.raises(tf.errors.DataLossError, match="record 2 at byte 34"):
            next(iterator)
        assert [element.numpy().tolist() for element in iterator] == [
            [b"a", b"b", b"c", b"d"],
            [b"e"],
        ]


def test_a_stream_cut_short_still_gives_what_came_before(serve):
    cut = stream([b"a", b"b", b"c"], "TFRecord")[:-1]
    with serve({"training": [cut]}):
        iterator = iter(make().batch(2))
        assert next(iterator).numpy().tolist() == [b"a", b"b"]
        with pytest.raises(tf.errors.DataLossError):
            next(iterator)
        assert [*iterator] == []


def test_interval_lines_with_batches(serve, capfd):
    with serve({"training": [[b"abc"] * 10]}):
        read(make(benchmark=True, benchmark_records_interval=4).batch(3))
    lines = capfd.readouterr().out
    assert [
        int(line.split()[-1]) for line in lines.splitlines() if "Iterator records: " in line
    ] == [
        6,
        9,
    ]
    assert "total read_bytes: 30" in lines


def test_totals_for_each_epoch(serve, capfd):
    with serve({"training": [[b"abc"] * 10, [b"d"], [b"one too many for repeat"]]}):
        read(make(benchmark=True).repeat(2).batch(3))
    lines = capfd.readouterr().out.splitlines()
    totals = [int(line.split()[-1]) for line in lines if "total read_bytes: " in line]
    assert totals == [30, 1]


@pytest.mark.parametrize("read_ahead_bytes", [0, 1, 1000, 1 << 22])
@pytest.mark.parametrize("size", [0, 7])
def test_any_read_ahead_gives_the_same(serve, read_ahead_bytes, size):
    epochs = [[bytes([epoch]) * (length * 37) for length in range(100)] for epoch in range(3)]
    with serve({"training": epochs}, chunk_bytes=700):
        ds = make(read_ahead_bytes=read_ahead_bytes).repeat(3)
        expected = reference(epochs)
        if size:
            ds, expected = ds.batch(size), expected.batch(size)
        assert records(ds.map(tf.strings.reduce_join)) == records(
            expected.map(tf.strings.reduce_join)
        )


@pytest.mark.parametrize("read_ahead_bytes", [0, 1 << 22])
def test_records_come_as_soon_as_they_are_there(job, read_ahead_bytes):
    """No record waits for others to fill a group of read-ahead."""
    path = job.make_fifo()
    iterator = iter(make(read_ahead_bytes=read_ahead_bytes))
    writer = Background(lambda: path.open("wb", buffering=0))
    # The writer has its end open before the first record is asked for.
    first = Background(lambda: next(iterator).numpy())
    with writer.result() as fifo:
        for record in (b"one", b"two", b"three"):
            fifo.write(stream([record], "TFRecord"))
            assert first.result() == record
            first = Background(lambda: next(iterator, None))
    assert first.result() is None


def test_nothing_is_read_behind_an_error_that_nobody_goes_past(serve):
    bad = bytearray(stream([b"corrupt"], "TFRecord"))
    bad[0] ^= 1
    with serve({"training": [bytes(bad), [b"next"]]}) as job:
        iterator = iter(make().repeat())
        with pytest.raises(tf.errors.DataLossError):
            next(iterator)
        assert job.state() == "1"
        assert next(iterator) == b"next"
        assert job.state() == "2"


def test_skipped_records_are_logged(serve, capfd):
    bad = bytearray(stream([b"corrupt"], "TFRecord"))
    bad[-1] ^= 1
    with serve({"training": [bytes(bad) + stream([b"good"], "TFRecord")]}):
        assert records(make(max_corrupted_records_to_skip=1)) == [b"good"]
    assert "skipped 1 corrupt records of channel 'training'" in capfd.readouterr().err
