# SPDX-License-Identifier: Apache-2.0
"""``parse_example``, held against ``tf.io.parse_example``."""

import random

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from sagemaker_tensorflow import PipeModeDataset, parse_example

DTYPES = {"bytes": tf.string, "float": tf.float32, "int64": tf.int64}
VALUES = {
    "bytes": st.binary(max_size=30),
    "float": st.floats(width=32, allow_nan=False),
    "int64": st.integers(-(1 << 63), (1 << 63) - 1),
}
FEATURES = {
    "label": tf.io.FixedLenFeature([], tf.int64),
    "weight": tf.io.FixedLenFeature([2], tf.float32, default_value=[0.5, 1.5]),
    "image": tf.io.FixedLenFeature([1, 2], tf.string, default_value=[["none", ""]]),
}


def make_example(features):
    """Serializes features, from names to pairs of a kind and a list of values."""
    example = tf.train.Example()
    for name, (kind, values) in features.items():
        getattr(example.features.feature[name], f"{kind}_list").value.extend(values)
    return example.SerializeToString()


def outcome(parse, serialized, features):
    """What ``parse`` makes of it: the tensors as arrays, or the type of its error."""
    try:
        parsed = parse(serialized, features)
    except tf.errors.OpError as error:
        return type(error)
    except UnicodeDecodeError:  # of TensorFlow's message, which quotes the Example
        return tf.errors.InvalidArgumentError
    return {
        (key, number): np.asarray(part.numpy())
        for key, value in parsed.items()
        for number, part in enumerate(parts(value))
    }


def parts(value):
    """The tensors that a parsed feature consists of."""
    if isinstance(value, tf.SparseTensor):
        return [value.indices, value.values, value.dense_shape]
    if isinstance(value, tf.RaggedTensor):
        return [value.values, value.row_splits]
    return [value]


def assert_same(serialized, features):
    expected = outcome(tf.io.parse_example, serialized, features)
    found = outcome(parse_example, serialized, features)
    if isinstance(expected, type) or isinstance(found, type):
        assert found is expected
        return
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key].dtype == value.dtype
        np.testing.assert_array_equal(found[key], value)


@st.composite
def spec(draw, kind):
    """What is asked of a feature that holds values of ``kind``."""
    dtype = DTYPES[kind]
    feature = draw(st.sampled_from(["fixed", "fixed", "sparse", "ragged", "sequence"]))
    if feature == "sparse":
        return tf.io.VarLenFeature(dtype)
    if feature == "ragged":
        splits = draw(st.sampled_from([tf.int32, tf.int64]))
        return tf.io.RaggedFeature(dtype, row_splits_dtype=splits)
    values = VALUES[kind]
    shape = draw(st.sampled_from([[], [1], [3], [2, 2]]))
    if feature == "sequence":
        default = draw(st.none() | values)
        return tf.io.FixedLenSequenceFeature(
            shape, dtype, allow_missing=True, default_value=default
        )
    default = draw(st.none() | st.lists(values, min_size=12, max_size=12))
    if default is not None:
        default = np.array(default[: int(np.prod(shape))], dtype=object).reshape(shape).tolist()
    return tf.io.FixedLenFeature(shape, dtype, default)


@st.composite
def specs_and_examples(draw):
    """Features to parse, and Examples that have them, mostly."""
    names = draw(st.lists(st.text(max_size=9), min_size=1, max_size=6, unique=True))
    specs, kinds = {}, {}
    for name in names:
        kind = kinds[name] = draw(st.sampled_from(sorted(DTYPES)))
        specs[name] = draw(spec(kind))
    examples = []
    for _ in range(draw(st.integers(0, 4))):
        features = {}
        for name in draw(st.permutations([*names, "stranger"])):
            fate = draw(st.integers(0, 19))
            if fate == 0:
                continue
            kind = kinds.get(name, "bytes") if fate > 1 else draw(st.sampled_from(sorted(DTYPES)))
            size = int(np.prod(getattr(specs.get(name), "shape", 3)))
            if not isinstance(specs.get(name), tf.io.FixedLenFeature):
                size *= draw(st.integers(0, 4))
            size = size if fate > 2 else draw(st.integers(0, 5))
            values = draw(st.lists(VALUES[kind], min_size=size, max_size=size))
            features[name] = (kind, values)
        examples.append(make_example(features))
    return specs, examples


@settings(deadline=None, max_examples=60)
@given(specs_and_examples())
def test_results_and_errors_are_tensorflows(specs_and_examples):
    specs, examples = specs_and_examples
    assert_same(tf.constant(examples, tf.string), specs)
    for example in examples:
        assert_same(tf.constant(example), specs)


