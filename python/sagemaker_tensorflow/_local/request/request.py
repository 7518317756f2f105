# SPDX-License-Identifier: Apache-2.0
"""A ``CreateTrainingJob`` request, the one description of a job, and what is wrong with it.

The fields are those of the service, with two more data sources that mean files of this machine:
``FileDataSource``, which the SageMaker SDK's local mode writes, and a ``FileSystemDataSource`` with
a ``DirectoryPath`` alone. What the service requires and nothing here needs (a role, an image, an
output path) may be missing.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, get_args

from sagemaker_tensorflow._feed.channel import (
    Compression,
    Distribution,
    Mode,
    RecordWrapper,
)
from sagemaker_tensorflow._local.request.fields import (
    Anything,
    Boolean,
    Choice,
    Integer,
    ListOf,
    MapOf,
    Problems,
    Structure,
    Text,
)
from sagemaker_tensorflow._storage.objects import DataType

Request = dict[str, Any]

DEFAULT_GROUP = "homogeneousCluster"
JOB_NAME = "sagemaker_job_name"
PROGRAM = "sagemaker_program"
SUBMIT_DIRECTORY = "sagemaker_submit_directory"

_ANY = Anything()
_URI = Text(
    1024, r"(s3|file)://.+", "s3://bucket/prefix, or file:///path for files of this machine"
)
_FILE_URI = Text(1024, r"file://.+", "file:///path expected")
# A name of a variable is made of it.
_HYPERPARAMETER_NAME = Text(256, r"[^=]+", "1 to 256 characters without '='")

_CHANNEL = Structure(
    {
        "ChannelName": Text(
            64, r"(?!\.{1,2}$)[A-Za-z0-9.\-_]+", "letters, digits, '.', '-' and '_', at most 64"
        ),
        "DataSource": Structure(
            {
                "S3DataSource": Structure(
                    {
                        "S3DataType": Choice(get_args(DataType)),
                        "S3Uri": _URI,
                        "S3DataDistributionType": Choice(get_args(Distribution)),
                        "AttributeNames": ListOf(Text(256, ".+", "a name"), 0, 16),
                        "InstanceGroupNames": ListOf(Text(64), 0, 5),
                        "ModelAccessConfig": _ANY,
                        "HubAccessConfig": _ANY,
                    },
                    required=("S3DataType", "S3Uri"),
                ),
                "FileDataSource": Structure(
                    {
                        "FileUri": _FILE_URI,
                        "FileDataDistributionType": Choice(get_args(Distribution)),
                    },
                    required=("FileUri",),
                ),
                "FileSystemDataSource": Structure(
                    {
                        "DirectoryPath": Text(4096, "/.*", "an absolute path of this machine"),
                        "FileSystemAccessMode": _ANY,
                        "FileSystemId": _ANY,
                        "FileSystemType": _ANY,
                    },
                    required=("DirectoryPath",),
                ),
            }
        ),
        "ContentType": Text(256),
        "CompressionType": Choice(get_args(Compression)),
        "RecordWrapperType": Choice(get_args(RecordWrapper)),
        "InputMode": Choice(get_args(Mode)),
        "ShuffleConfig": Structure({"Seed": Integer(0, 2**64 - 1)}, required=("Seed",)),
    },
    required=("ChannelName", "DataSource"),
)

# Known to the service, and without a meaning on one machine.
IGNORED = (
    "DebugHookConfig",
    "DebugRuleConfigurations",
    "EnableInterContainerTrafficEncryption",
    "EnableManagedSpotTraining",
    "EnableNetworkIsolation",
    "ExperimentConfig",
    "InfraCheckConfig",
    "MlflowConfig",
    "ModelPackageConfig",
    "ProfilerConfig",
    "ProfilerRuleConfigurations",
    "RemoteDebugConfig",
    "RetryStrategy",
    "ServerlessJobConfig",
    "SessionChainingConfig",
    "TensorBoardOutputConfig",
    "VpcConfig",
)

_REQUEST = Structure(
    {
        "TrainingJobName": Text(
            63, r"[a-zA-Z0-9](-*[a-zA-Z0-9])*", "letters, digits and '-' between them, at most 63"
        ),
        "HyperParameters": MapOf(_HYPERPARAMETER_NAME, Text(2500), most=100),
        "AlgorithmSpecification": Structure(
            {
                "TrainingInputMode": Choice(get_args(Mode)),
                "TrainingImage": _ANY,
                "AlgorithmName": _ANY,
                "MetricDefinitions": _ANY,
                "EnableSageMakerMetricsTimeSeries": Boolean(),
                "ContainerEntrypoint": _ANY,
                "ContainerArguments": _ANY,
                "TrainingImageConfig": _ANY,
            },
        ),
        "RoleArn": _ANY,
        "InputDataConfig": ListOf(_CHANNEL, 0, 20),
        "OutputDataConfig": Structure(
            {"S3OutputPath": _URI, "KmsKeyId": _ANY, "CompressionType": Choice(("GZIP", "NONE"))},
            required=("S3OutputPath",),
        ),
        "ResourceConfig": Structure(
            {
                "InstanceType": Text(64),
                "InstanceCount": Integer(1, 100),
                "InstanceGroups": ListOf(
                    Structure(
                        {
                            "InstanceType": Text(64),
                            "InstanceCount": Integer(1, 100),
                            "InstanceGroupName": Text(64, ".+", "a name"),
                        },
                        required=("InstanceType", "InstanceCount", "InstanceGroupName"),
                    ),
                    1,
                    5,
                ),
                "VolumeSizeInGB": _ANY,
                "VolumeKmsKeyId": _ANY,
                "KeepAlivePeriodInSeconds": _ANY,
                "TrainingPlanArn": _ANY,
                "InstancePlacementConfig": _ANY,
                "InstanceOptions": _ANY,
            }
        ),
        "StoppingCondition": Structure(
            {
                "MaxRuntimeInSeconds": Integer(1),
                "MaxWaitTimeInSeconds": _ANY,
                "MaxPendingTimeInSeconds": _ANY,
            }
        ),
        "CheckpointConfig": Structure(
            {"S3Uri": _URI, "LocalPath": Text(4096)}, required=("S3Uri",)
        ),
        "Environment": MapOf(
            Text(512, "[a-zA-Z_][a-zA-Z0-9_]*", "letters, digits and '_', and no digit first"),
            Text(512),
            most=100,
        ),
        "Tags": _ANY,
        **dict.fromkeys(IGNORED, _ANY),
    }
)


class RequestError(ValueError):
    """A request that cannot be run.

    Attributes:
        problems: What is wrong, each with the path of the field.
    """

    def __init__(self, problems: list[str]) -> None:
        # A line each, whatever names and values hold.
        self.problems = [
            "".join(one if one.isprintable() else repr(one)[1:-1] for one in problem)
            for problem in problems
        ]
        super().__init__("\n".join(self.problems))


def load(path: Path) -> Request:
    """Reads a request from a JSON file.

    Raises:
        RequestError: If the file cannot be read, or holds no JSON object.
    """
    try:
        request = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise RequestError([f"cannot read '{path}': {error.strerror}"]) from None
    except (ValueError, RecursionError) as error:
        raise RequestError([f"'{path}' is not valid JSON: {error}"]) from None
    if not isinstance(request, dict):
        raise RequestError([f"'{path}' holds no JSON object, which a request is"])
    return request


def validate(request: Any) -> None:
    """Checks a request.

    Raises:
        RequestError: If anything in it is wrong; it names all that is.
    """
    problems: Problems = []
    _REQUEST.check(request, "", problems)
    if not problems:  # the rest relies on types
        _check_script(request, problems)
        _check_algorithm(request.get("AlgorithmSpecification", {}), problems)
        _check_resources(request.get("ResourceConfig", {}), problems)
        _check_channels(request, problems)
        _check_checkpoints(request.get("CheckpointConfig"), problems)
    if problems:
        raise RequestError(problems)


def decoded(value: str) -> Any:
    """Returns what a hyperparameter says: its JSON value, or itself if it is no JSON."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value


