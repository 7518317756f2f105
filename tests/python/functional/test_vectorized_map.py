# SPDX-License-Identifier: Apache-2.0
"""``map`` before ``batch`` run in batches: what comes out is what ``tf.data`` gives."""

import itertools
import logging
import re

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pipe_helpers import stream
from sagemaker_tensorflow import PipeModeDataset, channel_dataset

pytestmark = pytest.mark.long

FEATURES = {
    "floats": tf.io.FixedLenFeature([3], tf.float32),
    "label": tf.io.FixedLenFeature([], tf.int64, default_value=7),
    "ints": tf.io.FixedLenFeature([2, 2], tf.int64),
    "raw": tf.io.FixedLenFeature([1], tf.string),
    "text": tf.io.FixedLenFeature([2], tf.string, default_value=["1.5", "x"]),
}
CONSTANTS = np.arange(30, dtype=np.float32).reshape(10, 3)
BAD_RECORDS = {
    "not an Example": b"\xff\xff",
    "empty": b"",
    "other type": None,
    "short raw": None,
    "raw of another length": None,
    "not a number": None,
    "number out of range": None,
    "divided by zero": None,
}


def make_example(number, **changes):
    """A serialized Example, with other values for some features; ``None`` leaves one out."""
    values = {
        "floats": [0.1 * number, -number, 3.0e5 / (number + 1)],
        "label": [number % 10],
        "ints": [number + 1, 2, 3, -number - 1],
        "raw": [bytes((number + i) % 256 for i in range(8))],
        "text": [b"%d.25" % number, b"Text %d" % number],
    } | changes
    lists = {float: "float_list", int: "int64_list", bytes: "bytes_list"}
    example = tf.train.Example()
    for name, value in values.items():
        if value is not None:
            feature = example.features.feature[name]
            getattr(feature, lists[type(value[-1])]).value.extend(value)
    return example.SerializeToString()


def bad_example(kind, number):
    changes = {
        "other type": {"floats": [1, 2, 3]},
        "short raw": {"raw": [b"123"]},
        "raw of another length": {"raw": [bytes(16)]},
        "not a number": {"text": [b"one", b"two"]},
        "number out of range": {"label": [1000]},
        "divided by zero": {"ints": [1, 0, 3, 4]},
    }
    if kind in changes:
        return make_example(number, **changes[kind])
    return BAD_RECORDS[kind]


def parsed(function):
    """A function of a record, from one of the features in it."""

    def of_record(record):
        return function(**tf.io.parse_single_example(record, FEATURES))

    return of_record


def scale(floats, label, raw, **_):
    pixels = tf.reshape(tf.io.decode_raw(raw[0], tf.uint8), [2, 4])
    return {"pixels": tf.cast(pixels, tf.float32) / 255.0 - 0.5, "floats": floats}, label


def casts(ints, **others):
    """A loop of casts, as scripts have it."""
    features = {"ints": ints, "label": others["label"]}
    for name in list(features):
        features[name] = tf.cast(features[name], tf.int32)
    return features


@tf.function
def decorated(record):
    return tf.io.parse_single_example(record, FEATURES)["floats"] * 2.0


@tf.function(jit_compile=True)
def compiled(floats):
    return floats * 2.0


