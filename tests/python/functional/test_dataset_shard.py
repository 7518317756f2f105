# SPDX-License-Identifier: Apache-2.0
"""shard directly on a PipeModeDataset stays in the op and gives what tf.data gives."""

import pytest
import tensorflow as tf
from dataset_helpers import make, read, records, without_autotune
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipe_helpers import stream
from sagemaker_tensorflow import PipeModeDataset

RECORDS = [b"record %03d" % number for number in range(100)]


def shards():
    counts = st.integers(1, 5)
    return counts.flatmap(lambda count: st.tuples(st.just(count), st.integers(0, count - 1)))


# What may stand behind a dataset: of each at most what tf.data itself can do with any records.
STEPS = st.lists(
    st.tuples(st.just("shard"), shards())
    | st.tuples(st.just("repeat"), st.tuples(st.integers(0, 3)))
    | st.tuples(st.just("skip"), st.tuples(st.integers(0, 5))),
    max_size=4,
)
BATCH = st.none() | st.tuples(st.integers(1, 4), st.booleans())


def apply(dataset, steps):
    for name, arguments in steps:
        dataset = getattr(dataset, name)(*arguments)
    return dataset


def as_lists(dataset):
    return [element.tolist() for element in dataset.as_numpy_iterator()]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    length=st.integers(0, 30),
    before=STEPS,
    batch=BATCH,
    after=STEPS,
    read_ahead_bytes=st.sampled_from([0, 100, 1 << 22]),
)
def test_same_elements_as_tf_data(serve, length, before, batch, after, read_ahead_bytes):
    steps = [*before, *([("batch", batch)] if batch else []), *after]
    data = RECORDS[:length]
    with serve({"training": lambda _: data}, chunk_bytes=100):
        expected = apply(tf.data.Dataset.from_tensor_slices([*data, b""]).take(length), steps)
        ds = apply(make(read_ahead_bytes=read_ahead_bytes), steps)
        assert ds.element_spec == expected.element_spec
        ds, expected = without_autotune(ds), list(expected.as_numpy_iterator())
        assert [*map(str, ds.as_numpy_iterator())] == [*map(str, expected)]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sizes=st.lists(st.integers(0, 40_000), max_size=30),
    shard=shards(),
    across=st.booleans(),
    size=st.integers(0, 3),
    count=st.integers(0, 12),
    read_ahead_bytes=st.sampled_from([0, 100, 1 << 22]),
)
def test_goes_on_in_the_shard_where_it_was(
    serve, tmp_path_factory, sizes, shard, across, size, count, read_ahead_bytes
):
    epoch = [bytes([number]) * length for number, length in enumerate(sizes)]
    with serve({"training": lambda _: epoch}):
        ds = make(read_ahead_bytes=read_ahead_bytes)
        ds = ds.repeat(3).shard(*shard) if across else ds.shard(*shard).repeat(3)
        ds = without_autotune(ds.batch(size) if size else ds)
        iterator = iter(ds)
        for _ in range(count):
            next(iterator, None)
        folder = tmp_path_factory.mktemp("checkpoint")
        path = tf.train.Checkpoint(iterator=iterator).save(str(folder / "checkpoint"))
        expected = [element.numpy() for element in iterator]
        del iterator
        iterator = iter(ds)
        tf.train.Checkpoint(iterator=iterator).restore(path).assert_consumed()
        assert [*map(str, (element.numpy() for element in iterator))] == [*map(str, expected)]


@pytest.mark.parametrize("record_format", ["RecordIO", "TextLine"])
def test_all_shards_together_are_the_channel(serve, record_format):
    with serve({"training": lambda _: RECORDS}, record_format):
        parts = [records(make(record_format=record_format).shard(3, i)) for i in range(3)]
    assert [len(part) for part in parts] == [34, 33, 33]
    assert sorted(sum(parts, [])) == RECORDS  # noqa: RUF017


@pytest.mark.parametrize(
    ("dataset", "in_op"),
    [
        (lambda ds: ds.shard(3, 1), True),
        (lambda ds: ds.shard(3, 1).repeat(2).batch(4), True),
        (lambda ds: ds.repeat(2).shard(3, 1).batch(4), True),
        (lambda ds: ds.shard(3, 1).shard(2, 0).repeat(), True),
        (lambda ds: ds.repeat().shard(3, 1).shard(2, 0), True),
        (lambda ds: ds.shard(tf.constant(3, tf.int64), tf.constant(2, tf.int64)), True),
        (lambda ds: ds.shard(2**62, 59), True),
        (lambda ds: ds.shard(2**62, 59).shard(8, 0), False),
        (lambda ds: ds.batch(4).shard(3, 1), False),
        (lambda ds: ds.shard(3, 1).repeat(2).shard(2, 0), False),
        (lambda ds: ds.repeat(2).shard(3, 1).repeat(2), False),
    ],
)
def test_what_stays_in_the_op(job, dataset, in_op):
    assert isinstance(dataset(make()), PipeModeDataset) == in_op


def test_more_shards_than_the_op_can_count(serve):
    with serve({"training": lambda _: RECORDS}):
        assert records(make().shard(2**62, 59)) == [RECORDS[59]]
        assert records(make().shard(2**62, 59).shard(8, 0)) == [RECORDS[59]]


def test_known_only_in_the_graph(serve):
    @tf.function
    def joined(count, index):
        return make().shard(count, index).reduce("", lambda text, record: text + record)

    with serve({"training": [[b"a", b"b", b"c", b"d"]]}):
        assert joined(tf.constant(2, tf.int64), tf.constant(1, tf.int64)) == b"bd"


@pytest.mark.parametrize("arguments", [(0, 0), (2, 2), (2, -1)])
def test_shards_that_are_none(job, arguments):
    with pytest.raises(tf.errors.InvalidArgumentError):
        make().shard(*arguments)
    assert job.state() is None


def test_corrupt_records_of_others_are_errors_too(serve):
    """As with tf.data's: what is dropped has been checked."""
    data = bytearray(stream(RECORDS[:4], "TFRecord"))
    data[len(data) // 4 + 12] ^= 1  # the payload of the second
    with serve({"training": [bytes(data)]}):
        elements, error = read(make().shard(2, 0))
    assert elements == RECORDS[:1]
    assert "payload CRC mismatch" in error.message


def test_only_own_records_count_in_stats(serve):
    with serve({"training": [RECORDS]}):
        ds = make().shard(4, 1)
        assert len(records(ds)) == 25
        assert (ds.stats().records, ds.stats().queued_records) == (25, 0)
