# SPDX-License-Identifier: Apache-2.0
"""What is wrong in a request is said, with the field; and nothing else can happen."""

import copy
import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sagemaker_tensorflow._local.request import command_line, request
from sagemaker_tensorflow._local.request import job as jobs
from sagemaker_tensorflow._local.request.command_line import Options
from sagemaker_tensorflow._local.request.request import RequestError
from sagemaker_tensorflow._local.script import toolkit_variables

VALID = {
    "TrainingJobName": "a-job",
    "AlgorithmSpecification": {"TrainingInputMode": "Pipe", "TrainingImage": "any"},
    "RoleArn": "arn:aws:iam::123456789012:role/service-role/any",
    "HyperParameters": {
        "sagemaker_program": '"train.py"',
        "sagemaker_submit_directory": '"file://src"',
        "epochs": "3",
    },
    "Environment": {"NAME": "value"},
    "InputDataConfig": [
        {
            "ChannelName": "training",
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "S3Prefix",
                    "S3Uri": "s3://bucket/prefix",
                    "S3DataDistributionType": "ShardedByS3Key",
                }
            },
            "CompressionType": "Gzip",
            "ShuffleConfig": {"Seed": 7},
        },
        {
            "ChannelName": "manifest",
            "InputMode": "Pipe",
            "RecordWrapperType": "RecordIO",
            "ContentType": "image/png",
            "DataSource": {
                "S3DataSource": {
                    "S3DataType": "AugmentedManifestFile",
                    "S3Uri": "s3://bucket/a.manifest",
                    "AttributeNames": ["image-ref", "label"],
                }
            },
        },
    ],
    "OutputDataConfig": {"S3OutputPath": "s3://bucket/output"},
    "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 1},
    "StoppingCondition": {"MaxRuntimeInSeconds": 3600},
    "CheckpointConfig": {"S3Uri": "s3://bucket/checkpoints"},
}

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("job")
    (folder / "src").mkdir()
    (folder / "src" / "train.py").write_text("")
    return folder


def problems_of(changed, folder):
    with pytest.raises(RequestError) as caught:
        jobs.from_request(changed, folder)
    return caught.value.problems


def problems_if_any(function):
    try:
        function()
    except RequestError as error:
        return error.problems
    return []


def with_value(path, value):
    """``VALID`` with another value at a path of keys; ``...`` removes it."""
    changed = copy.deepcopy(VALID)
    *parents, last = path
    place = changed
    for key in parents:
        place = place[key]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return changed