FUNCTIONS = {
    "parse": lambda record: tf.io.parse_single_example(record, FEATURES),
    "record": lambda record: record,
    "scale": parsed(scale),
    "casts": parsed(casts),
    "decorated": decorated,
    "one_hot": parsed(lambda label, **_: tf.one_hot(label, 10)),
    "one_hot of a vector": parsed(lambda ints, **_: tf.one_hot(ints, 5, axis=0, dtype=tf.int64)),
    "constant": parsed(lambda floats, **_: (floats, tf.constant([1, 2]), 3.0)),
    "captured": parsed(lambda label, **_: tf.gather(CONSTANTS, label)),
    "gather": parsed(
        lambda floats, ints, **_: (tf.gather(floats, [2, 0]), tf.gather(ints, 1, axis=1))
    ),
    "gather_nd": parsed(lambda label, **_: tf.gather_nd(CONSTANTS, [[label, 0], [0, 1]])),
    "arithmetic": parsed(
        lambda floats, ints, label, **_: (
            (floats + 1.0) * [1.0, 2.0, 0.3] - CONSTANTS[:2],
            ints // (label + 1) + ints % 7,
            -floats / 3.0,
            tf.square(floats) + abs(floats),
            ints * label,
        )
    ),
    "division": parsed(lambda ints, **_: ints // ints[0, 1]),
    "compare": parsed(
        lambda floats, ints, label, **_: (
            tf.where(floats > 1.0, floats, 0.0),
            tf.where(label > 4, tf.reshape(ints, [4]), [0, 0, 0, 0]),
            (ints >= 2) & tf.not_equal(ints, 3),
            tf.maximum(ints, 2),
        )
    ),
    "shapes": parsed(
        lambda floats, ints, label, **_: (
            tf.expand_dims(floats, -1),
            tf.expand_dims(ints, 1),
            tf.squeeze(tf.reshape(ints, [1, 4, 1])),
            tf.squeeze(tf.reshape(ints, [1, 4, 1]), [0]),
            tf.transpose(ints),
            tf.reshape(ints, [-1]),
            tf.reshape(ints, tf.concat([tf.shape(ints), [1]], 0)),
            tf.reshape(label, [1]),
            tf.ensure_shape(floats, [3]),
        )
    ),
    "slices": parsed(
        lambda floats, ints, text, **_: (
            floats[1:],
            floats[::-1],
            ints[..., 0],
            ints[1, tf.newaxis],
            tf.slice(ints, [0, 1], [2, -1]),
            text[0],
            floats[-1],
        )
    ),
    "joined": parsed(
        lambda floats, ints, label, **_: (
            tf.concat([floats, [5.0]], 0),
            tf.concat([ints, ints + 1], -1),
            tf.stack([label, 3], axis=0),
            tf.stack([floats, floats * 2.0], axis=-1),
            *tf.unstack(floats),
            *tf.split(ints, 2, axis=1),
            *tf.split(floats, [1, 2]),
        )
    ),
    "filled": parsed(
        lambda floats, ints, **_: (
            tf.tile(floats, [2]),
            tf.pad(ints, [[1, 0], [0, 2]]),
            tf.reverse(ints, [0]),
            tf.broadcast_to(floats, [2, 3]),
            tf.zeros_like(floats),
            tf.ones_like(ints),
        )
    ),
    "reduced": parsed(
        lambda ints, **_: (
            tf.reduce_sum(ints),
            tf.reduce_max(ints, axis=1),
            tf.reduce_min(ints, axis=-1, keepdims=True),
            tf.reduce_all(ints > 0),
            tf.size(ints),
            tf.rank(ints),
        )
    ),
    "strings": parsed(
        lambda text, label, **_: (
            tf.strings.lower(text),
            tf.strings.length(text),
            tf.strings.join([text, "!"]),
            tf.strings.as_string(label),
            tf.strings.substr(text, 0, 1),
            tf.strings.regex_replace(text, "T", "t"),
            tf.strings.to_hash_bucket_fast(text, 10),
        )
    ),
    "identities": parsed(lambda floats, **_: tf.identity_n([floats, 3.0])),
    "numbers": parsed(lambda text, **_: tf.strings.to_number(text[0])),
    "raw": parsed(lambda raw, **_: tf.io.decode_raw(raw, tf.int16)),
    "padded raw": parsed(lambda raw, **_: tf.io.decode_raw(raw[0], tf.uint8, fixed_length=4)),
}
# What has no batch form.
OTHERS = {
    "exp": parsed(lambda floats, **_: tf.exp(floats)),
    "mean": parsed(lambda floats, **_: tf.reduce_mean(floats)),
    "random": parsed(lambda floats, **_: floats + tf.random.uniform([3], seed=3)),
    "stateless random of a record": parsed(
        lambda ints, **_: tf.random.stateless_uniform([2], seed=ints[0])
    ),
    "py_function": parsed(lambda floats, **_: tf.numpy_function(np.sort, [floats], tf.float32)),
    "condition": parsed(
        lambda floats, label, **_: tf.cond(label > 3, lambda: floats, lambda: -floats)
    ),
    "sparse": lambda record: tf.io.parse_single_example(
        record, {"ints": tf.io.VarLenFeature(tf.int64)}
    ),
    "ragged": parsed(lambda text, **_: tf.strings.split(text)),
    "float to byte": parsed(lambda floats, **_: tf.cast(floats, tf.uint8)),
    "equal or not": parsed(lambda raw, **_: tf.io.decode_raw(raw[0], tf.uint8) == [1, 2]),
    "XLA": parsed(lambda floats, **_: compiled(floats)),
    "print": parsed(lambda label, **_: (tf.print(label), label)[1]),
}

# What differs from dataset to dataset in messages: names of functions, nodes and datasets.
NAMES = (
    r"\{\{.*?\}\}|\[\[.*?\]\]|\[Op:.*|\s+"
    r"|Error in user-defined function .* Iterator::\S+ "
)

CHAINS = {
    "batch": lambda ds, f, n, drop: ds.map(f).batch(n, drop),
    "script": lambda ds, f, n, drop: (
        ds.repeat(2).prefetch(10).map(f, num_parallel_calls=10).batch(n, drop)
    ),
    "prefetch": lambda ds, f, n, drop: ds.map(f).prefetch(3).batch(n, drop).prefetch(1),
    "shuffled records": lambda ds, f, n, drop: (
        ds.prefetch(2).shuffle(7, seed=3).map(f, num_parallel_calls=2).batch(n, drop)
    ),
    "shuffled results": lambda ds, f, n, drop: (
        ds.repeat(2).map(f, num_parallel_calls=3).shuffle(5, seed=3).batch(n, drop)
    ),
    "shuffled once": lambda ds, f, n, drop: (
        ds.map(f).shuffle(5, seed=3, reshuffle_each_iteration=False).batch(n, drop)
    ),
    "repeated results": lambda ds, f, n, drop: ds.map(f).repeat(2).batch(n, drop),
    "take and skip": lambda ds, f, n, drop: ds.skip(1).map(f).take(9).skip(2).batch(n, drop),
    "shard": lambda ds, f, n, drop: ds.shard(2, 1).map(f).batch(n, drop),
    "parallel batch": lambda ds, f, n, drop: ds.map(f).batch(n, drop, num_parallel_calls=2),
    "map_and_batch": lambda ds, f, n, drop: ds.apply(
        tf.data.experimental.map_and_batch(f, n, drop_remainder=drop)
    ),
    "two maps": lambda ds, f, n, drop: ds.map(f).map(lambda *r: (r, 1)).batch(n, drop),
    "a map without a batch form": lambda ds, f, n, drop: (
        ds.map(f).map(lambda *r: (r, tf.random.stateless_uniform([], [1, 2]))).batch(n, drop)
    ),
    "cache": lambda ds, f, n, drop: ds.map(f).cache().batch(n, drop),
    "filter": lambda ds, f, n, drop: (
        ds.filter(lambda record: tf.strings.length(record) > 1).map(f).batch(n, drop)
    ),
    "options": lambda ds, f, n, drop: (
        ds.with_options(ordered())
        .map(f, num_parallel_calls=2)
        .with_options(ordered())
        .batch(n, drop)
    ),
    "no fusion": lambda ds, f, n, drop: ds.map(f).batch(n, drop).with_options(unfused()),
    "no optimization": lambda ds, f, n, drop: (
        ds.map(f, num_parallel_calls=2).batch(n, drop).with_options(unfused("apply_default"))
    ),
    "ignore_errors": lambda ds, f, n, drop: (
        ds.map(f, num_parallel_calls=2).batch(n, drop).apply(tf.data.experimental.ignore_errors())
    ),
}


FUSED_AND_PARALLEL = ("script", "shuffled records", "map_and_batch", "ignore_errors")


def loop_of_filters(ds):
    for number in (3, 5):
        ds = ds.filter(lambda label: label != number)  # noqa: B023, as scripts do it
    return ds


LABEL = parsed(lambda label, **_: label)
# What is built from the results of ``map`` again and again, or in another way than with positions.
USES = {
    "keywords": lambda ds: [ds.map(LABEL).shuffle(buffer_size=5, seed=1).batch(batch_size=4)],
    "a split": lambda ds: split(ds.map(LABEL).shuffle(50, seed=1, reshuffle_each_iteration=False)),
    "shuffled twice": lambda ds: (
        lambda shuffled: [shuffled.take(3), shuffled.batch(5), shuffled.batch(5)]
    )(ds.map(LABEL).shuffle(10, seed=2)),
    "a loop of filters": lambda ds: [loop_of_filters(ds.map(LABEL)).batch(4)],
    "ragged behind": lambda ds: [
        ds.map(parsed(lambda floats, **_: floats))
        .map(lambda floats: tf.RaggedTensor.from_row_lengths(floats, [1, 2]))
        .batch(4)
    ],
    "nothing behind": lambda ds: [ds.map(LABEL).map(lambda label: (label, None)).batch(4)],
    "any order": lambda ds: [
        ds.map(LABEL, num_parallel_calls=8, deterministic=False).batch(4, drop_remainder=True)
    ],
    "prefetch of none": lambda ds: [ds.prefetch(0).map(LABEL).prefetch(0).batch(4)],
    "prefetch by itself": lambda ds: [ds.map(LABEL).prefetch(tf.data.AUTOTUNE).batch(4)],
    "endless": lambda ds: [ds.map(LABEL).repeat().batch(4).take(12)],
    "never": lambda ds: [ds.map(LABEL).repeat(0).batch(4)],
    "a tensor": lambda ds: [ds.map(LABEL).batch(tf.constant(4, tf.int64), tf.constant(True))],
    "a name": lambda ds: [ds.map(LABEL, name="labels").batch(4, name="batches")],
    "enumerate": lambda ds: [ds.map(LABEL).enumerate().batch(4)],
    "zip": lambda ds: [tf.data.Dataset.zip((ds.map(LABEL), ds.map(LABEL).batch(2)))],
    "windows": lambda ds: [
        ds.map(LABEL).window(3).flat_map(lambda window: window.batch(3)).batch(2)
    ],
}


def split(ds):
    return [ds.skip(5).batch(4), ds.take(5).batch(4)]


def ordered():
    options = tf.data.Options()
    options.deterministic = True
    return options


def unfused(which="map_and_batch_fusion"):
    options = tf.data.Options()
    if which == "map_and_batch_fusion":
        options.experimental_optimization.map_and_batch_fusion = False
    else:
        options.experimental_optimization.apply_default_optimizations = False
    return options


def going(iterator):
    """All elements and errors, in their order."""
    while True:
        try:
            element = next(iterator)
        except StopIteration:
            return
        except tf.errors.OpError as error:
            message = re.sub(NAMES, "", error.message)
            # Of different shapes in a batch, TensorFlow 2.14 says something else where it fuses.
            yield type(error).__name__, re.sub("Cannot(batch|add)tensor.*", "Shapes", message)
        except UnicodeDecodeError:  # TensorFlow's message has the record in it
            yield "error"
        else:
            yield tf.nest.map_structure(lambda tensor: tensor.numpy().tolist(), element)


def what_comes(dataset, limit=100):
    """The same of a new iterator, which must come to an end."""
    seen = list(itertools.islice(going(iter(dataset)), limit))
    assert len(seen) < limit, f"no end: {seen[-3:]}"
    return seen


@pytest.fixture
def make(job, monkeypatch):
    """Makes the channel's dataset: in File mode, since that can be read again."""
    job.write_config({"training": {"TrainingInputMode": "File"}})
    folder = job.pipe_dir / "training"
    folder.mkdir()

    def make(records, vectorize_map):
        folder.joinpath("file").write_bytes(stream(records, "TFRecord"))
        return channel_dataset("training", "TFRecord", vectorize_map=vectorize_map)

    return make


@pytest.fixture
def said(caplog):
    """Whether ``map`` was said to run in batches."""
    caplog.set_level(logging.INFO, "sagemaker_tensorflow")

    def said():
        messages = [r.message for r in caplog.records if r.name.startswith("sagemaker_tensorflow")]
        caplog.clear()
        return bool(messages) and "in batches of" in messages[-1]

    return said


def both(make, records, chain, function, size=4, drop=False):
    """The dataset and that of ``tf.data`` alone."""
    return [
        CHAINS[chain](make(records, vectorize_map), function, size, drop)
        for vectorize_map in (True, False)
    ]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_with_a_batch_form(make, said, function):
    records = [make_example(number) for number in range(30)]
    fast, plain = both(make, records, "batch", FUNCTIONS[function])
    assert said()
    assert fast.element_spec == plain.element_spec
    assert what_comes(fast) == what_comes(plain)


@pytest.mark.parametrize("function", OTHERS)
def test_a_function_without_one(make, said, function):
    records = [make_example(number) for number in range(10)]
    fast, plain = both(make, records, "batch", OTHERS[function])
    assert not said()
    assert fast.element_spec == plain.element_spec
    if function != "random":
        tf.nest.assert_same_structure(next(iter(fast)), next(iter(plain)), expand_composites=True)


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("drop", [False, True])
def test_a_chain(make, said, chain, drop):
    records = [make_example(number) for number in range(30)]
    fast, plain = both(make, records, chain, FUNCTIONS["scale"], drop=drop)
    assert said() == (chain not in ("take and skip", "cache"))
    assert fast.element_spec == plain.element_spec
    assert fast.cardinality() == plain.cardinality()
    assert what_comes(fast) == what_comes(plain)


@pytest.mark.parametrize("use", USES)
def test_a_use(make, use):
    records = [make_example(number) for number in range(30)]
    fast, plain = (USES[use](make(records, vectorize_map)) for vectorize_map in (True, False))
    for one, other in zip(fast, plain, strict=True):
        assert one.element_spec == other.element_spec
        assert lists(one) == lists(other)


def lists(dataset):
    """All elements, of any kind."""

    def of(value):
        if value is None or isinstance(value, tf.data.Dataset):
            return value
        return value.to_list() if isinstance(value, tf.RaggedTensor) else value.numpy().tolist()

    return [tf.nest.map_structure(of, element) for element in dataset]


def test_options_are_those_of_the_call(make):
    options = ordered()
    dataset = make([make_example(0)], True).map(LABEL).with_options(options)
    options.deterministic = False
    assert dataset.batch(2).options().deterministic is True


@pytest.mark.parametrize("axis_of", ["reverse", "sum", "concat", "expand_dims"])
def test_a_dimension_that_is_not_there(make, axis_of):
    """It must not be that of the records."""
    records = [make_example(number) for number in range(8)]
    functions = {
        "reverse": lambda ints: tf.reverse(ints, [-3]),
        "sum": lambda ints: tf.reduce_sum(ints, axis=-3),
        "concat": lambda ints: tf.concat([ints, ints], -3),
        "expand_dims": lambda ints: tf.expand_dims(ints, -4),
    }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)])
    def first(shape):
        function = parsed(lambda ints, **_: functions[axis_of](tf.reshape(ints, shape)))
        return make(records, True).map(function).batch(4).reduce(0, lambda count, _: count + 1)

    with pytest.raises(tf.errors.InvalidArgumentError):
        first([2, 2])


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    kinds=st.lists(st.sampled_from([None, None, None, *BAD_RECORDS]), max_size=20),
    chain=st.sampled_from(list(CHAINS)),
    function=st.sampled_from(["parse", "scale", "casts", "division", "numbers", "raw", "captured"]),
    size=st.integers(1, 6),
    drop=st.booleans(),
)
@example(
    kinds=[None] * 5 + ["short raw"] + [None] * 6,
    chain="batch",
    function="scale",
    size=4,
    drop=False,
)
@example(kinds=[None] * 5 + ["not an Example"], chain="script", function="parse", size=4, drop=True)
def test_bad_records(make, kinds, chain, function, size, drop):
    if chain in FUSED_AND_PARALLEL:
        # There the row that is ready first decides about the shape.
        kinds = [None if kind == "raw of another length" else kind for kind in kinds]
    records = [
        make_example(number) if kind is None else bad_example(kind, number)
        for number, kind in enumerate(kinds)
    ]
    fast, plain = both(make, records, chain, FUNCTIONS[function], size, drop)
    assert what_comes(fast) == what_comes(plain)


