# SPDX-License-Identifier: Apache-2.0
"""The parser of Examples that needs no TensorFlow, held against TensorFlow's own messages."""

import itertools
import random

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from sagemaker_tensorflow._datatools.example import (
    SHOWN_VALUES,
    Feature,
    NotAnExampleError,
    parse_example,
)
from sagemaker_tensorflow._datatools.feature_spec import FeatureTable

VALUES = {
    "bytes": st.lists(st.binary(max_size=30), max_size=12),
    "float": st.lists(st.floats(width=32, allow_nan=False), max_size=12),
    "int64": st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=12),
}
FEATURES = st.dictionaries(
    st.text(max_size=9),
    st.one_of([st.tuples(st.just(kind), values) for kind, values in VALUES.items()]),
    max_size=6,
)


def make_example(features):
    example = tf.train.Example()
    for name, (kind, values) in features.items():
        getattr(example.features.feature[name], f"{kind}_list").value.extend(values)
    return example.SerializeToString()


@settings(deadline=None)
@given(FEATURES)
def test_examples_are_read_as_tensorflow_reads_them(features):
    assert parse_example(make_example(features)) == {
        name: Feature(kind, len(values), tuple(values[:SHOWN_VALUES]))
        for name, (kind, values) in features.items()
    }


@settings(deadline=None)
@given(FEATURES, st.randoms(use_true_random=False))
def test_damage_is_noticed_or_harmless(features, chance):
    serialized = bytearray(make_example(features))
    for _ in range(min(len(serialized), 3)):
        serialized[chance.randrange(len(serialized))] = chance.randrange(256)
    try:
        found = parse_example(bytes(serialized[: chance.randint(0, len(serialized))]))
    except NotAnExampleError:
        return
    for feature in found.values():
        assert len(feature.first) == min(feature.count, SHOWN_VALUES)


@given(st.binary(max_size=100))
def test_what_tensorflow_refuses_is_refused(data):
    try:
        tf.train.Example.FromString(data)
    except Exception:  # whatever protobuf throws
        with pytest.raises(NotAnExampleError):
            parse_example(data)


def test_a_map_takes_its_last_entry():
    twice = make_example({"a": ("int64", [1])})[2:] + make_example({"a": ("int64", [2])})[2:]
    serialized = b"\x0a" + bytes([len(twice)]) + twice
    assert parse_example(serialized) == {"a": Feature("int64", 1, (2,))}
    assert tf.train.Example.FromString(serialized).features.feature["a"].int64_list.value == [2]


def test_values_that_are_not_packed():
    # int64_list { value: 5 value: -1 }, float_list { value: 1.0 } as proto2 wrote them
    entries = b""
    for name, feature in (
        (b"i", b"\x1a\x0d" + b"\x08\x05" + b"\x08" + b"\xff" * 9 + b"\x01"),
        (b"f", b"\x12\x05" + b"\x0d\x00\x00\x80\x3f"),
    ):
        entry = b"\x0a\x01" + name + b"\x12" + bytes([len(feature)]) + feature
        entries += b"\x0a" + bytes([len(entry)]) + entry
    serialized = b"\x0a" + bytes([len(entries)]) + entries
    features = tf.train.Example.FromString(serialized).features.feature
    assert features["i"].int64_list.value == [5, -1]
    assert features["f"].float_list.value == [1.0]
    assert parse_example(serialized) == {
        "i": Feature("int64", 2, (5, -1)),
        "f": Feature("float", 1, (1.0,)),
    }


def test_long_lists_are_only_counted():
    values = list(range(100_000))
    feature = parse_example(make_example({"a": ("int64", values)}))["a"]
    assert feature == Feature("int64", 100_000, tuple(range(SHOWN_VALUES)))


def tables(kinds):
    """Examples in which each feature is as ``kinds`` says: always there, of one length, or not."""
    chance = random.Random(0)
    for number in range(20):
        features = {}
        for (kind, shape), name in zip(kinds, "abcdefghijklmnopqrst", strict=False):
            count = {"one": 1, "three": 3, "some": number % 3, "many": chance.randint(1, 5)}[shape]
            if shape == "missing":
                count = number % 2
            make = {"bytes": b"x%d", "float": None, "int64": None}[kind]
            features[name] = (kind, [make % i if make else i for i in range(count)])
        yield features


def test_the_spec_parses_what_it_was_made_from():
    kinds = list(itertools.product(["bytes", "float", "int64"], ["one", "three", "some", "many"]))
    rows = list(tables(kinds))
    for number, row in enumerate(rows):  # one that is missing now and then, and one that is empty
        row["z"] = ("int64", [number] * (number % 2))
        row['quo"ted'] = ("int64", [number])
        row["ünïcode\n"] = ("float", [])
    serialized = [make_example(row) for row in rows]
    table = FeatureTable()
    for record in serialized:
        table.add(parse_example(record))
    namespace = {"tf": tf}
    exec(table.code(), namespace)
    spec = namespace["FEATURES"]
    assert set(spec) == set(rows[0])
    parsed = tf.io.parse_example(serialized, spec)
    for name, values in parsed.items():
        if isinstance(values, tf.sparse.SparseTensor):
            flat = [value for row in rows for value in row[name][1]]
            assert values.values.numpy().tolist() == flat
            continue
        expected = [row[name][1] or [0] for row in rows]
        np.testing.assert_array_equal(values.numpy().reshape(len(rows), -1), expected)


def test_a_feature_of_two_kinds_is_told():
    table = FeatureTable()
    table.add(parse_example(make_example({"a": ("int64", [1])})))
    table.add(parse_example(make_example({"a": ("float", [1.0])})))
    assert "int64 or float: no spec can parse that" in table.code()
