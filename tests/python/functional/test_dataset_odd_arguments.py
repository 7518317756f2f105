# SPDX-License-Identifier: Apache-2.0
"""Odd arguments: what tf.data refuses is refused, what it takes is taken."""

import fractions
import math

import numpy as np
import pytest
import tensorflow as tf
from dataset_helpers import make
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sagemaker_tensorflow import (
    PipeModeCheckpoint,
    PipeModeDataset,
    PipeModeDatasetException,
    PipeModeMetrics,
    channel_stats,
    parse_example,
)

RECORDS = [b"a", b"b", b"c", b"d", b"e"]
NUMPY_TYPES = [np.int8, np.int32, np.int64, np.uint8, np.uint64, np.float32, np.float64, np.bool_]
TENSOR_TYPES = [tf.int8, tf.int32, tf.int64, tf.uint8, tf.uint64, tf.float32, tf.bool]


class Index:
    def __index__(self):
        return 2


# Tensors are made when an example runs: Hypothesis prints what made them.
SMALL = st.integers(-3, 7)
ODD = st.one_of(
    SMALL,
    st.booleans(),
    st.none(),
    st.sampled_from([0.5, 2.5, 2.0, math.nan, math.inf, 2j, fractions.Fraction(2)]),
    st.sampled_from(
        ["2", b"2", "", "False", [2], (2,), [], [[2]], {}, range(2), Index(), object()]
    ),
    st.builds(lambda kind, value: kind(value % 128), st.sampled_from(NUMPY_TYPES), SMALL),
    st.sampled_from([np.int8(-1), np.int64(-2), np.float64(2.5), np.float32(-1.5), np.array(2)]),
    st.sampled_from([np.array([2]), np.array([2, 3]), np.array([]), np.str_("2")]),
    st.builds(lambda kind, value: tf.cast(value, kind), st.sampled_from(TENSOR_TYPES), SMALL),
    st.builds(lambda value: tf.constant([value]), SMALL),
    st.builds(lambda value: tf.constant([value], tf.int64), SMALL),
    st.builds(lambda: tf.constant("2")),
    st.builds(lambda kind: tf.Variable(2, dtype=kind), st.sampled_from([tf.int32, tf.int64])),
)
HUGE = st.sampled_from([2**31, 2**40, 2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**70])


# As the size of a batch. For those of HUGE that fit, tf.data makes room, and the process ends.
UNFIT = st.sampled_from([2**63, -(2**63), -(2**63) - 1, 2**70])


def outcome(dataset, call):
    """The type of what ``call`` or reading raises; else the spec and the first elements."""
    try:
        made = call(dataset)
        elements = [element.tolist() for element in _arrays(made.take(12))]
    except Exception as error:
        return type(error)
    return made.element_spec, elements


def _arrays(dataset):
    return (np.asarray(element) for element in dataset.as_numpy_iterator())


@pytest.fixture
def assert_same(serve):
    """Asserts that a call on a dataset of ours does what it does on one of tf.data's."""

    def check(call):
        expected = outcome(tf.data.Dataset.from_tensor_slices(RECORDS), call)
        with serve({"training": lambda _: RECORDS}):
            assert outcome(make(), call) == expected
        return expected

    return check


odd_arguments = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@odd_arguments
@given(count=ODD | HUGE)
@example(count=2.7)
@example(count="2")
def test_repeat(assert_same, count):
    assert_same(lambda ds: ds.repeat(count))


@odd_arguments
@given(first=ODD | HUGE, second=ODD | HUGE)
@example(first=2**40, second=2**40)
@example(first=-1, second=2**40)
@example(first=2**40, second=-(2**40))
def test_repeat_of_repeat(assert_same, first, second):
    assert_same(lambda ds: ds.repeat(first).repeat(second))


@odd_arguments
@given(size=ODD | UNFIT, drop=st.booleans() | ODD | HUGE)
@example(size=0.5, drop=False)
@example(size=2.5, drop=False)
@example(size=3, drop="False")
def test_batch(assert_same, size, drop):
    assert_same(lambda ds: ds.batch(size, drop))


