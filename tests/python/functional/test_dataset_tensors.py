# SPDX-License-Identifier: Apache-2.0
"""The memory of records is used again, but never while anybody can still see it."""

import gc

import pytest
import tensorflow as tf
from dataset_helpers import make, records

# Of all the ways to hold bytes: in the string itself, allocated, moved to the consumer, read
# straight from the pipe.
SIZES = [0, 5, 22, 23, 300, 5_000, 40_000, 1_500_000]
EPOCH = [bytes([number % 251]) * SIZES[number * 5 % len(SIZES)] for number in range(97)]


def batches(epoch, size):
    return [epoch[begin : begin + size] for begin in range(0, len(epoch), size)]


@pytest.mark.parametrize("read_ahead_bytes", [0, 1, 2**22])
@pytest.mark.parametrize("size", [1, 4, 1000])
def test_batches_that_are_kept_do_not_change(serve, size, read_ahead_bytes):
    with serve({"training": [EPOCH]}):
        kept = list(make(read_ahead_bytes=read_ahead_bytes).batch(size))
        assert [batch.numpy().tolist() for batch in kept] == batches(EPOCH, size)


@pytest.mark.parametrize("read_ahead_bytes", [0, 2**22])
def test_scalars_that_are_kept_do_not_change(serve, read_ahead_bytes):
    with serve({"training": [EPOCH]}):
        kept = list(make(read_ahead_bytes=read_ahead_bytes))
        assert [record.numpy() for record in kept] == EPOCH


def test_parts_of_batches_do_not_change(serve):
    with serve({"training": [EPOCH]}):
        kept = []
        for batch in make().batch(8):
            kept += [batch[0], batch[2:4], tf.identity(batch)[-1:], tf.unstack(batch)[-1]]
        expected = []
        for batch in batches(EPOCH, 8):
            expected += [batch[0], batch[2:4], batch[-1:], batch[-1]]
        assert [part.numpy() if part.ndim == 0 else part.numpy().tolist() for part in kept] == (
            expected
        )


def test_batches_outlive_their_iterator(serve):
    with serve({"training": [EPOCH]}):
        iterator = iter(make().batch(10))
        first = next(iterator)
        del iterator
        gc.collect()
        assert first.numpy().tolist() == EPOCH[:10]


@pytest.mark.parametrize(
    "through",
    [
        pytest.param(lambda ds: ds.unbatch(), id="unbatch"),
        pytest.param(lambda ds: ds.rebatch(3).unbatch(), id="rebatch"),
        pytest.param(lambda ds: ds.cache().repeat(2).take(13).unbatch(), id="cache"),
        pytest.param(lambda ds: ds.prefetch(4).unbatch().batch(5).unbatch(), id="prefetch"),
        pytest.param(lambda ds: ds.window(3).flat_map(lambda w: w).unbatch(), id="window"),
        pytest.param(
            lambda ds: ds.map(lambda b: tf.strings.upper(b), num_parallel_calls=2).unbatch(),
            id="map",
        ),
    ],
)
def test_whatever_takes_batches_apart_gets_the_records(serve, through):
    with serve({"training": [EPOCH]}):
        got = records(through(make().batch(8, drop_remainder=False)))
        expected = [record.upper() for record in EPOCH]
        assert [record.upper() for record in got[: len(EPOCH)]] == expected


def test_shuffled_batches_hold_every_record_once(serve):
    with serve({"training": [EPOCH] * 3}):
        got = records(make().repeat(3).batch(4).shuffle(10, seed=1).unbatch())
        assert sorted(got) == sorted(EPOCH * 3)


def test_a_function_may_write_over_its_batch(serve):
    # tf.strings.lower may work in place, in our memory.
    epoch = [b"ABCDEFGHIJKLMNOPQRSTUVWXYZ%03d" % number for number in range(50)]
    with serve({"training": [epoch] * 4}):
        got = records(make().repeat(4).batch(4).map(tf.strings.lower).unbatch())
        assert got == [record.lower() for record in epoch] * 4