def paths(value, path=()):
    """All paths into a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        yield (*path, key)
        if isinstance(item, dict | list):
            yield from paths(item, (*path, key))


def test_a_valid_request(folder):
    job = jobs.from_request(VALID, folder)
    training, manifest = job.channels
    assert (training.name, training.mode, training.compression) == ("training", "Pipe", "Gzip")
    assert (training.distribution, training.shuffle_seed) == ("ShardedByS3Key", 7)
    assert manifest.attribute_names == ("image-ref", "label")
    assert [host.name for host in job.hosts] == ["algo-1", "algo-2"]
    assert job.source == folder / "src"
    assert job.max_seconds == 3600
    # Kept nowhere, which is said.
    assert job.checkpoint_uri is None
    assert any(text.startswith("CheckpointConfig.S3Uri") for text in job.ignored)


def test_the_service_would_take_it_too():
    """Our valid request is one by the service's own model."""
    session = pytest.importorskip("botocore.session")
    from botocore.validate import ParamValidator

    model = session.get_session().get_service_model("sagemaker")
    shape = model.shape_for("CreateTrainingJobRequest")
    assert not ParamValidator().validate(VALID, shape).has_errors()
    assert set(shape.members) <= set(request._REQUEST.members)  # nothing of it is unknown here


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("TrainingJobName",), "a_job", "TrainingJobName: 'a_job' is not allowed"),
        (("HyperParameters",), ["a"], "HyperParameters: an object expected, not a list"),
        (("HyperParameters", "epochs"), 3, "HyperParameters.epochs: a string expected, not a "),
        (("HyperParameters", "a=b"), "1", "HyperParameters (key 'a=b')"),
        (
            ("HyperParameters", "long"),
            "x" * 2501,
            "HyperParameters.long: 2501 characters, and 2500",
        ),
        (("HyperParameters", "nul"), '"\\u0000"', "HyperParameters.nul: no process can be given"),
        (
            ("HyperParameters", "sagemaker_program"),
            ...,
            "HyperParameters.sagemaker_program: missing",
        ),
        (
            ("HyperParameters", "sagemaker_program"),
            "../x.py",
            "HyperParameters.sagemaker_program: '",
        ),
        (("HyperParameters", "sagemaker_program"), "no.py", "no file 'no.py' in"),
        (("HyperParameters", "sagemaker_submit_directory"), "s3://b/s.tar.gz", "is not fetched"),
        (("Environment", "a-b"), "x", "Environment (key 'a-b'): 'a-b' is not allowed"),
        (("AlgorithmSpecification", "TrainingInputMode"), "PIPE", "'PIPE': write Pipe"),
        (
            ("AlgorithmSpecification", "TrainingInputMode"),
            ...,
            "InputDataConfig[0].InputMode: missing",
        ),
        (("AlgorithmSpecification", "ContainerEntrypoint"), ["x"], "no container runs here"),
        (
            ("InputDataConfig", 1, "ChannelName"),
            "a b",
            "InputDataConfig[1].ChannelName: 'a b' is not",
        ),
        (("InputDataConfig", 1, "ChannelName"), "training", "[1].ChannelName: 'training' is also"),
        (
            ("InputDataConfig", 1, "ChanelName"),
            "x",
            "ChanelName: no such field: did you mean Channel",
        ),
        (("InputDataConfig", 0, "DataSource"), {}, "InputDataConfig[0].DataSource: 0 sources"),
        (("InputDataConfig", 0, "ShuffleConfig", "Seed"), -1, "ShuffleConfig.Seed: -1: at least 0"),
        (
            ("InputDataConfig", 0, "ShuffleConfig"),
            {},
            "InputDataConfig[0].ShuffleConfig.Seed: missing",
        ),
        (("InputDataConfig", 0, "InputMode"), "File", "InputDataConfig[0]: channel 'training': "),
        (
            ("InputDataConfig", 0, "DataSource", "S3DataSource", "S3Uri"),
            "https://bucket",
            "InputDataConfig[0].DataSource.S3DataSource.S3Uri: 'https://bucket' is not allowed",
        ),
        (
            ("ResourceConfig", "InstanceCount"),
            True,
            "InstanceCount: a whole number expected, not true",
        ),
        (("ResourceConfig", "InstanceCount"), 0, "ResourceConfig.InstanceCount: 0: at least 1"),
        (("StoppingCondition", "MaxRuntimeInSeconds"), 0, "MaxRuntimeInSeconds: 0: at least 1"),
        (
            ("CheckpointConfig", "LocalPath"),
            "/opt/ml/model",
            "CheckpointConfig.LocalPath: '/opt/ml/m",
        ),
        (("OutputDataConfig",), {}, "OutputDataConfig.S3OutputPath: missing"),
        (("Inputs",), [], "Inputs: no such field"),
    ],
)
def test_problems_name_the_field(folder, path, value, said):
    assert said in "\n".join(problems_of(with_value(path, value), folder))


def test_all_problems_are_named_at_once(folder):
    changed = with_value(("TrainingJobName",), "-")
    changed["InputDataConfig"][0]["ChannelName"] = ""
    changed["StoppingCondition"] = None
    fields = [problem.split(":")[0] for problem in problems_of(changed, folder)]
    assert fields == ["TrainingJobName", "InputDataConfig[0].ChannelName", "StoppingCondition"]


def test_folder_and_fifo_of_one_name(folder):
    changed = copy.deepcopy(VALID)
    changed["InputDataConfig"][1] = {
        "ChannelName": "training_3",
        "InputMode": "File",
        "DataSource": {"FileDataSource": {"FileUri": "file://src"}},
    }
    assert "InputDataConfig[1].ChannelName: the folder of" in problems_of(changed, folder)[0]