def _check_script(request: Request, problems: Problems) -> None:
    hyperparameters = request.get("HyperParameters", {})
    for name, value in hyperparameters.items():
        if "\0" in json.dumps(value) or _unfit(decoded(value)):
            problems.append(
                f"HyperParameters.{name}: no process can be given a character in {value[:40]!r}"
            )
    if PROGRAM not in hyperparameters:
        problems.append(
            f"HyperParameters.{PROGRAM}: missing: the script to run, relative to the source "
            "directory (script mode is what runs here)"
        )
        return
    program = decoded(hyperparameters[PROGRAM])
    # As the service's toolkit has it: no option, no absolute path, no way out of the folder.
    if (
        not isinstance(program, str)
        or not re.fullmatch(r"[A-Za-z0-9._][A-Za-z0-9._+-]*(/[A-Za-z0-9._+-]+)*", program)
        or {".", ".."} & set(program.split("/"))
    ):
        problems.append(
            f"HyperParameters.{PROGRAM}: {program!r}: a path inside the source directory expected, "
            "of letters, digits, '.', '_', '+', '-' and '/', such as train.py"
        )
    folder = decoded(hyperparameters.get(SUBMIT_DIRECTORY, '""'))
    if not isinstance(folder, str):
        problems.append(f"HyperParameters.{SUBMIT_DIRECTORY}: a string expected")


