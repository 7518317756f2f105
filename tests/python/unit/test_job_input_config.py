# SPDX-License-Identifier: Apache-2.0
"""What is read from inputdataconfig.json, and what is said of what is wrong with it."""

import pytest
from sagemaker_tensorflow import PipeModeDatasetException
from sagemaker_tensorflow._job.input_config import ChannelSettings, InputConfig

CONFIG = {
    "training": {"TrainingInputMode": "Pipe", "RecordWrapperType": "None"},
    "other_case": {"TrainingInputMode": "pIPE"},
    "files": {"TrainingInputMode": "File"},
    "fast": {"TrainingInputMode": "FastFile"},
    "silent": {},
}


def parsed(config):
    channels = {name: ChannelSettings.parse(name, each) for name, each in config.items()}
    return InputConfig(channels, config)


def test_a_config_is_read(job):
    job.write_config(CONFIG)
    config = InputConfig.load(str(job.config_dir))
    assert config.as_read == CONFIG
    assert list(config.channels) == list(CONFIG)


def test_a_config_without_channels(job):
    job.write_config({})
    assert InputConfig.load(str(job.config_dir)).channels == {}


def test_no_config(tmp_path):
    with pytest.raises(PipeModeDatasetException) as raised:
        InputConfig.load(str(tmp_path))
    message = str(raised.value)
    assert f"no '{tmp_path}/inputdataconfig.json'" in message
    assert "pass config_dir, or set SAGEMAKER_BASE_DIR" in message
    assert "sagemaker_tensorflow.testing.serve()" in message


def test_a_config_that_cannot_be_read(tmp_path):
    (tmp_path / "inputdataconfig.json").mkdir()
    with pytest.raises(PipeModeDatasetException, match=r"cannot read '.*json': Is a directory"):
        InputConfig.load(str(tmp_path))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe{}"], ids=["empty", "broken", "no UTF-8"])
def test_a_config_that_is_no_json(job, content):
    (job.config_dir / "inputdataconfig.json").write_bytes(content)
    with pytest.raises(PipeModeDatasetException, match=r"json' is not valid JSON: "):
        InputConfig.load(str(job.config_dir))


@pytest.mark.parametrize("content", ["[]", "null", '{"training": "Pipe"}'])
def test_a_config_of_another_shape(job, content):
    job.write_config(content)
    with pytest.raises(PipeModeDatasetException, match="must hold one JSON object for each"):
        InputConfig.load(str(job.config_dir))


def test_which_channels_come_in_pipe_mode():
    assert parsed(CONFIG).pipe_channels == ["training", "other_case"]


@pytest.mark.parametrize("channel", ["training", "other_case"])
def test_the_mode_compares_without_case(channel):
    parsed(CONFIG).pipe_channel(channel)


@pytest.mark.parametrize(
    ("channel", "mode"), [("files", "'File'"), ("fast", "'FastFile'"), ("silent", "None")]
)
def test_a_channel_in_another_mode(channel, mode):
    message = f"channel '{channel}' is not in Pipe mode but has TrainingInputMode {mode}: start"
    with pytest.raises(PipeModeDatasetException, match=message):
        parsed(CONFIG).pipe_channel(channel)


def test_an_unknown_channel():
    message = "channel 'tests' is not in .*its channels: fast, files, other_case, silent, training"
    with pytest.raises(PipeModeDatasetException, match=message):
        parsed(CONFIG).pipe_channel("tests")


def test_an_unknown_channel_of_a_job_without_channels():
    with pytest.raises(PipeModeDatasetException, match="its channels: none"):
        parsed({}).pipe_channel("training")


@pytest.mark.parametrize("channel", ["", "../training", "a/b", "a b", "ä", "a\n", "x" * 65])
def test_a_name_that_is_none(channel):
    with pytest.raises(
        PipeModeDatasetException, match=r"is not a valid channel name: 1 to 64 .*no path"
    ):
        parsed({channel: {"TrainingInputMode": "Pipe"}}).pipe_channel(channel)


@pytest.mark.parametrize("channel", ["a", "train_0", "A.b-C_9", "x" * 64])
def test_names_of_all_kinds(channel):
    parsed({channel: {"TrainingInputMode": "Pipe"}}).pipe_channel(channel)


def test_what_is_said_of_a_channel():
    settings = ChannelSettings.parse(
        "c",
        {
            "TrainingInputMode": "FASTFILE",
            "S3DistributionType": "ShardedByS3Key",
            "RecordWrapperType": "RecordIO",
            "ShuffleConfig": {"Seed": 1},
            "AttributeNames": ["b", "a"],
        },
    )
    assert settings == ChannelSettings("c", "fastfile", "FASTFILE", True, True, True, ("b", "a"))


def test_what_is_not_said_or_odd():
    nothing = ChannelSettings("c", None, None, None, False, False, None)
    assert ChannelSettings.parse("c", {}) == nothing
    odd = {"S3DistributionType": 1, "RecordWrapperType": [], "AttributeNames": "a"}
    assert ChannelSettings.parse("c", odd) == nothing
    for names in ([], ["a", 1], {}, None):
        assert ChannelSettings.parse("c", {"AttributeNames": names}) == nothing


def test_a_channel_in_any_mode():
    config = parsed(CONFIG)
    assert config.channel("fast").mode == "fastfile"
    with pytest.raises(PipeModeDatasetException, match="None, which is none of 'Pipe', 'File' and"):
        config.channel("silent")
    assert config.find("files") is config.channels["files"]
    assert config.find("other") is config.find(b"files") is None