@odd_arguments
@given(size=SMALL | ODD | HUGE, drop=st.booleans() | ODD)
def test_batch_of_one_argument_that_is_odd(assert_same, size, drop):
    assert_same(lambda ds: ds.batch(size))
    assert_same(lambda ds: ds.batch(3, drop_remainder=drop))


# More shards than 2^31 are not compared: tf.data reads all records for those.
@odd_arguments
@given(count=SMALL | ODD, index=SMALL | ODD | HUGE)
@example(count=2, index=0.5)
def test_shard(assert_same, count, index):
    assert_same(lambda ds: ds.shard(count, index))
    assert_same(lambda ds: ds.shard(3, index))


@pytest.mark.parametrize(
    "call",
    [
        lambda ds: ds.batch(2, num_parallel_calls=0.5),
        lambda ds: ds.batch(2, num_parallel_calls="2"),
        lambda ds: ds.batch(2, num_parallel_calls=tf.constant(2)),
        lambda ds: ds.batch(2, num_parallel_calls=2),
        lambda ds: ds.batch(2, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True),
        lambda ds: ds.batch(2, num_parallel_calls=2, deterministic=np.array([True, False])),
        lambda ds: ds.batch(2, name=5),
        lambda ds: ds.batch(2, name="not a name"),
        lambda ds: ds.batch(2, name="a_name"),
        lambda ds: ds.repeat(2, name=5),
        lambda ds: ds.shard(2, 0, name=5),
        lambda ds: ds.with_options(None),
        lambda ds: ds.with_options(tf.data.Options(), name=5),
        lambda ds: ds.with_options(tf.data.Options(), name="a_name"),
    ],
)
def test_what_has_no_effect_in_the_op(assert_same, call):
    assert_same(call)


@pytest.mark.parametrize(
    "call",
    [
        lambda ds: ds.batch(0.5),
        lambda ds: ds.batch(2.5),
        lambda ds: ds.batch("2"),
        lambda ds: ds.batch(3, drop_remainder="False"),
        lambda ds: ds.repeat(2.7),
        lambda ds: ds.repeat("2"),
        lambda ds: ds.shard(2, 0.5),
        lambda ds: ds.shard(2.0, 0),
    ],
)
def test_nothing_is_rounded(job, call):
    with pytest.raises(TypeError):
        call(make())


@pytest.mark.parametrize(
    "call",
    [
        lambda ds: ds.batch(np.int64(2)),
        lambda ds: ds.batch(np.uint8(2), np.bool_(True)),
        lambda ds: ds.batch(tf.constant(2, tf.int64), tf.constant(True)),
        lambda ds: ds.repeat(np.int32(2)).batch(2, num_parallel_calls=2),
        lambda ds: ds.shard(np.int64(2), tf.constant(1, tf.int64)).with_options(tf.data.Options()),
    ],
)
def test_all_integers_stay_in_the_op(job, call):
    assert isinstance(call(make()), PipeModeDataset)


def test_repeats_that_no_counter_holds_are_nested(job):
    ds = make().repeat(2**40)
    assert isinstance(ds, PipeModeDataset)
    assert isinstance(ds.repeat(2**22), PipeModeDataset)
    assert not isinstance(ds.repeat(2**40), PipeModeDataset)


# --- Constructor arguments ------------------------------------------------------------------------

INTEGERS = [
    "benchmark_records_interval",
    "max_corrupted_records_to_skip",
    "max_record_bytes",
    "read_ahead_bytes",
    "skip_header_lines",
]
TIMEOUTS = ["open_timeout", "read_timeout"]
BOOLEANS = ["benchmark", "repeated_header", "strip_carriage_return"]
TEXTS = ["record_format", "recordio_parts"]
FOLDERS = ["state_dir", "pipe_dir", "config_dir"]
NO_TEXTS = [5, 2.5, b"GZIP", True, ["GZIP"], object(), tf.constant("GZIP")]

