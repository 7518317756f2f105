# SPDX-License-Identifier: Apache-2.0
"""What would be done for a job, in words."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator

from sagemaker_tensorflow._feed.channel import Channel
from sagemaker_tensorflow._local.feed import job_feeders
from sagemaker_tensorflow._local.request.job import Job
from sagemaker_tensorflow._local.request.settings import Settings
from sagemaker_tensorflow._local.script import toolkit_variables
from sagemaker_tensorflow._local.show import wording


def lines(job: Job, settings: Settings) -> Iterator[str]:
    """Yields the plan, line by line.

    Raises:
        ChannelError: If a channel has no data, or it cannot be listed.
    """
    arguments = toolkit_variables.arguments(job.hyperparameters)
    yield f"job            {job.name}"
    yield f"script         {job.program}, from {job.source}"
    for path in settings.dependencies:
        yield f"beside it      {path}"
    if settings.install_requirements:
        yield f"first          {sys.executable} -m pip install -r requirements.txt"
    yield f"arguments      {shlex.join(arguments) or '(none)'}"
    for name, value in job.environment.items():
        yield f"variable       {name}={value}"
    yield f"hosts          {', '.join(host.name for host in job.hosts)}"
    if job.cluster != "none":
        yield f"cluster        {job.cluster}"
    for channel in job.channels:
        contents = job_feeders.look(channel)
        noun = "lines" if channel.data_type == "AugmentedManifestFile" else "objects"
        size = "" if contents.bytes is None else f", {wording.size(contents.bytes)}"
        yield f"channel        {_channel(channel)}; {contents.objects:,} {noun}{size}"
    folder = settings.base_dir.absolute() if settings.base_dir else "a temporary folder"
    yield f"/opt/ml        {folder}"
    if job.output_uri is not None:
        yield f"output         {job.output_uri.rstrip('/')}/{job.name}/output"
    if job.checkpoint_uri is not None:
        yield f"checkpoints    {job.checkpoint_uri}, as /opt/ml/{job.checkpoint_folder}"
    if job.max_seconds is not None:
        yield f"time limit     {job.max_seconds} s"
    for text in job.ignored:
        yield f"ignored        {text}"


def _channel(channel: Channel) -> str:
    parts = [f"{channel.name}: {channel.uri}, {channel.mode} mode"]
    if channel.data_type != "S3Prefix":
        parts.append(channel.data_type)
    if channel.attribute_names:
        parts.append(f"attributes {', '.join(channel.attribute_names)}")
    if channel.compression != "None":
        parts.append("inflated")
    if channel.record_wrapper != "None":
        parts.append("each object as a RecordIO record")
    if channel.shuffle_seed is not None:
        parts.append(f"shuffled by seed {channel.shuffle_seed}")
    if channel.distribution != "FullyReplicated":
        parts.append(channel.distribution)
    return ", ".join(parts)
