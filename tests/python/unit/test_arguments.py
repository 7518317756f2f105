# SPDX-License-Identifier: Apache-2.0
"""Readers and writers take arguments of the right types alone, and touch nothing before."""

import fractions
import inspect
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sagemaker_tensorflow import records, testing
from sagemaker_tensorflow._base import arguments
from sagemaker_tensorflow._job import job_paths


class Index:
    def __index__(self):
        return 2


NO_INT = [2.0, 2.5, "2", b"2", True, False, np.bool_(True), np.float32(2), [2], 2j, Index()]
NO_NUMBER = ["2", b"2", True, False, [2], 2j, object()]
NO_STR = [5, 2.5, True, b"GZIP", ["GZIP"], object()]
NO_PATH = [5, 2.5, True, ["file"], object()]
NO_BOOL = [0, 1, 1.0, "", "False", None, []]

STREAM = {
    "record_format": [*NO_STR, None],
    "recordio_parts": [*NO_STR, None],
    "compression_type": NO_STR,
}
READER = {
    **STREAM,
    "max_record_bytes": [*NO_INT, None],
    "max_corrupted_records_to_skip": [*NO_INT, None],
    "read_timeout": NO_NUMBER,
}
WRONG = {
    records.RecordReader: {**READER, "path": [*NO_PATH, None], "name": NO_STR},
    records.ChannelReader: {
        **READER,
        "channel": [*NO_STR, None],
        "pipe_dir": NO_PATH,
        "state_dir": NO_PATH,
        "open_timeout": NO_NUMBER,
    },
    records.RecordWriter: {
        **STREAM,
        "path": [*NO_PATH, None],
        "recordio_max_part_bytes": [*NO_INT, None],
    },
    records.ChannelWriter: {
        "channel": [*NO_STR, None],
        "first_epoch": [*NO_INT, None],
        "chunk_bytes": [*NO_INT, None],
        "bytes_per_second": NO_NUMBER,
        "fault": NO_STR,
        "fault_at_byte": [*NO_INT, None],
    },
    records.encode: {
        "record_format": [*NO_STR, None],
        "recordio_parts": [*NO_STR, None],
        "recordio_max_part_bytes": [*NO_INT, None],
    },
    testing.serve: {
        **STREAM,
        "channels": [5, ["training"], None],
        "recordio_max_part_bytes": [*NO_INT, None],
        "base_dir": NO_PATH,
        "chunk_bytes": [*NO_INT, None],
        "bytes_per_second": NO_NUMBER,
        "fault": NO_STR,
        "fault_at_byte": [*NO_INT, None],
        "fault_epoch": NO_INT,
        "process": NO_BOOL,
    },
}
CASES = [
    pytest.param(
        call, name, value, id=f"{call.__name__}-{name}-{value!r:.30}".partition(" at 0x")[0]
    )
    for call, arguments in WRONG.items()
    for name, values in arguments.items()
    for value in values
]


def call_with(call, folder, **arguments):
    """Calls with good arguments for all that must be given."""
    good = {"path": folder / "file", "channel": "c", "record": b"", "channels": {}}
    if call is records.ChannelWriter:
        good["pipe_dir"] = folder
    wanted = inspect.signature(call).parameters
    result = call(**({name: good[name] for name in good if name in wanted} | arguments))
    if call is testing.serve:
        with result:
            pass


@pytest.mark.parametrize(("call", "name", "value"), CASES)
def test_a_wrong_type_is_a_type_error_that_names_it(tmp_path, monkeypatch, call, name, value):
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path))
    with pytest.raises(TypeError, match=rf"^{name} must be .*, not "):
        call_with(call, tmp_path, **{name: value})
    assert list(tmp_path.iterdir()) == []


def test_the_first_argument_of_a_channel_writer(tmp_path):
    with pytest.raises(TypeError, match=r"^pipe_dir must be a path"):
        records.ChannelWriter(5, "c")


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (call, name)
        for call, arguments in WRONG.items()
        for name, values in arguments.items()
        if 2.5 in values and True in values and "2" in values
    ],
)
def test_numbers_that_no_counter_holds_are_not_valid(tmp_path, call, name):
    with pytest.raises(records.InvalidArgumentError, match=f"{name} is too large"):
        call_with(call, tmp_path, **{name: 2**70})


def test_timeouts_that_no_float_holds_are_not_valid(tmp_path):
    (tmp_path / "file").touch()
    for value in (10**400, fractions.Fraction(10**400)):
        with pytest.raises(records.InvalidArgumentError, match="read_timeout is too large"):
            records.RecordReader(tmp_path / "file", read_timeout=value)
    for value in (2**70, fractions.Fraction(5, 2), np.float32(5), np.int8(5)):
        assert list(records.RecordReader(tmp_path / "file", read_timeout=value)) == []


@pytest.mark.parametrize("value", [*NO_INT, None], ids=lambda value: f"{value!r:.20}")
def test_calls_of_a_reader(tmp_path, value):
    path = tmp_path / "file"
    path.write_bytes(records.encode(b"a", "TextLine") * 3)
    with records.RecordReader(path, "TextLine") as reader:
        with pytest.raises(TypeError, match=r"^max_records must be an int, not "):
            reader.read_batch(value)
        with pytest.raises(TypeError, match=r"^count must be an int, not "):
            reader.skip(value)
        if value is not None:
            with pytest.raises(TypeError, match=r"^max_bytes must be an int or None, not "):
                reader.read_batch(1, value)
        assert reader.records == 0
        with pytest.raises(records.InvalidArgumentError, match="count is too large"):
            reader.skip(2**63)
        assert reader.skip(np.int64(1)) == 1
        data, _ = reader.read_batch(np.uint8(1), max_bytes=np.int32(1))
        assert data.tobytes() == b"a"


def test_paths_of_every_kind(tmp_path):
    path = tmp_path / "file"
    for spelling in (path, str(path), os.fsencode(path)):
        with records.RecordWriter(spelling, "TextLine") as writer:
            writer.write(b"a")
        assert list(records.RecordReader(spelling, "TextLine")) == [b"a"]
    assert job_paths.state_dir(os.fsencode(tmp_path)) == str(tmp_path)


@given(st.integers() | st.floats() | st.booleans() | st.text() | st.none() | st.binary())
def test_only_what_is_an_int_passes_for_one(value):
    passes = isinstance(value, int) and not isinstance(value, bool)
    try:
        arguments.check(count=value)
    except TypeError:
        assert not passes
    except ValueError:
        assert passes
        assert not -(2**63) <= value < 2**63
    else:
        assert passes


@pytest.mark.parametrize("call", WRONG)
def test_every_argument_is_tried(call):
    tried = {"self", "record"} | WRONG[call].keys()
    tried |= {"pipe_dir"} if call is records.ChannelWriter else set()
    assert set(inspect.signature(call).parameters) <= tried
