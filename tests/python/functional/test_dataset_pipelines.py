# SPDX-License-Identifier: Apache-2.0
"""PipeModeDataset is a tf.data.Dataset: under each transformation, in graphs and strategies."""

import itertools

import pytest
import tensorflow as tf
from dataset_helpers import make, read, records


def numbered(epoch, count=6):
    return [b"%d:%d" % (epoch, record) for record in range(count)]


def epochs(count, length=6):
    return [numbered(epoch, length) for epoch in range(count)]


def test_what_it_says_of_itself(job):
    ds = make()
    assert isinstance(ds, tf.data.Dataset)
    assert ds.element_spec == tf.TensorSpec([], tf.string)
    assert ds.cardinality() == tf.data.UNKNOWN_CARDINALITY
    assert tf.compat.v1.data.get_output_types(ds) == tf.string
    assert tf.compat.v1.data.get_output_shapes(ds) == []


@pytest.mark.parametrize("who", ["the op", "tf.data"])
@pytest.mark.parametrize("count", [1, 3])
def test_repeat_goes_from_fifo_to_fifo(serve, count, who):
    # One epoch more than are read: tf.data's repeat makes an iterator too many.
    with serve({"training": epochs(count + 1)}) as job:
        ds = make() if who == "the op" else make().prefetch(1)
        assert records(ds.repeat(count)) == [*itertools.chain(*epochs(count))]
        assert job.state() == str(count)


def test_repeat_for_ever(serve):
    with serve({"training": lambda epoch: numbered(epoch, 1)}) as job:
        assert records(make().repeat().take(25)) == [b"%d:0" % epoch for epoch in range(25)]
        assert job.state() == "25"


def test_each_iterator_is_an_epoch(serve):
    with serve({"training": epochs(3)}):
        ds = make()
        assert [records(ds) for _ in range(3)] == epochs(3)


def test_take_and_skip(serve):
    with serve({"training": epochs(3)}):
        ds = make()
        assert records(ds.take(2)) == numbered(0)[:2]
        assert records(ds.skip(4)) == numbered(1)[4:]
        assert records(ds.skip(7)) == []


TRANSFORMATIONS = {
    "batch": lambda ds: ds.batch(1).unbatch(),
    "map": lambda ds: ds.map(tf.strings.lower),
    "parallel map": lambda ds: ds.map(tf.strings.lower, num_parallel_calls=2, deterministic=True),
    "prefetch": lambda ds: ds.prefetch(2),
    "filter": lambda ds: ds.filter(lambda record: True),
    "window": lambda ds: ds.window(2).flat_map(lambda window: window),
    "cache": lambda ds: ds.cache(),
    "enumerate": lambda ds: ds.enumerate().map(lambda number, record: record),
    "several": lambda ds: ds.batch(2, drop_remainder=True).unbatch().prefetch(tf.data.AUTOTUNE),
    "cardinality": lambda ds: ds.apply(tf.data.experimental.assert_cardinality(6)),
}


@pytest.mark.parametrize("transform", TRANSFORMATIONS.values(), ids=TRANSFORMATIONS)
def test_transformations(serve, transform):
    with serve({"training": epochs(1)}) as job:
        assert records(transform(make())) == numbered(0)
        assert job.state() == "1"


def test_shuffle(serve):
    with serve({"training": epochs(1)}):
        assert sorted(records(make().shuffle(4))) == numbered(0)


def test_concatenate_reads_one_epoch_after_the_other(serve):
    with serve({"training": epochs(2)}):
        ds = make()
        assert records(ds.concatenate(ds)) == [*itertools.chain(*epochs(2))]


def test_zip_of_two_channels(serve):
    channels = {"training": [[b"a", b"b", b"c"]], "validation": [[b"0", b"1"]]}
    with serve(channels):
        pairs = tf.data.Dataset.zip((make("training"), make("validation")))
        assert records(pairs) == [(b"a", b"0"), (b"b", b"1")]


CHANNELS = {f"channel_{letter}": [[letter.encode() * 2] * 3] for letter in "abcd"}


