# SPDX-License-Identifier: Apache-2.0
"""RecordReader and ChannelReader: which arguments, files and folders they refuse."""

import os
import time
from pathlib import Path

import pytest
from sagemaker_tensorflow import records as rec
from sagemaker_tensorflow.records import ChannelReader, RecordReader


@pytest.mark.parametrize("count", [0, -1])
def test_a_batch_has_at_least_one_record(count, file_of):
    reader = RecordReader(file_of(b"a\n"), "TextLine")
    with pytest.raises(rec.InvalidArgumentError, match="max_records must be at least 1"):
        reader.read_batch(count)
    with pytest.raises(rec.InvalidArgumentError, match="count must be at least 0"):
        reader.skip(-1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"record_format": "CSV"}, "'RecordIO', 'TFRecord', 'TextLine'"),
        ({"compression_type": "lzma"}, "'GZIP', 'ZLIB'"),
        ({"recordio_parts": "glued"}, "'joined', 'dmlc'"),
        ({"max_record_bytes": 0}, "max_record_bytes must be at least 1"),
        ({"max_corrupted_records_to_skip": -1}, "must be at least 0"),
        ({"read_timeout": 0}, "read_timeout must be a positive number"),
        ({"read_timeout": float("nan")}, "read_timeout must be a positive number"),
    ],
)
def test_arguments_are_checked(options, message, file_of, tmp_path):
    with pytest.raises(rec.InvalidArgumentError, match=message):
        RecordReader(file_of(b""), **options)
    with pytest.raises(ValueError, match=message):
        ChannelReader("c", **options, pipe_dir=tmp_path, state_dir=tmp_path)


def test_a_channel_name_is_no_path(tmp_path):
    with pytest.raises(rec.InvalidArgumentError, match="not a valid channel name"):
        ChannelReader("../c", pipe_dir=tmp_path, state_dir=tmp_path)


@pytest.mark.parametrize("argument", [{}, {"pipe_dir": "none"}, {"pipe_dir": "file"}])
def test_a_channel_reader_without_a_pipe_folder_fails_at_once(tmp_path, monkeypatch, argument):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(tmp_path / "ml"))
    (tmp_path / "file").touch()
    begin = time.monotonic()
    with pytest.raises(rec.NotFoundError, match=r"there is no folder '.*pass pipe_dir, or set SAG"):
        rec.ChannelReader("training", **argument)
    assert time.monotonic() - begin < 10
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_only_files_and_fifos_are_read(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cannot open '.*nothing'"):
        RecordReader(tmp_path / "nothing")
    with pytest.raises(rec.FailedPreconditionError, match="neither a FIFO nor a regular file"):
        RecordReader(tmp_path)


def test_a_path_need_not_be_utf8(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    with pytest.raises(rec.NotFoundError) as caught:
        RecordReader(path)
    assert path in str(caught.value)
    Path(path).write_bytes(b"line\n")
    assert list(RecordReader(path, "TextLine")) == [b"line"]
