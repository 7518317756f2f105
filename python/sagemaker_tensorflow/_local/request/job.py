# SPDX-License-Identifier: Apache-2.0
"""A training job as the host runs it, made from a validated request."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import secrets
from pathlib import Path
from typing import Any, Literal

from sagemaker_tensorflow._feed.channel import Channel, ChannelError
from sagemaker_tensorflow._local.request import request as requests
from sagemaker_tensorflow._local.request.request import Request, RequestError

Cluster = Literal["none", "parameter_server", "multi_worker_mirrored", "mpi"]

# The hyperparameter that asks for each.
_CLUSTERS: dict[str, Cluster] = {
    "sagemaker_mpi_enabled": "mpi",
    "sagemaker_parameter_server_enabled": "parameter_server",
    "sagemaker_multi_worker_mirrored_strategy_enabled": "multi_worker_mirrored",
}
# Asked for by hyperparameters, and not to be had here.
_UNSUPPORTED = (
    "sagemaker_distributed_dataparallel_enabled",
    "sagemaker_pytorch_ddp_enabled",
    "sagemaker_pytorch_xla_multi_worker_enabled",
    "sagemaker_torch_distributed_enabled",
)


@dataclasses.dataclass(frozen=True)
class Host:
    """One of the machines that the job believes to have.

    Attributes:
        name: ``algo-1`` and so on.
        group: Name of its instance group.
        instance_type: What the request says; nothing is done with it.
    """

    name: str
    group: str
    instance_type: str


@dataclasses.dataclass(frozen=True)
class Feed:
    """A channel as one host gets it.

    Attributes:
        channel: The channel.
        host_index: The number of the host among those that get the channel.
        host_count: How many do.
    """

    channel: Channel
    host_index: int
    host_count: int


@dataclasses.dataclass(frozen=True)
class Job:
    """What is to be run.

    Attributes:
        name: The job's name.
        program: The script, relative to the source directory.
        source: The source directory, an archive (``.tar.gz``) of it, or the script alone.
        hosts: The hosts; their names are sorted.
        channels: The channels, in the request's order.
        channel_groups: For each channel, the names of the instance groups that get it; none: all.
        hyperparameters: All of them, also the platform's, as in the request, and the job's name.
        environment: Variables for the script.
        cluster: How the hosts' scripts are to find each other.
        processes_per_host: For MPI.
        mpi_options: More arguments for ``mpirun``.
        output_uri: Where model and output go: ``file://`` or ``s3://``; ``None``: nowhere.
        compress_output: Whether they go there as archives.
        checkpoint_folder: Name of the folder of checkpoints.
        checkpoint_uri: Where checkpoints stay, ``file://``; ``None``: nowhere.
        max_seconds: How long the script may run; ``None``: for ever.
        ignored: What the request asks for and nothing here does, in words.
    """

    name: str
    program: str
    source: Path
    hosts: tuple[Host, ...]
    channels: tuple[Channel, ...]
    channel_groups: tuple[tuple[str, ...], ...]
    hyperparameters: dict[str, str]
    environment: dict[str, str]
    cluster: Cluster
    processes_per_host: int
    mpi_options: str
    output_uri: str | None
    compress_output: bool
    checkpoint_folder: str
    checkpoint_uri: str | None
    max_seconds: int | None
    ignored: tuple[str, ...]

    def feeds(self, host: Host) -> list[Feed]:
        """Returns the channels that ``host`` gets."""
        feeds = []
        for channel, groups in zip(self.channels, self.channel_groups, strict=True):
            takers = [one for one in self.hosts if not groups or one.group in groups]
            if host in takers:
                feeds.append(Feed(channel, takers.index(host), len(takers)))
        return feeds


def from_request(request: Any, folder: Path) -> Job:
    """Validates a request and makes the job of it.

    Args:
        request: A ``CreateTrainingJob`` request.
        folder: What ``file://`` URIs without a leading slash are relative to.

    Raises:
        RequestError: If it cannot be run; it names each field that is wrong.
    """
    requests.validate(request)
    hyperparameters: dict[str, str] = dict(request.get("HyperParameters", {}))
    problems: list[str] = []
    source = _source(hyperparameters, folder, problems)
    channels = _channels(request, folder, problems)
    cluster = _cluster(hyperparameters, problems)
    processes = _decoded_integer(
        hyperparameters, "sagemaker_mpi_num_of_processes_per_host", 1, problems
    )
    if problems:
        raise RequestError(problems)
    output = request.get("OutputDataConfig", {})
    checkpoints = request.get("CheckpointConfig", {})
    checkpoint_uri = checkpoints.get("S3Uri", "")
    program = requests.decoded(hyperparameters[requests.PROGRAM])
    name = request.get("TrainingJobName")
    if not name:
        name = new_name(program)
        hyperparameters.setdefault(requests.JOB_NAME, json.dumps(name))
    return Job(
        name=name,
        program=program,
        source=source,
        hosts=_hosts(request.get("ResourceConfig", {})),
        channels=tuple(channels),
        channel_groups=tuple(
            tuple(channel["DataSource"].get("S3DataSource", {}).get("InstanceGroupNames", ()))
            for channel in request.get("InputDataConfig", ())
        ),
        hyperparameters=hyperparameters,
        environment=request.get("Environment", {}),
        cluster=cluster,
        processes_per_host=processes,
        mpi_options=str(
            requests.decoded(hyperparameters.get("sagemaker_mpi_custom_mpi_options", ""))
        ),
        output_uri=absolute_uri(output["S3OutputPath"], folder) if output else None,
        compress_output=output.get("CompressionType", "GZIP") == "GZIP",
        checkpoint_folder=checkpoints.get("LocalPath", "/opt/ml/checkpoints").split("/")[3],
        checkpoint_uri=absolute_uri(checkpoint_uri, folder) if _is_file(checkpoint_uri) else None,
        max_seconds=request.get("StoppingCondition", {}).get("MaxRuntimeInSeconds"),
        ignored=_ignored(request),
    )


def new_name(program: str) -> str:
    """Returns a name that no other job has, as the SageMaker SDK makes them."""
    stem = "".join(c if c.isascii() and c.isalnum() else "-" for c in Path(program).stem).strip("-")
    time = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d-%H-%M-%S")
    return f"{stem[:30].strip('-') or 'job'}-{time}-{secrets.token_hex(2)}"


def absolute_uri(uri: str, folder: Path) -> str:
    """Makes a ``file://`` URI absolute; returns any other as it is."""
    return f"file://{path_of(uri, folder)}" if _is_file(uri) else uri