@pytest.mark.parametrize("parallel", [None, 2, tf.data.AUTOTUNE])
def test_interleave_over_channels(serve, parallel):
    with serve(CHANNELS) as job:
        ds = tf.data.Dataset.from_tensor_slices(sorted(CHANNELS)).interleave(
            make, cycle_length=4, block_length=1, num_parallel_calls=parallel
        )
        assert records(ds) == [b"aa", b"bb", b"cc", b"dd"] * 3
        assert [job.state(channel) for channel in CHANNELS] == ["1"] * 4


def test_interleave_over_epochs_of_channels(serve):
    channels = {name: [[name.encode()]] * 3 for name in ("a", "b")}
    with serve(channels):
        names = tf.data.Dataset.from_tensor_slices(["a", "b"])
        ds = names.interleave(make, cycle_length=2).repeat(3)
        assert records(ds) == [b"a", b"b"] * 3


def test_interleave_with_a_channel_that_is_not_there(serve):
    with serve({"training": [[b"a"]], "validation": [[b"b"]]}):
        ds = tf.data.Dataset.from_tensor_slices(["training", "tests"]).flat_map(make)
        elements, error = read(ds)
    assert elements == [b"a"]
    assert isinstance(error, tf.errors.InvalidArgumentError)
    assert (
        "channel 'tests' is not one of this job's Pipe-mode channels: 'training', 'validation'"
        in error.message
    )


def test_interleave_with_what_is_no_channel_name(job):
    elements, error = read(tf.data.Dataset.from_tensors("../training").flat_map(make))
    assert elements == []
    assert isinstance(error, tf.errors.InvalidArgumentError)
    assert "'../training' is not a valid channel name" in error.message


def test_tf_function(serve):
    @tf.function
    def join(ds):
        result = tf.constant("")
        for record in ds:
            result += record
        return result

    with serve({"training": epochs(2)}) as job:
        assert join(make()) == b"".join(numbered(0))
        assert join(make()) == b"".join(numbered(1))
        assert job.state() == "2"


def test_a_dataset_made_in_a_tf_function(serve):
    @tf.function
    def join(channel):
        return make(channel).reduce(tf.constant(""), lambda joined, record: joined + record)

    with serve({"training": epochs(2)}):
        assert [join(tf.constant("training")) for _ in range(2)] == [
            b"".join(numbered(epoch)) for epoch in range(2)
        ]


def test_an_iterator_in_a_tf_function(serve):
    @tf.function
    def two(iterator):
        return next(iterator), next(iterator)

    with serve({"training": epochs(1)}):
        iterator = iter(make())
        assert [element.numpy() for _ in range(3) for element in two(iterator)] == numbered(0)


def test_get_next_as_optional(serve):
    with serve({"training": epochs(1, 1)}):
        iterator = iter(make())
        assert iterator.get_next_as_optional().has_value()
        assert not iterator.get_next_as_optional().has_value()


def test_a_graph_of_tensorflow_1(serve):
    with serve({"training": epochs(1)}), tf.Graph().as_default():
        element = tf.compat.v1.data.make_one_shot_iterator(make().batch(6)).get_next()
        with tf.compat.v1.Session() as session:
            assert session.run(element).tolist() == numbered(0)
            with pytest.raises(tf.errors.OutOfRangeError):
                session.run(element)


def test_a_strategy_distributes_it(serve):
    with serve({"training": epochs(1)}) as job:
        strategy = tf.distribute.MirroredStrategy(["CPU:0"])
        batches = strategy.experimental_distribute_dataset(make().batch(4))
        assert [batch.numpy().tolist() for batch in batches] == [numbered(0)[:4], numbered(0)[4:]]
        assert job.state() == "1"


def test_a_batch_owns_its_bytes(serve):
    with serve({"training": [[bytes([n]) * 100 for n in range(200)]]}):
        batch = next(iter(make().batch(200)))
        assert batch.numpy().tolist() == [bytes([n]) * 100 for n in range(200)]
