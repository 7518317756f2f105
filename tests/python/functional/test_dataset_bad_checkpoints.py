# SPDX-License-Identifier: Apache-2.0
"""Checkpoints that hold no position in this dataset: an error each, and nothing is read for it."""

import itertools

import pytest
import tensorflow as tf
from dataset_helpers import make, records, without_autotune
from tensorflow.core.framework import tensor_pb2

RECORDS = [b"record %d" % number for number in range(10)]
IGNORE = 1  # external_state_policy


def save(iterator):
    """The state of an iterator, as tf.train.Checkpoint has it written."""
    return tf.raw_ops.SerializeIterator(
        resource_handle=iterator._iterator_resource, external_state_policy=IGNORE
    )


def restore(dataset, state):
    iterator = iter(dataset)
    tf.raw_ops.DeserializeIterator(resource_handle=iterator._iterator_resource, serialized=state)
    return iterator


def varint(data):
    value = shift = index = 0
    while True:
        value |= (data[index] & 127) << shift
        shift, index = shift + 7, index + 1
        if data[index - 1] < 128:
            return value, index


def to_varint(value):
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes([*data, value])


def from_proto(proto):
    return tf.io.parse_tensor(proto.SerializeToString(), tf.as_dtype(proto.dtype))


def to_proto(tensor):
    return tensor_pb2.TensorProto.FromString(tf.io.serialize_tensor(tensor).numpy())


def forge(state, **changes):
    """The state with other values for some keys; ``None`` takes a key away."""
    outer = to_proto(state)
    size, begin = varint(outer.tensor_content)
    assert size == len(outer.tensor_content) - begin  # a single iterator
    inner = tensor_pb2.VariantTensorDataProto.FromString(outer.tensor_content[begin:])
    prefix, *keys = inner.metadata.decode().split("@@")
    values = [from_proto(proto) for proto in inner.tensors]
    compressed = len(values) == 1 < len(keys)
    if compressed:
        types = [tf.string if key in {"channel", "record_format"} else tf.int64 for key in keys]
        values = tf.raw_ops.UncompressElement(
            compressed=values[0], output_types=types, output_shapes=[[]] * len(types)
        )
    for key, value in changes.items():
        number = keys.index(key)
        values[number] = tf.constant(value, values[number].dtype) if value is not None else None
    pairs = [(key, value) for key, value in zip(keys, values, strict=True) if value is not None]
    inner.metadata = "@@".join([prefix, *(key for key, _ in pairs)]).encode()
    values = [value for _, value in pairs]
    if compressed:
        values = [tf.raw_ops.CompressElement(components=values)]
    del inner.tensors[:]
    inner.tensors.extend(map(to_proto, values))
    data = inner.SerializeToString()
    outer.tensor_content = to_varint(len(data)) + data
    return from_proto(outer)


def position(dataset, count):
    iterator = iter(dataset)
    for _ in range(count):
        next(iterator)
    return save(iterator)


def is_refused(dataset, state):
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        restore(dataset, state)
    assert "cannot go on where the checkpoint was: " in raised.value.message
    return raised.value.message


@pytest.fixture
def saved(serve):
    """A dataset, and the state of an iterator that has three of its records."""
    with serve({"training": lambda _: RECORDS, "validation": lambda _: RECORDS}) as job:
        dataset = without_autotune(make().repeat(3))
        yield dataset, position(dataset, 13)
        state = job.state()
        # Whatever was refused, nothing is lost.
        assert state == "2"
        assert list(itertools.islice(dataset.as_numpy_iterator(), 10)) == RECORDS
        assert job.state("validation") is None


def test_forged_states_are_like_real_ones(saved):
    dataset, state = saved
    iterator = restore(dataset, forge(state, records=8, epochs=2))
    del iterator  # which has read nothing


def test_another_channel(saved):
    message = is_refused(without_autotune(make("validation").repeat(3)), saved[1])
    assert (
        "it holds the position in a dataset with channel 'training', and this one has 'validation'"
    ) in message


def test_a_channel_that_is_none(saved):
    dataset, state = saved
    message = is_refused(dataset, forge(state, channel=b"\nnot a name" * 1000))
    assert "with channel '" + "\\x0anot a name" * 3 + "\\x0anot a ...', and" in message


def test_another_format(saved):
    message = is_refused(without_autotune(make(record_format="RecordIO").repeat(3)), saved[1])
    assert "with record_format 'TFRecord', and this one has 'RecordIO'" in message


@pytest.mark.parametrize("version", [0, 2, 4, -1])
def test_another_version(saved, version):
    dataset, state = saved
    message = is_refused(dataset, forge(state, version=version))
    assert f"of version {version}, this release reads version 3" in message


@pytest.mark.parametrize("key", ["epochs", "records", "records_before"])
@pytest.mark.parametrize("value", [-1, -(1 << 63), 1 << 49, (1 << 63) - 1])
def test_a_position_that_makes_no_sense(saved, key, value):
    dataset, state = saved
    message = is_refused(dataset, forge(state, **{key: value}))
    assert f"its position is not valid ({key}: {value}); is the file damaged?" in message


def test_no_position_at_all(saved):
    dataset, state = saved
    message = is_refused(dataset, forge(state, version=None))
    assert "it holds no position in a PipeModeDataset here" in message


@pytest.mark.parametrize(
    "key",
    ["channel", "record_format", "attributes", "epochs", "records", "records_before", "ended"],
)
def test_half_a_position(saved, key):
    dataset, state = saved
    message = is_refused(dataset, forge(state, **{key: None}))
    assert f"of its position a part is missing ({key}); is the file damaged?" in message


@pytest.mark.parametrize("key", ["records", "records_before"])
def test_a_position_between_the_attributes_of_a_line(serve, key):
    with serve({"training": lambda _: RECORDS}, "RecordIO"):
        dataset = without_autotune(make(record_format="RecordIO", attributes=("a", "b")).repeat())
        message = is_refused(dataset, forge(position(dataset, 3), **{key: 3}))
        assert f"its position is not valid ({key}: 3); is the file damaged?" in message


def test_more_epochs_than_there_are(saved):
    dataset, state = saved
    with pytest.raises(tf.errors.InvalidArgumentError, match="the dataset reads 3 only"):
        restore(dataset, forge(state, epochs=4))


def test_of_another_pipeline(saved, tmp_path):
    other = without_autotune(tf.data.Dataset.from_tensor_slices(RECORDS))
    message = is_refused(saved[0], position(other, 3))
    assert "is it that of another pipeline?" in message


def test_a_position_behind_the_end_of_the_epoch(serve):
    """Nobody can know before: the epoch is read, and said to be too short."""
    with serve({"training": lambda _: RECORDS}):
        dataset = without_autotune(make())
        iterator = restore(dataset, forge(position(dataset, 3), records=1 << 40))
        with pytest.raises(
            tf.errors.DataLossError, match="ends after 10 records, before the saved"
        ):
            next(iterator)
        assert records(dataset) == RECORDS