def _unfit(value: Any) -> bool:
    """Whether what JSON says holds characters that no argument or variable can hold."""
    if isinstance(value, str):
        return "\0" in value or any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, dict):
        return any(_unfit(key) or _unfit(item) for key, item in value.items())
    return isinstance(value, list) and any(map(_unfit, value))


def _check_algorithm(algorithm: Request, problems: Problems) -> None:
    for name in ("ContainerEntrypoint", "ContainerArguments"):
        if algorithm.get(name):
            problems.append(
                f"AlgorithmSpecification.{name}: no container runs here; name the script in "
                f"HyperParameters.{PROGRAM}"
            )


def _check_resources(resources: Request, problems: Problems) -> None:
    groups = resources.get("InstanceGroups")
    if groups is None:
        return
    if "InstanceCount" in resources:
        problems.append("ResourceConfig.InstanceCount: not together with InstanceGroups")
    _check_unique(
        [group["InstanceGroupName"] for group in groups],
        "ResourceConfig.InstanceGroups[{}].InstanceGroupName",
        problems,
    )


def _check_channels(request: Request, problems: Problems) -> None:
    channels = request.get("InputDataConfig", [])
    _check_unique(
        [channel["ChannelName"] for channel in channels],
        "InputDataConfig[{}].ChannelName",
        problems,
    )
    mode = request.get("AlgorithmSpecification", {}).get("TrainingInputMode")
    modes = {channel["ChannelName"]: channel.get("InputMode", mode) for channel in channels}
    groups = {
        group["InstanceGroupName"]
        for group in request.get("ResourceConfig", {}).get("InstanceGroups", [])
    }
    for number, channel in enumerate(channels):
        path = f"InputDataConfig[{number}]"
        if mode is None and "InputMode" not in channel:
            problems.append(
                f"{path}.InputMode: missing, and so is AlgorithmSpecification.TrainingInputMode: "
                "Pipe, File or FastFile"
            )
        streamed, _, epoch = channel["ChannelName"].rpartition("_")
        if modes.get(streamed) == "Pipe" != modes[channel["ChannelName"]] and epoch.isdecimal():
            problems.append(
                f"{path}.ChannelName: the folder of {channel['ChannelName']!r} would have the name "
                f"of a FIFO of channel {streamed!r}"
            )
        sources = channel["DataSource"]
        if len(sources) != 1:
            problems.append(
                f"{path}.DataSource: {len(sources)} sources: one of S3DataSource, FileDataSource, "
                "FileSystemDataSource expected"
            )
        for group in sources.get("S3DataSource", {}).get("InstanceGroupNames", []):
            if group not in groups:
                problems.append(
                    f"{path}.DataSource.S3DataSource.InstanceGroupNames: no group {group!r} in "
                    "ResourceConfig.InstanceGroups"
                )


def _check_checkpoints(config: Request | None, problems: Problems) -> None:
    path = (config or {}).get("LocalPath", "/opt/ml/checkpoints")
    if not re.fullmatch(r"/opt/ml/[^/.][^/]*", path) or path.split("/")[3] in _OWN_FOLDERS:
        problems.append(
            f"CheckpointConfig.LocalPath: {path!r}: a folder in /opt/ml that the job does not use "
            "otherwise, such as /opt/ml/checkpoints"
        )


_OWN_FOLDERS = {"input", "code", "model", "output", "pipe_state"}


def _check_unique(names: list[str], path: str, problems: Problems) -> None:
    first: dict[str, int] = {}
    for number, name in enumerate(names):
        if name in first:
            problems.append(f"{path.format(number)}: {name!r} is also {path.format(first[name])}")
        first.setdefault(name, number)