@pytest.mark.parametrize("kinds", [[None], [None, None, "short raw", None]])
@pytest.mark.parametrize("chain", ["batch", "no fusion", "shuffled once", "map_and_batch"])
def test_a_checkpoint(make, tmp_path, chain, kinds):
    """Also in the middle of a batch that has to be made anew behind an error."""
    kinds = (kinds * 50)[:37]
    records = [
        make_example(number) if kind is None else bad_example(kind, number)
        for number, kind in enumerate(kinds)
    ]
    dataset, _ = both(make, records, chain, FUNCTIONS["scale"])
    everything = what_comes(dataset)
    assert len(everything) > 5
    for position in range(len(everything)):
        iterator = iter(dataset)
        seen = list(itertools.islice(going(iterator), position))
        assert seen == everything[:position]
        path = tf.train.Checkpoint(iterator=iterator).save(str(tmp_path / "checkpoint"))
        iterator = iter(dataset)
        tf.train.Checkpoint(iterator=iterator).restore(path).assert_consumed()
        assert list(going(iterator)) == everything[position:]


def test_a_pipe(job, said):
    job.write_config({"training": {"TrainingInputMode": "Pipe"}})
    records = [make_example(number) for number in range(10)]
    for epoch in range(2):
        job.pipe(epoch).write_bytes(stream(records[: 10 - epoch], "TFRecord"))
    dataset = PipeModeDataset("training", "TFRecord", open_timeout=5)
    dataset = dataset.repeat(2).prefetch(10).map(FUNCTIONS["scale"], num_parallel_calls=10).batch(4)
    assert said()
    assert [len(labels) for _, labels in what_comes(dataset)] == [4, 4, 4, 4, 3]
    assert job.state() == "2"