@settings(deadline=None)
@given(specs_and_examples(), st.randoms(use_true_random=False))
def test_damage_is_refused_or_read_as_tensorflow_reads_it(specs_and_examples, chance):
    specs, examples = specs_and_examples
    for example in examples:
        damaged = bytearray(example)
        for _ in range(min(len(damaged), 2)):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        damaged = bytes(damaged[: chance.randint(0, len(damaged))])
        expected = outcome(tf.io.parse_example, tf.constant([damaged]), specs)
        found = outcome(parse_example, tf.constant([damaged]), specs)
        # TensorFlow refuses encodings that protobuf allows and nobody writes.
        if isinstance(found, type) or isinstance(expected, type):
            assert found is tf.errors.InvalidArgumentError or isinstance(expected, type)
            continue
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value)


def test_concatenated_examples_are_merged():
    example = make_example({"label": ("int64", [1])}) + make_example({"label": ("int64", [2])})
    assert_same(tf.constant([example]), FEATURES)
    assert parse_example([example], FEATURES)["label"].numpy() == [2]


ANY_LENGTH = {
    "words": tf.io.VarLenFeature(tf.string),
    "ragged": tf.io.RaggedFeature(tf.int64),
    "long": tf.io.RaggedFeature(tf.float32, value_key="numbers", row_splits_dtype=tf.int64),
    "sequence": tf.io.FixedLenSequenceFeature([2], tf.float32, True, default_value=-1.0),
}
# What TensorFlow parses.
OTHERS = {
    "matrix": tf.io.RaggedFeature(
        tf.int64, "ragged", partitions=[tf.io.RaggedFeature.UniformRowLength(1)]
    ),
    "pairs": tf.io.SparseFeature("at", "ragged", tf.int64, size=10),
}


def examples_of_any_length(count):
    chance = random.Random(1)
    return [
        make_example(
            {
                "label": ("int64", [number]),
                "words": ("bytes", [b"w" * number] * chance.randrange(4)),
                "ragged": ("int64", range(length)),
                "at": ("int64", range(length)),
                "numbers": ("float", range(chance.randrange(100))),
                "sequence": ("float", range(2 * chance.randrange(4))),
            }
        )
        for number in range(count)
        for length in [chance.randrange(4)]
    ]


def test_features_of_any_length():
    examples = examples_of_any_length(20)
    features = FEATURES | ANY_LENGTH
    assert list(parse_example(examples, features)) == sorted(features)
    for some in (examples, examples[:1], [], examples[3]):
        assert_same(tf.constant(some, tf.string), features)
        assert_same(tf.constant(some, tf.string), ANY_LENGTH)
    assert parse_example(examples, features)["long"].row_splits.dtype == tf.int64


@pytest.mark.parametrize("key", OTHERS)
def test_features_that_tensorflow_parses(key):
    examples = examples_of_any_length(20)
    features = {**FEATURES, "words": ANY_LENGTH["words"], key: OTHERS[key]}
    assert_same(tf.constant(examples), features)


def test_two_features_of_one_name():
    """TensorFlow allows it of ragged ones."""
    features = {"a": tf.io.RaggedFeature(tf.int64, "x"), "b": tf.io.RaggedFeature(tf.int64, "x")}
    assert_same(tf.constant([make_example({"x": ("int64", [1, 2])})]), features)
    features["x"] = tf.io.FixedLenFeature([2], tf.int64)
    with pytest.raises(ValueError, match="intersect"):
        parse_example([""], features)


@pytest.mark.parametrize(
    "features",
    [
        {"s": tf.io.SparseFeature("x", "v", tf.int64, 10), "x": tf.io.RaggedFeature(tf.int64)},
        {"s": tf.io.SparseFeature(["x", "y"], "v", tf.int64, [1, 2]), "y": FEATURES["label"]},
        {
            "s": tf.io.RaggedFeature(
                tf.int64, "v", partitions=[tf.io.RaggedFeature.RowLengths("x")]
            ),
            "x": tf.io.VarLenFeature(tf.int64),
        },
    ],
)
def test_names_that_others_are_made_of(features):
    for parse in (tf.io.parse_example, parse_example):
        with pytest.raises(ValueError, match="intersect"):
            parse([make_example({})], features)


