# SPDX-License-Identifier: Apache-2.0
"""Where ``parse_example`` and TensorFlow's differ: the table of docs/formats.md, and nothing else.

The Examples are written field by field, since no library writes such.
"""

import itertools
import struct

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from sagemaker_tensorflow import parse_example
from sagemaker_tensorflow._op import op_library

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
REFUSES = tf.errors.InvalidArgumentError
INT = tf.io.FixedLenFeature([], tf.int64, -1)
TWO_INTS = tf.io.FixedLenFeature([2], tf.int64, [-1, -1])
FLOAT = tf.io.FixedLenFeature([], tf.float32, -1.0)


def varint(number, padding=0):
    number &= (1 << 64) - 1
    digits = [number & 0x7F]
    while number := number >> 7:
        digits.append(number & 0x7F)
    digits += [0] * padding
    return bytes([*(digit | 0x80 for digit in digits[:-1]), digits[-1]])


def field(number, wire_type, value, padding=0):
    return varint(number << 3 | wire_type, padding) + value


def message(number, content, padding=0):
    return field(number, BYTES, varint(len(content)) + content, padding)


def packed(*values):
    return message(1, b"".join(map(varint, values)))


def single(value):
    return field(1, VARINT, varint(value))


def ints(*values):
    return message(3, packed(*values))


def floats(*values):
    return message(2, message(1, struct.pack(f"<{len(values)}f", *values)))


def entry(content, key=b"x"):
    return message(1, message(1, key) + message(2, content))


def example(*entries):
    return message(1, b"".join(entries))


UNKNOWN = message(9, b"unknown")
KEY = message(1, b"x")
TWICE = [
    ("another kind", example(entry(floats(4)), entry(ints(5)))),
    ("another number", example(entry(ints(4, 4)), entry(ints(5)))),
    ("no values", example(entry(ints()), entry(ints(5)))),
    ("malformed", example(entry(message(3, message(1, b"\xff"))), entry(ints(5)))),
    ("concatenated", example(entry(floats(4))) + example(entry(ints(5)))),
]
# What, the Example, the feature, TensorFlow's verdict, ours.
TABLE = [
    *((f"twice, first {name}", bad, INT, 5, REFUSES) for name, bad in TWICE),
    ("two lists, other kind", example(entry(ints(5) + floats(4))), INT, 5, REFUSES),
    ("two lists", example(entry(ints(5) + ints(6))), INT, 5, REFUSES),
    ("two lists, of two", example(entry(ints(5) + ints(6))), TWO_INTS, REFUSES, [5, 6]),
    ("pieces", example(entry(message(3, packed(5) + packed(6)))), INT, 5, REFUSES),
    (
        "pieces, of two",
        example(entry(message(3, packed(5) + packed(6)))),
        TWO_INTS,
        REFUSES,
        [5, 6],
    ),
    ("packed and single", example(entry(message(3, packed() + single(5)))), INT, REFUSES, 5),
    ("single and packed", example(entry(message(3, single(5) + packed()))), INT, REFUSES, 5),
    ("no such kind", example(entry(message(4, b""))), INT, REFUSES, -1),
    ("list as a varint", example(entry(field(3, VARINT, b"\x05"))), INT, REFUSES, -1),
    ("list as fixed", example(entry(field(3, FIXED32, b"1234"))), INT, REFUSES, -1),
    ("no key", example(message(1, message(2, ints(5)))), INT, REFUSES, -1),
    ("no value", example(message(1, KEY)), INT, REFUSES, -1),
    ("an empty entry", example(message(1, b""), entry(ints(5))), INT, REFUSES, 5),
    (
        "two keys",
        example(message(1, message(1, b"y") + KEY + message(2, ints(5)))),
        INT,
        REFUSES,
        5,
    ),
    (
        "two values",
        example(message(1, KEY + message(2, ints(5)) + message(2, ints(6)))),
        TWO_INTS,
        REFUSES,
        [5, 6],
    ),
    ("unknown among features", example(UNKNOWN, entry(ints(5))), INT, REFUSES, 5),
    ("unknown behind features", example(entry(ints(5)), UNKNOWN), INT, REFUSES, 5),
    (
        "unknown in an entry",
        example(message(1, KEY + message(2, ints(5)) + UNKNOWN)),
        INT,
        REFUSES,
        5,
    ),
    ("unknown before a list", example(entry(UNKNOWN + ints(5))), INT, REFUSES, 5),
    (
        "unknown behind single values",
        example(entry(message(3, single(5) + UNKNOWN))),
        INT,
        REFUSES,
        5,
    ),
    (
        "unknown behind strings",
        example(entry(message(1, message(1, b"five") + UNKNOWN))),
        tf.io.FixedLenFeature([], tf.string),
        REFUSES,
        b"five",
    ),
    ("unknown before values", example(entry(message(3, UNKNOWN + packed(5)))), INT, REFUSES, 5),
    ("padded tag", message(1, entry(ints(5)), padding=1), INT, -1, 5),
    ("padded tag of a list", example(entry(message(3, packed(5), padding=1))), INT, REFUSES, 5),
    ("field 0", field(0, BYTES, b"\x00") + example(entry(ints(5))), INT, 5, REFUSES),
    ("five bytes of floats", example(entry(message(2, message(1, bytes(5))))), FLOAT, 0, REFUSES),
]


