# SPDX-License-Identifier: Apache-2.0
"""The arguments of PipeModeDataset: names, order, meaning, and what is said of wrong ones."""

import inspect
import math
import os
from pathlib import Path

import pytest
import tensorflow as tf
from dataset_helpers import make, records
from pipe_helpers import FORMATS
from sagemaker_tensorflow import PipeModeDataset, PipeModeDatasetException


def test_the_first_eight_are_those_of_the_predecessor():
    parameters = list(inspect.signature(PipeModeDataset).parameters.values())
    assert [(p.name, p.default) for p in parameters[:8]] == [
        ("channel", inspect.Parameter.empty),
        ("record_format", "RecordIO"),
        ("state_dir", None),  # None: the folder of before, unless the environment says otherwise
        ("pipe_dir", None),
        ("config_dir", None),
        ("benchmark", False),
        ("benchmark_records_interval", 0),
        ("max_corrupted_records_to_skip", 0),
    ]
    assert all(p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters[:8])
    assert all(p.kind is p.KEYWORD_ONLY for p in parameters[8:])


def test_all_eight_by_position(serve, make_job, monkeypatch, tmp_path):
    with serve({"training": [[b"a"]]}) as job:
        monkeypatch.delenv("SAGEMAKER_BASE_DIR")
        ds = PipeModeDataset(
            "training",
            "TFRecord",
            str(tmp_path / "state"),
            job.host.pipe_dir,
            job.host.config_dir,
            True,
            5,
            2,
        )
        assert records(ds) == [b"a"]
    assert (tmp_path / "state" / ".training-pipe_mode-state").read_text() == "1"
    assert not (Path(job.state_dir) / ".training-pipe_mode-state").exists()


def test_attributes(job):
    ds = PipeModeDataset(
        "training",
        "tfRecord",
        benchmark=True,
        benchmark_records_interval=5,
        max_corrupted_records_to_skip=2,
    )
    for like_it in (ds, ds.batch(2)):
        assert like_it.channel == "training"
        assert like_it.record_format == "tfRecord"
        assert like_it.pipe_dir == str(job.pipe_dir)
        assert like_it.state_dir == str(job.state_dir)
        assert like_it.benchmark is True
        assert like_it.benchmark_records_interval == 5
        assert like_it.max_corrupted_records_to_skip == 2
        assert like_it.input_data_config["validation"] == {"TrainingInputMode": "Pipe"}


def test_folders_as_arguments_beat_the_environment(serve, make_job, monkeypatch):
    with serve({"training": [[b"a"]]}) as job:
        elsewhere = make_job()
        monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(elsewhere.base_dir))
        ds = make(pipe_dir=job.pipe_dir, state_dir=job.state_dir, config_dir=job.config_dir)
        assert records(ds) == [b"a"]
        assert job.state() == "1"
        assert elsewhere.state() is None


@pytest.mark.parametrize("spelling", [str.lower, str.upper])
@pytest.mark.parametrize("record_format", FORMATS)
def test_formats_compare_without_case(serve, record_format, spelling):
    with serve({"training": [[b"a", b"b"]]}, record_format):
        assert records(make(record_format=spelling(record_format))) == [b"a", b"b"]


def test_recordio_is_the_default(serve):
    with serve({"training": [[b"a"]]}, "RecordIO"):
        assert records(PipeModeDataset("training", open_timeout=30)) == [b"a"]


@pytest.mark.parametrize("spelling", [str.lower, str.capitalize])
@pytest.mark.parametrize("compression", ["GZIP", "ZLIB"])
def test_compressions_compare_without_case(serve, compression, spelling):
    with serve({"training": [[b"a", b"b"]]}, compression_type=compression):
        assert records(make(compression_type=spelling(compression))) == [b"a", b"b"]


@pytest.mark.parametrize("no_compression", [None, "", "None"])
def test_no_compression(serve, no_compression):
    with serve({"training": [[b"a"]]}):
        assert records(make(compression_type=no_compression)) == [b"a"]


@pytest.mark.parametrize(
    ("recordio_parts", "record"),
    [("joined", b"abcdefgh"), ("DMLC", b"abcd\x0a\x23\xd7\xceefgh")],
)
def test_recordio_parts(serve, recordio_parts, record):
    with serve({"training": [[b"abcd\x0a\x23\xd7\xceefgh"]]}, "RecordIO", recordio_parts="dmlc"):
        assert records(make(record_format="RecordIO", recordio_parts=recordio_parts)) == [record]