@given(value=JSON)
def test_any_json(folder, value):
    with pytest.raises(RequestError):
        jobs.from_request(value, folder)


@example(path=("AlgorithmSpecification",), value={"\n": None})
@given(path=st.sampled_from(list(paths(VALID))), value=JSON)
def test_any_change(folder, path, value):
    """It is fine, or what is wrong is said, in one line each."""
    for problem in problems_if_any(lambda: jobs.from_request(with_value(path, value), folder)):
        assert problem.split(":")[0].split("[")[0].split(".")[0].split(" ")[0] in VALID
        assert "\n" not in problem


texts = st.lists(st.text(max_size=20) | st.from_regex(r"\A[a-z]+=[a-z0-9,=/:-]*\Z"), max_size=3)


@example(channels=[], hyperparameters=[], environment=[], output="~nobody/x")
@given(channels=texts, hyperparameters=texts, environment=texts, output=st.none() | st.text())
def test_any_option(folder, channels, hyperparameters, environment, output):
    said = Options(
        script=folder / "src" / "train.py",
        channels=channels,
        hyperparameters=hyperparameters,
        environment=environment,
        output_path=output,
    )
    if not problems_if_any(lambda: jobs.from_request(command_line.apply(said, None), folder)):
        made = command_line.apply(said, None)
        job = jobs.from_request(made, folder)
        assert json.loads(json.dumps(made)) == made
        assert len(job.channels) == len({text.split("=")[0] for text in channels})


KEYS = {
    "mode": (st.just("Pipe"), "mode"),
    "compression": (st.sampled_from(["None", "Gzip"]), "compression"),
    "wrapper": (st.sampled_from(["None", "RecordIO"]), "record_wrapper"),
    "shuffle-seed": (st.integers(0, 2**64 - 1), "shuffle_seed"),
    "distribution": (st.sampled_from(["FullyReplicated", "ShardedByS3Key"]), "distribution"),
    "content-type": (st.sampled_from(["text/csv", "a,b", "x=y,z"]), "content_type"),
}


@given(
    uri=st.sampled_from(["s3://bucket/a,b=c", "s3://bucket/x=1/", "/data/*.gz", "/a b/ü"]),
    settings=st.fixed_dictionaries({}, optional={key: kind for key, (kind, _) in KEYS.items()}),
)
def test_channel_option(folder, uri, settings):
    text = ",".join([f"training={uri}", *(f"{key}={value}" for key, value in settings.items())])
    said = Options(script=folder / "src" / "train.py", channels=[text])
    [channel] = jobs.from_request(command_line.apply(said, None), folder).channels
    assert channel.uri.removeprefix("file://") == uri
    for key, value in settings.items():
        assert getattr(channel, KEYS[key][1]) == value


def test_attributes_option(folder):
    text = "m=s3://bucket/a.manifest,attributes=image-ref,label,mode=Pipe,shuffle-seed=1"
    said = Options(script=folder / "src" / "train.py", channels=[text])
    [channel] = jobs.from_request(command_line.apply(said, None), folder).channels
    assert channel.attribute_names == ("image-ref", "label")
    assert channel.data_type == "AugmentedManifestFile"
    assert channel.shuffle_seed == 1


@pytest.mark.parametrize(
    ("channels", "problem"),
    [
        (["a=/tmp", "b=/tmp", "a=/"], "--channel a: named 2 times"),
        (["a={folder},foo=bar"], "--channel a: no setting 'foo'; there are attributes, compr"),
        (["a={folder},mdoe=File"], "--channel a: no setting 'mdoe': did you mean mode?"),
    ],
)
def test_bad_channel_options(folder, channels, problem):
    said = Options(channels=[text.format(folder=folder) for text in channels])
    with pytest.raises(RequestError) as caught:
        command_line.apply(said, VALID)
    assert caught.value.problems[0].startswith(problem)