WRONG_TYPES = [
    *((name, value) for name in INTEGERS for value in (1.0, 2.5, "2", True, None, [2], 2j)),
    *((name, value) for name in INTEGERS for value in (np.float64(2), np.bool_(True), Index())),
    *((name, value) for name in TIMEOUTS for value in ("5", True, False, [5], 2j, object())),
    *((name, value) for name in BOOLEANS for value in (0, 1, 1.0, "False", "", None, [], 2)),
    *((name, value) for name in TEXTS for value in (*NO_TEXTS, None)),
    *(("compression_type", value) for value in (*NO_TEXTS, False, 0)),
    *((name, value) for name in FOLDERS for value in (5, True, 2.5, ["/tmp"], object())),
    *(
        ("attributes", value)
        for value in (1, 0, "image", b"image", [b"image"], [1], 2.5, {"image"})
    ),
]


@pytest.mark.parametrize(
    ("name", "value"), WRONG_TYPES, ids=lambda value: str(value).partition(" at 0x")[0]
)
def test_a_wrong_type_is_a_type_error_that_names_it(job, name, value):
    with pytest.raises(TypeError, match=rf"^{name} must be .*not "):
        PipeModeDataset("training", **{name: value})
    assert not job.state_dir.exists()


@pytest.mark.parametrize("channel", [None, 3, True, ["training"], 2.5])
def test_a_wrong_channel_is_a_type_error_too(job, channel):
    with pytest.raises(PipeModeDatasetException, match="channel must be a name") as raised:
        PipeModeDataset(channel)
    assert isinstance(raised.value, TypeError)


@pytest.mark.parametrize("name", INTEGERS)
def test_a_number_that_no_counter_holds(job, name):
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"{name} is too large"):
        make(**{name: 2**70})


@pytest.mark.parametrize("name", TIMEOUTS)
def test_a_timeout_that_no_float_holds(job, name):
    with pytest.raises(tf.errors.InvalidArgumentError, match=f"{name} is too large"):
        make(**{name: 10**400})


@pytest.mark.parametrize(
    "options",
    [
        {name: value}
        for names, values in (
            (INTEGERS[:4], (2, np.int64(2), np.uint8(2))),
            (TIMEOUTS, (5, 0.5, np.float32(5), np.int8(5), fractions.Fraction(5, 2), 2**70)),
            (BOOLEANS[:1], (True, False)),
            (["compression_type", "record_format"], (np.str_("none"), "None")),
        )
        for name in names
        for value in values
        if name != "record_format"
    ],
    ids=str,
)
def test_what_means_a_number_or_a_text_is_taken(job, options):
    assert isinstance(make(**options), PipeModeDataset)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda folder, _: PipeModeMetrics("training", log_dir=5), "log_dir"),
        (lambda folder, _: PipeModeMetrics("training", warn_after="5"), "warn_after"),
        (lambda folder, _: PipeModeMetrics("training", warn_after=True), "warn_after"),
        (lambda folder, ds: PipeModeCheckpoint(5, ds), "folder"),
        (lambda folder, ds: PipeModeCheckpoint(folder, [ds]), "dataset"),
        (lambda folder, ds: PipeModeCheckpoint(folder, ds, max_to_keep=2.5), "max_to_keep"),
        (lambda folder, ds: PipeModeCheckpoint(folder, ds, max_to_keep=True), "max_to_keep"),
        (lambda folder, _: channel_stats(5), "channel"),
        (lambda folder, _: channel_stats("training", 5), "pipe_dir"),
        (lambda folder, _: parse_example([b""], ["label"]), "features"),
    ],
)
def test_other_functions_name_the_argument_too(job, tmp_path, call, name):
    with pytest.raises(TypeError, match=f"^{name} must be "):
        call(tmp_path, make())


def test_how_many_checkpoints_to_keep(job, tmp_path):
    with pytest.raises(ValueError, match="max_to_keep must be at least 1, or None, not 0"):
        PipeModeCheckpoint(tmp_path, make(), max_to_keep=0)
    PipeModeCheckpoint(tmp_path, make(), max_to_keep=None)


@pytest.mark.parametrize("size", [2**31, 2**40, 2**62, 2**63 - 1])
def test_a_batch_that_no_memory_holds(serve, size):
    """The op makes room for what there is; ``tf.data`` does for what was asked, and dies."""
    with serve({"training": [[b"a", b"b"]] * 2}):
        ds = PipeModeDataset("training", "TFRecord")
        assert [batch.tolist() for batch in _arrays(ds.batch(size))] == [[b"a", b"b"]]
        assert list(_arrays(ds.batch(size, drop_remainder=True))) == []