def verdict(parse, serialized, feature):
    try:
        value = parse(serialized, {"x": feature})["x"]
        if isinstance(value, tf.SparseTensor):
            return [
                part.numpy().tolist() for part in (value.indices, value.values, value.dense_shape)
            ]
        if isinstance(value, tf.RaggedTensor):
            return value.to_list()
        return np.asarray(value.numpy()).tolist()
    except UnicodeDecodeError:  # of TensorFlow's message, which quotes the Example
        return REFUSES
    except tf.errors.OpError as error:
        return type(error)


def strict(serialized, features):
    """What ``map`` in batches parses by, which leaves all else to TensorFlow."""
    parsed = op_library.load().pipe_mode_parse_example(
        serialized=serialized,
        names=list(features),
        defaults=[
            tf.constant(
                [] if feature.default_value is None else feature.default_value, feature.dtype
            )
            for feature in features.values()
        ],
        paddings=[],
        shapes=[feature.shape for feature in features.values()],
        num_sparse=0,
        is_strict=True,
    )
    return dict(zip(features, parsed.values, strict=True))


@pytest.mark.parametrize(
    ("serialized", "feature", "tensorflows", "ours"),
    [pytest.param(*case[1:], id=case[0]) for case in TABLE],
)
def test_the_table(serialized, feature, tensorflows, ours):
    for batched in (False, True):

        def expected(value, batched=batched):
            return [value] if batched and value is not REFUSES else value

        argument = [serialized] if batched else serialized
        assert verdict(tf.io.parse_example, argument, feature) == expected(tensorflows)
        assert verdict(parse_example, argument, feature) == expected(ours)
        assert verdict(strict, argument, feature) in (REFUSES, expected(tensorflows))


@st.composite
def unusual(draw):
    """An Example that is written in unusual ways, none of which is in the table."""
    unknown = st.sampled_from(
        [
            b"",
            UNKNOWN,
            field(9, VARINT, b"\x01"),
            field(9, FIXED64, bytes(8)),
            field(1, VARINT, b"\0"),
        ]
    )
    values = draw(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=3))
    if draw(st.booleans()):
        content = packed(*values) if values or draw(st.booleans()) else b""
        if content:
            content += draw(st.sampled_from([b"", UNKNOWN, field(9, FIXED64, bytes(8))]))
        kind = 3
    else:
        content, kind = b"".join(map(single, values)), 3
    if draw(st.integers(0, 4)) == 0:
        content, kind = message(1, struct.pack(f"<{len(values)}f", *([0.5] * len(values)))), 2
    feature = message(kind, content) + draw(st.sampled_from([b"", UNKNOWN]))
    feature = draw(st.sampled_from([feature, feature, feature, b""]))
    parts = [KEY, message(2, feature)]
    asked = message(1, b"".join(draw(st.permutations(parts))))
    other = entry(draw(st.sampled_from([b"", b"\xff", ints(1), message(3, b"\xff")])), b"\xfe")
    entries = draw(st.permutations([asked, other, *([asked] if draw(st.booleans()) else [])]))
    cut = draw(st.integers(0, len(entries)))
    return (
        draw(unknown) + example(*entries[:cut]) + draw(unknown) + example(*entries[cut:])
    ) + draw(unknown)


ANY_LENGTH = {
    "sparse": tf.io.VarLenFeature(tf.int64),
    "ragged": tf.io.RaggedFeature(tf.int64),
    "padded": tf.io.FixedLenSequenceFeature([], tf.int64, allow_missing=True),
}


@pytest.mark.parametrize("kind", ANY_LENGTH)
def test_a_list_that_is_there_twice(kind):
    """Of two from a library, in a batch and alone; also if one of them has no values at all."""
    contents = [b"", ints(), ints(1), ints(2, 3, 4)]
    for first, last in itertools.product(contents, repeat=2):
        twice = example(entry(first)) + example(entry(last))
        for argument in (twice, [twice], [example(entry(ints(9))), twice, twice]):
            found = verdict(parse_example, argument, ANY_LENGTH[kind])
            assert found == verdict(tf.io.parse_example, argument, ANY_LENGTH[kind]), (first, last)


@settings(max_examples=300, deadline=None)
@given(
    unusual(),
    st.sampled_from([INT, TWO_INTS, tf.io.FixedLenFeature([], tf.int64), *ANY_LENGTH.values()]),
)
def test_all_else_is_parsed_alike(serialized, feature):
    for argument in (serialized, [serialized]):
        found = verdict(tf.io.parse_example, argument, feature)
        assert verdict(parse_example, argument, feature) == found
        if isinstance(feature, tf.io.FixedLenFeature):
            assert verdict(strict, argument, feature) in (REFUSES, found)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=3), st.booleans())
def test_strict_is_what_libraries_write(values, is_packed):
    """A strict parser that refused those would make batches slow."""
    written = tf.train.Example()
    written.features.feature["x"].int64_list.value.extend(values)
    written.features.feature["y"].bytes_list.value.append(b"other")
    serialized = written.SerializeToString()
    if not is_packed:
        serialized = example(entry(message(3, b"".join(map(single, values)))), entry(b"", b"y"))
    feature = tf.io.FixedLenFeature([len(values)], tf.int64)
    assert verdict(strict, [serialized] * 2, feature) == [values] * 2