def test_a_comma_in_a_path(tmp_path):
    (tmp_path / "a,b=c").mkdir()
    (tmp_path / "a").mkdir()
    result = command_line.apply(Options(channels=[f"x={tmp_path}/a,b=c"]), VALID)
    source = result["InputDataConfig"][-1]["DataSource"]["S3DataSource"]
    assert source["S3Uri"] == f"file://{tmp_path}/a,b=c"


def test_a_name_reaches_the_script(folder):
    named = copy.deepcopy(VALID)
    named["HyperParameters"]["sagemaker_job_name"] = '"a-job"'
    job = jobs.from_request(command_line.apply(Options(job_name="second"), named), folder)
    assert (job.name, job.hyperparameters["sagemaker_job_name"]) == ("second", '"second"')


def test_a_request_without_a_name_gets_a_new_one_each_time(folder):
    request = command_line.apply(Options(script=folder / "src" / "train.py"), None)
    first, second = (jobs.from_request(request, folder) for _ in range(2))
    assert re.fullmatch(r"train-[0-9-]{19}-[0-9a-f]{4}", first.name)
    assert first.name != second.name
    assert first.hyperparameters["sagemaker_job_name"] == f'"{first.name}"'


def test_a_byte_order_mark(tmp_path):
    path = tmp_path / "job.json"
    path.write_text(json.dumps(VALID), encoding="utf-8-sig")
    assert request.load(path) == VALID


def test_a_driver_that_hangs(tmp_path, monkeypatch):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(toolkit_variables, "_DRIVER_SECONDS", 0.1)
    assert toolkit_variables._gpus.__wrapped__() == 0


def test_options_change_a_request(folder):
    said = Options(
        channels=["training=/mine,mode=File"],
        hyperparameters=["epochs=1", "more=2"],
        environment=["NAME=other"],
        instance_count=1,
        output_path="/out",
        max_run=5,
    )
    job = jobs.from_request(command_line.apply(said, VALID), folder)
    assert {channel.name: channel.mode for channel in job.channels} == {
        "manifest": "Pipe",
        "training": "File",
    }
    assert job.hyperparameters["epochs"] == "1"
    assert job.hyperparameters["more"] == "2"
    assert job.environment == {"NAME": "other"}
    assert len(job.hosts) == 1
    assert job.output_uri == "file:///out"
    assert job.max_seconds == 5
    assert VALID["HyperParameters"]["epochs"] == "3"  # it is left as it was


def test_script_in_a_source_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    for script in ("train.py", "src/train.py"):
        said = Options(
            script=folder.joinpath(script).relative_to(folder), source_dir=folder / "src"
        )
        job = jobs.from_request(command_line.apply(said, None), folder)
        assert (job.program, job.source) == ("train.py", folder / "src")
    with pytest.raises(RequestError, match="is not in --source-dir"):
        command_line.apply(Options(script=folder / "x.py", source_dir=folder / "src"), None)


def test_groups(folder):
    changed = copy.deepcopy(VALID)
    changed["ResourceConfig"] = {
        "InstanceGroups": [
            {"InstanceGroupName": "big", "InstanceType": "ml.p3.2xlarge", "InstanceCount": 1},
            {"InstanceGroupName": "small", "InstanceType": "ml.m5.large", "InstanceCount": 10},
        ]
    }
    source = changed["InputDataConfig"][0]["DataSource"]["S3DataSource"]
    source["InstanceGroupNames"] = ["small"]
    job = jobs.from_request(changed, folder)
    assert [host.name for host in job.hosts] == sorted(host.name for host in job.hosts)
    feeds = {host.name: job.feeds(host) for host in job.hosts}
    assert [feed.channel.name for feed in feeds["algo-1"]] == ["manifest"]
    shards = [
        (feed.host_index, feed.host_count)
        for given in feeds.values()
        for feed in given
        if feed.channel.name == "training"
    ]
    assert sorted(shards) == [(index, 10) for index in range(10)]
    source["InstanceGroupNames"] = ["huge"]
    assert "no group 'huge'" in problems_of(changed, folder)[0]


def test_requests_of_the_documentation(folder):
    text = (Path(__file__).parents[3] / "docs" / "local.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert blocks
    for block in blocks:
        jobs.from_request(json.loads(block), folder)