def test_the_rank_of_what_is_parsed():
    def trace(shape):
        function = tf.function(lambda serialized: parse_example(serialized, ANY_LENGTH))
        function.get_concrete_function(tf.TensorSpec(shape, tf.string))

    with pytest.raises(ValueError, match="rank of serialized must be known"):
        trace(None)
    with pytest.raises(ValueError, match="at most rank 1"):
        trace([1, 1])
    with pytest.raises(tf.errors.InvalidArgumentError, match="a vector or a scalar"):
        parse_example([[make_example({})]], FEATURES)


def test_defaults_that_are_tensors():
    examples = [make_example({})]

    def parse(default):
        features = {"x": tf.io.FixedLenFeature([1], tf.int64, default)}
        return parse_example(examples, features)["x"].numpy().tolist()

    assert parse(tf.constant([4], tf.int64)) == [[4]]
    with pytest.raises(ValueError, match=r"shape \(\) does not fit shape \(1,\)"):
        parse(tf.constant(4, tf.int64))
    with pytest.raises(tf.errors.InvalidArgumentError, match="has no default value"):
        parse(tf.constant([], tf.int64))


def test_static_shapes():
    features = FEATURES | ANY_LENGTH

    def outputs(parse, spec):
        function = tf.function(lambda serialized: parse(serialized, features))
        return function.get_concrete_function(spec).structured_outputs

    for spec in (tf.TensorSpec([None], tf.string), tf.TensorSpec([7], tf.string)):
        expected = outputs(tf.io.parse_example, spec)
        found = outputs(parse_example, spec)
        assert {key: value.shape.as_list() for key, value in found.items()} == {
            key: value.shape.as_list() for key, value in expected.items()
        }
        assert {key: tf.type_spec_from_value(value) for key, value in found.items()} == {
            key: tf.type_spec_from_value(value) for key, value in expected.items()
        }
    scalar = outputs(parse_example, tf.TensorSpec([], tf.string))
    assert scalar["image"].shape == [1, 2]
    assert scalar["words"].shape.as_list() == [None]
    assert scalar["ragged"].shape.as_list() == [None]
    assert scalar["sequence"].shape.as_list() == [None, 2]


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ({}, "example 1: feature 'label' is missing and has no default value"),
        ({"label": ("float", [1])}, "example 1: feature 'label' holds float values, not int64"),
        ({"label": ("int64", [1, 2])}, "example 1: feature 'label' holds 2 values, not 1"),
        (b"text", "example 1: not a serialized tf.train.Example"),
    ],
)
def test_messages(example, message):
    good = make_example({"label": ("int64", [1])})
    bad = example if isinstance(example, bytes) else make_example(example)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        parse_example([good, bad], FEATURES)


def test_messages_of_features_of_any_length():
    for kind, size, message in [
        ("int64", 2, "holds int64 values, not float"),
        ("float", 3, "holds 3 values, not a multiple of 2"),
    ]:
        example = make_example({"sequence": (kind, range(size))})
        with pytest.raises(tf.errors.InvalidArgumentError, match="feature 'sequence' " + message):
            parse_example([example], ANY_LENGTH)


def test_arguments():
    with pytest.raises(ValueError, match="features"):
        parse_example(["x"], {})
    with pytest.raises(ValueError, match="shape"):
        parse_example(["x"], {"a": tf.io.FixedLenFeature([2], tf.int64, default_value=[1, 2, 3])})
    with pytest.raises(ValueError, match=r"feature 'a': the shape \[0\] has no values"):
        # TensorFlow would divide by it.
        parse_example(["x"], {"a": tf.io.FixedLenSequenceFeature([0], tf.int64, True)})
    with pytest.raises(tf.errors.InvalidArgumentError, match="int32"):
        parse_example(["x"], {"a": tf.io.FixedLenFeature([], tf.int32)})
    with pytest.raises(tf.errors.InvalidArgumentError, match="Name: one"):
        parse_example([make_example({})], FEATURES, ["one"])


def test_in_a_pipeline(serve):
    examples = [
        make_example({"label": ("int64", [number]), "weight": ("float", [number, -number])})
        for number in range(1000)
    ]
    with serve({"training": [examples]}):
        ds = PipeModeDataset("training", "TFRecord").batch(64)
        ds = ds.map(lambda records: parse_example(records, FEATURES), num_parallel_calls=2)
        batches = list(ds.as_numpy_iterator())
    assert np.concatenate([batch["label"] for batch in batches]).tolist() == list(range(1000))
    assert np.concatenate([batch["weight"] for batch in batches])[7].tolist() == [7, -7]
    assert set(np.concatenate([batch["image"] for batch in batches]).ravel()) == {b"none", b""}