def path_of(uri: str, folder: Path) -> Path:
    """Returns the path that a ``file://`` URI, or a plain path, names."""
    # As the SDK's local mode has it: what follows file:// is a path as it is.
    path = uri[len("file://") :] if _is_file(uri) else uri
    # This one leaves the ~ of a user who does not exist.
    return Path(os.path.normpath(folder / os.path.expanduser(path)))  # noqa: PTH111


def _is_file(uri: str) -> bool:
    return uri.startswith("file://")


def _source(hyperparameters: dict[str, str], folder: Path, problems: list[str]) -> Path:
    field = f"HyperParameters.{requests.SUBMIT_DIRECTORY}"
    given = requests.decoded(hyperparameters.get(requests.SUBMIT_DIRECTORY, ""))
    program = requests.decoded(hyperparameters[requests.PROGRAM])
    if given.startswith("s3://"):
        problems.append(
            f"{field}: {given} is not fetched; give the folder with the sources: "
            "--source-dir DIR, or file:///path here"
        )
        return Path()
    source = path_of(given, folder) if given else folder
    if source.is_dir():
        if not (source / program).is_file():
            problems.append(f"HyperParameters.{requests.PROGRAM}: no file '{program}' in {source}")
    elif not source.is_file():
        problems.append(f"{field}: there is no {source}")
    elif source.name != program and not source.name.endswith((".tar.gz", ".tgz", ".tar")):
        problems.append(f"{field}: {source} is neither a folder, nor a tar archive, nor {program}")
    return source


def _channels(request: Request, folder: Path, problems: list[str]) -> list[Channel]:
    channels = []
    default_mode = request.get("AlgorithmSpecification", {}).get("TrainingInputMode")
    for number, described in enumerate(request.get("InputDataConfig", [])):
        s3 = described["DataSource"].get("S3DataSource", {})
        files = described["DataSource"].get("FileDataSource", {})
        directory = described["DataSource"].get("FileSystemDataSource", {}).get("DirectoryPath")
        try:
            channels.append(
                Channel(
                    name=described["ChannelName"],
                    uri=directory or absolute_uri(s3.get("S3Uri") or files["FileUri"], folder),
                    mode=described.get("InputMode", default_mode),
                    data_type=s3.get("S3DataType", "S3Prefix"),
                    distribution=s3.get("S3DataDistributionType")
                    or files.get("FileDataDistributionType", "FullyReplicated"),
                    attribute_names=tuple(s3.get("AttributeNames", ())),
                    compression=described.get("CompressionType", "None"),
                    record_wrapper=described.get("RecordWrapperType", "None"),
                    shuffle_seed=described.get("ShuffleConfig", {}).get("Seed"),
                    content_type=described.get("ContentType"),
                )
            )
        except ChannelError as error:
            problems.append(f"InputDataConfig[{number}]: {error}")
    return channels


def _hosts(resources: Request) -> tuple[Host, ...]:
    groups = resources.get("InstanceGroups") or [
        {
            "InstanceGroupName": requests.DEFAULT_GROUP,
            "InstanceType": resources.get("InstanceType", "local"),
            "InstanceCount": resources.get("InstanceCount", 1),
        }
    ]
    members = [group for group in groups for _ in range(group["InstanceCount"])]
    names = sorted(f"algo-{number}" for number in range(1, len(members) + 1))  # as strings
    return tuple(
        Host(name, group["InstanceGroupName"], group["InstanceType"])
        for name, group in zip(names, members, strict=True)
    )


def _cluster(hyperparameters: dict[str, str], problems: list[str]) -> Cluster:
    asked = [name for name in _CLUSTERS if requests.decoded(hyperparameters.get(name, "")) is True]
    for name in _UNSUPPORTED:
        if requests.decoded(hyperparameters.get(name, "")) is True:
            problems.append(f"HyperParameters.{name}: not for TensorFlow, and not run here")
    if len(asked) > 1:
        problems.append(f"HyperParameters.{asked[1]}: not together with {asked[0]}")
    return _CLUSTERS[asked[0]] if asked else "none"


def _decoded_integer(
    hyperparameters: dict[str, str], name: str, default: int, problems: list[str]
) -> int:
    value = requests.decoded(hyperparameters.get(name, str(default)))
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 256:
        problems.append(f"HyperParameters.{name}: a number from 1 to 256 expected")
        return default
    return value


def _ignored(request: Request) -> tuple[str, ...]:
    ignored = [name for name in requests.IGNORED if request.get(name)]
    uri = request.get("CheckpointConfig", {}).get("S3Uri", "")
    if uri and not _is_file(uri):
        ignored.append(f"CheckpointConfig.S3Uri ({uri}: only file:// is kept up to date)")
    if "sagemaker_s3_output" in request.get("HyperParameters", {}):
        ignored.append("HyperParameters.sagemaker_s3_output (output/intermediate is not uploaded)")
    return tuple(ignored)