def test_a_corrupt_record(job, said):
    """It costs an error, and no other record."""
    job.write_config({"training": {"TrainingInputMode": "Pipe"}})
    records = stream([make_example(number) for number in range(10)], "TFRecord")
    frame = len(stream([make_example(0)], "TFRecord"))
    job.pipe(0).write_bytes(records[: frame + 20] + b"\xff" + records[frame + 21 :])
    dataset = PipeModeDataset("training", "TFRecord").map(FUNCTIONS["scale"]).batch(4)
    assert said()
    error, *batches = what_comes(dataset)
    assert error[0] == "DataLossError"
    assert [labels for _, labels in batches] == [[0, 2, 3, 4], [5, 6, 7, 8], [9]]


def test_attributes(job, said):
    job.write_config({"training": {"TrainingInputMode": "Pipe"}})
    records = [b"%d" % number for number in range(20)]
    job.pipe(0).write_bytes(stream(records, "RecordIO"))
    dataset = PipeModeDataset("training", attributes=["image", "label"])
    dataset = dataset.map(
        lambda line: (tf.strings.length(line["image"]), tf.strings.to_number(line["label"]))
    ).batch(4)
    assert said()
    lengths, labels = zip(*what_comes(dataset), strict=True)
    assert [*itertools.chain(*lengths)] == [1] * 5 + [2] * 5
    assert [*itertools.chain(*labels)] == list(range(1, 20, 2))