@pytest.mark.parametrize(
    "options",
    [
        {"open_timeout": None, "read_timeout": None},
        {"open_timeout": math.inf, "read_timeout": math.inf},
        {"open_timeout": 30, "read_timeout": 1e300},
    ],
)
def test_no_time_limit(serve, options):
    with serve({"training": [[b"a"]]}):
        assert records(make(**options)) == [b"a"]


@pytest.mark.parametrize(
    "channel",
    ["training", b"training", tf.constant("training")],
    ids=["str", "bytes", "eager tensor"],
)
def test_a_channel_that_is_known_is_a_str(job, channel):
    assert PipeModeDataset(channel).channel == "training"
    job.write_config({})
    with pytest.raises(PipeModeDatasetException, match="channel 'training' is not in the job's"):
        PipeModeDataset(channel)


@pytest.mark.parametrize(
    "channel",
    [None, 3, ["training"], tf.constant(3), tf.constant(["training", "validation"])],
    ids=["None", "int", "list", "int tensor", "vector"],
)
def test_what_no_channel_can_be(job, channel):
    with pytest.raises(PipeModeDatasetException, match=r"channel must be a name or a scalar tf"):
        PipeModeDataset(channel)


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        ("tests", "channel 'tests' is not in the job's"),
        ("files", "channel 'files' is not in Pipe mode"),
        ("../training", "'../training' is not a valid channel name"),
        (tf.constant(b"\xff"), "is not a valid channel name"),
    ],
)
def test_a_channel_that_cannot_be_read(job, channel, message):
    job.write_config({"training": {"TrainingInputMode": "Pipe"}, "files": {}})
    with pytest.raises(PipeModeDatasetException) as raised:
        PipeModeDataset(channel)
    assert message in str(raised.value)
    assert not job.state_dir.exists()


def test_no_configuration(job):
    (job.config_dir / "inputdataconfig.json").unlink()
    with pytest.raises(PipeModeDatasetException, match=f"no '{job.config_dir}/inputdataconfig"):
        PipeModeDataset("training")


def test_a_state_folder_is_made(job, tmp_path):
    PipeModeDataset("training", state_dir=tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()


def test_a_state_folder_that_cannot_be_made(job, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PipeModeDatasetException) as raised:
        PipeModeDataset("training", state_dir=tmp_path / "file" / "state")
    assert str(raised.value) == (
        f"cannot make the state folder '{tmp_path}/file/state': Not a directory; "
        "pass a writable state_dir"
    )


def test_a_state_folder_that_cannot_be_written(job, tmp_path, monkeypatch):
    # The tests may run as root, who may write everywhere.
    monkeypatch.setattr(os, "access", lambda path, mode: not (mode & os.W_OK))
    with pytest.raises(PipeModeDatasetException) as raised:
        PipeModeDataset("training", state_dir=tmp_path)
    assert str(raised.value) == (
        f"the state folder '{tmp_path}' is not writable; pass a writable state_dir"
    )


POSITIVE = "must be a positive number of seconds"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"record_format": "csv"}, "record_format 'csv' is not one of 'RecordIO', 'TFRecord', 'T"),
        ({"record_format": ""}, "record_format '' is not one of"),
        ({"compression_type": "snappy"}, "compression_type 'snappy' is not one of '' (none), 'GZ"),
        ({"recordio_parts": "split"}, "recordio_parts 'split' is not one of 'joined', 'dmlc'"),
        ({"open_timeout": 0}, f"open_timeout {POSITIVE}"),
        ({"open_timeout": -1}, f"open_timeout {POSITIVE}"),
        ({"open_timeout": math.nan}, f"open_timeout {POSITIVE}"),
        ({"read_timeout": 0}, f"read_timeout {POSITIVE}"),
        ({"read_timeout": -math.inf}, f"read_timeout {POSITIVE}"),
        ({"read_timeout": math.nan}, f"read_timeout {POSITIVE}"),
        ({"max_record_bytes": 0}, "max_record_bytes must be positive"),
        ({"max_record_bytes": -1}, "max_record_bytes must not be negative, but is -1"),
        (
            {"max_corrupted_records_to_skip": -1},
            "max_corrupted_records_to_skip must not be negative, but is -1",
        ),
        (
            {"benchmark_records_interval": -1},
            "benchmark_records_interval must not be negative, but is -1",
        ),
    ],
    ids=lambda value: (
        "-".join(map(str, next(iter(value.items())))) if isinstance(value, dict) else ""
    ),
)
def test_arguments_that_mean_nothing(job, options, message):
    with pytest.raises(tf.errors.InvalidArgumentError) as raised:
        make(**options)
    assert message in raised.value.message
