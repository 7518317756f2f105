# SPDX-License-Identifier: Apache-2.0
"""encode_batch and encode_examples: what they make is what TensorFlow and the readers take."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sagemaker_tensorflow._native import encode, encode_batch, encode_examples
from sagemaker_tensorflow.records import DataLossError, InvalidArgumentError, RecordReader

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
FLOAT = st.floats(width=32, allow_nan=False)
VALUES = {
    "int64": st.lists(INT64, max_size=5),
    "float": st.lists(FLOAT, max_size=5),
    "bytes": st.lists(st.binary(max_size=20), max_size=5),
}


def splits(parts):
    return np.cumsum([0, *map(len, parts)], dtype=np.int64)


def column(name, kind, rows):
    """The tuple that encode_examples takes, for a list of values per row."""
    flat = [value for row in rows for value in row]
    if kind == "bytes":
        data = np.frombuffer(b"".join(flat), dtype=np.uint8)
        return name, data, splits(flat), splits(rows)
    dtype = np.int64 if kind == "int64" else np.float32
    return name, np.array(flat, dtype=dtype), None, splits(rows)


def pieces(data, offsets):
    return [data[begin:end].tobytes() for begin, end in itertools.pairwise(offsets)]


@st.composite
def tables(draw):
    """Kinds of some features, and their values in some rows."""
    kinds = draw(st.dictionaries(st.text(max_size=9), st.sampled_from(list(VALUES)), min_size=1))
    count = draw(st.integers(0, 5))
    return {
        name: (kind, draw(st.lists(VALUES[kind], min_size=count, max_size=count)))
        for name, kind in kinds.items()
    }


@settings(deadline=None)
@given(tables())
def test_examples_are_what_tensorflow_reads(table):
    count = len(next(iter(table.values()))[1])
    examples = pieces(
        *encode_examples([column(name, kind, rows) for name, (kind, rows) in table.items()])
    )
    assert len(examples) == count
    for row, example in enumerate(examples):
        features = tf.train.Example.FromString(example).features.feature
        assert set(features) == {name for name, (_, rows) in table.items() if rows[row]}
        for name, feature in features.items():
            kind, rows = table[name]
            assert feature.WhichOneof("kind") == f"{kind}_list"
            assert list(getattr(feature, f"{kind}_list").value) == rows[row]


@settings(deadline=None)
@given(
    st.lists(st.binary(max_size=50)),
    st.sampled_from(["TFRecord", "RecordIO", "TextLine"]),
    st.randoms(use_true_random=False),
)
def test_a_batch_is_its_records_one_by_one(records, record_format, random):
    if record_format == "TextLine":
        records = [record.replace(b"\n", b"") for record in records]
    offsets = splits(records)
    order = random.sample(range(len(records)), len(records))
    encoded = encode_batch(
        np.frombuffer(b"".join(records), dtype=np.uint8),
        offsets[:-1][order],
        offsets[1:][order],
        record_format,
    )
    assert encoded.tobytes() == b"".join(encode(records[i], record_format) for i in order)


DATA = np.zeros(10, dtype=np.uint8)


@pytest.mark.parametrize(
    ("begins", "ends"),
    [([-1], [1]), ([2], [1]), ([0], [11]), ([0, 1], [1])],
    ids=["before", "backwards", "behind", "not as many"],
)
def test_records_outside_of_the_data(begins, ends):
    with pytest.raises(InvalidArgumentError, match=r"record 0|same length"):
        encode_batch(DATA, np.array(begins), np.array(ends), "TFRecord")


@pytest.mark.parametrize(
    "data",
    [DATA.astype(np.int64), DATA.astype(np.float32), DATA.reshape(2, 5)],
    ids=["int64", "float32", "2-D"],
)
def test_data_that_is_no_row_of_bytes(data):
    with pytest.raises(InvalidArgumentError, match="data must"):
        encode_batch(data, np.array([0]), np.array([1]), "TFRecord")


@given(
    hnp.arrays(np.int64, st.integers(0, 4), elements=st.integers(-3, 13)),
    hnp.arrays(np.int64, st.integers(0, 4), elements=st.integers(-3, 13)),
)
def test_offsets_never_lead_out_of_memory(value_offsets, row_splits):
    fits = all(
        len(offsets) > 0
        and offsets[0] >= 0
        and offsets[-1] <= limit
        and np.all(np.diff(offsets) >= 0)
        for offsets, limit in ((value_offsets, len(DATA)), (row_splits, len(value_offsets) - 1))
    )
    if fits:
        encode_examples([("a", DATA, value_offsets, row_splits)])
    else:
        with pytest.raises(InvalidArgumentError, match="feature 'a'"):
            encode_examples([("a", DATA, value_offsets, row_splits)])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([], "at least one"),
        ([("a", np.zeros(3), None, np.array([0, 3]))], "int64, float32"),
        ([("a", DATA, None, np.array([0, 3]))], "with value offsets"),
        ([("a", np.zeros((2, 2), np.float32), None, np.array([0, 1]))], "one dimension"),
        ([("a", np.zeros(6, np.float32)[::2], None, np.array([0, 3]))], "contiguous"),
        (
            [
                ("a", np.zeros(3, np.float32), None, np.array([0, 3])),
                ("b", np.zeros(3, np.float32), None, np.array([0, 1, 3])),
            ],
            "'b': all features must have the same number of rows",
        ),
    ],
)
def test_columns_that_make_no_sense(columns, message):
    with pytest.raises(InvalidArgumentError, match=message):
        encode_examples(columns)


def test_a_batch_ends_when_it_holds_enough_bytes(tmp_path):
    records = [b"x" * n for n in (10, 0, 90, 1, 200, 3)]
    path = tmp_path / "file"
    path.write_bytes(b"".join(encode(record) for record in records))
    reader = RecordReader(path)
    sizes = []
    while len(batch := reader.read_batch(4, max_bytes=100)[1]) > 1:
        sizes.append(np.diff(batch).tolist())
    assert sizes == [[10, 0, 90], [1, 200], [3]]
    with pytest.raises(InvalidArgumentError, match="max_bytes"):
        reader.read_batch(1, max_bytes=0)


def test_how_far_a_reader_is_and_how_errors_call_the_file(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(encode(b"one") + encode(b"two")[:-1])
    reader = RecordReader(path, name="s3://bucket/key")
    assert reader.bytes_read == 0
    assert next(reader) == b"one"
    with pytest.raises(DataLossError, match=r"^'s3://bucket/key': record 1 at byte 12: "):
        next(reader)
    assert reader.bytes_read == path.stat().st_size