def test_the_seed_of_the_program(make):
    records = [make_example(number) for number in range(30)]
    orders = []
    for vectorize_map in (True, False):
        tf.random.set_seed(5)
        dataset = make(records, vectorize_map)
        dataset = dataset.map(parsed(lambda label, **_: label)).shuffle(8).repeat(2).batch(4)
        orders.append(what_comes(dataset))
    assert orders[0] == orders[1]


def test_in_a_function(make):
    records = [make_example(number) for number in range(10)]

    @tf.function
    def total(dataset):
        total = tf.constant(0, tf.int64)
        for labels in dataset:
            total += tf.reduce_sum(labels)
        return total

    labels = parsed(lambda label, **_: label)
    assert total(make(records, True).map(labels).batch(4)) == 45

    @tf.function
    def total_of_a_file(offset):
        total = tf.constant(0, tf.int64)
        # The function captures a tensor that is known only when the graph runs.
        dataset = make(records, True).map(parsed(lambda label, **_: label + offset)).batch(4)
        for labels in dataset:
            total += tf.reduce_sum(labels)
        return total

    assert total_of_a_file(tf.constant(1, tf.int64)) == 55


def test_a_graph(make):
    records = [make_example(number) for number in range(10)]
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        dataset = make(records, True).repeat(1).map(parsed(lambda label, **_: label)).batch(6)
        element = tf.compat.v1.data.make_one_shot_iterator(dataset).get_next()
        assert session.run(element).tolist() == [0, 1, 2, 3, 4, 5]
        assert session.run(element).tolist() == [6, 7, 8, 9]
        with pytest.raises(tf.errors.OutOfRangeError):
            session.run(element)


def test_it_can_be_turned_off(make, caplog, monkeypatch):
    caplog.set_level(logging.INFO, "sagemaker_tensorflow")
    make([make_example(0)], False).map(FUNCTIONS["parse"]).batch(4)
    monkeypatch.setenv("SAGEMAKER_TENSORFLOW_VECTORIZE_MAP", "0")
    make([make_example(0)], True).map(FUNCTIONS["parse"]).batch(4)
    assert not caplog.records
    with pytest.raises(TypeError, match="vectorize_map must be a bool"):
        make([], 1)


def test_it_says_why_not(make, caplog):
    caplog.set_level(logging.INFO, "sagemaker_tensorflow")
    make([make_example(0)], True).map(OTHERS["exp"]).batch(4)
    assert caplog.messages[-1].startswith("map runs record by record, not in batches: op Exp ('")
