# SPDX-License-Identifier: Apache-2.0
"""Makes a request of what is said on the command line, or changes one by it."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import glob
import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sagemaker_tensorflow._local.request import job as jobs
from sagemaker_tensorflow._local.request import request as requests
from sagemaker_tensorflow._local.request.request import Request, RequestError

# Of --channel NAME=URI,key=value: where each value goes in a channel's description.
_CHANNEL_KEYS = {
    "attributes": ("DataSource", "S3DataSource", "AttributeNames"),
    "compression": ("CompressionType",),
    "content-type": ("ContentType",),
    "distribution": ("DataSource", "S3DataSource", "S3DataDistributionType"),
    "mode": ("InputMode",),
    "shuffle-seed": ("ShuffleConfig", "Seed"),
    "type": ("DataSource", "S3DataSource", "S3DataType"),
    "wrapper": ("RecordWrapperType",),
}
_KEY = re.compile(r",(?=(?:" + "|".join(_CHANNEL_KEYS) + r")=)")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://")
_INFO = "20"


@dataclasses.dataclass(frozen=True)
class Options:
    """What the command line says of a job; what is empty or ``None`` was not said."""

    script: Path | None = None
    channels: Sequence[str] = ()
    hyperparameters: Sequence[str] = ()
    environment: Sequence[str] = ()
    instance_count: int | None = None
    source_dir: Path | None = None
    output_path: str | None = None
    max_run: int | None = None
    job_name: str | None = None


def apply(options: Options, request: Request | None) -> Request:
    """Returns ``request`` with what ``options`` say in place of what it says; or a new one.

    Raises:
        RequestError: If an option makes no sense. Not everything is looked at: see ``validate``.
    """
    problems: list[str] = []
    result: Request = _new() if request is None else copy.deepcopy(request)
    if options.script is not None:
        _set_script(result, options.script, options.source_dir, problems)
    elif options.source_dir is not None:
        _section(result, "HyperParameters")[requests.SUBMIT_DIRECTORY] = _json_uri(
            options.source_dir
        )
    for text in options.hyperparameters:
        name, value = _pair("--hyperparameter", text, problems)
        _section(result, "HyperParameters")[name] = value
    for text in options.environment:
        name, value = _pair("--env", text, problems)
        _section(result, "Environment")[name] = value
    names = [text.partition("=")[0] for text in options.channels]
    for name in sorted({name for name in names if names.count(name) > 1}):
        problems.append(
            f"--channel {name}: named {names.count(name)} times, and it has one URI: a folder, a "
            "glob, a prefix or a manifest stands for several files"
        )
    for text in options.channels:
        _set_channel(result, text, problems)
    if options.instance_count is not None:
        resources = _section(result, "ResourceConfig")
        resources.pop("InstanceGroups", None)
        resources["InstanceCount"] = options.instance_count
    if options.output_path is not None or "OutputDataConfig" not in result:
        # The service insists on a place, and a model without one would be lost.
        path = _uri(options.output_path or ".")
        _section(result, "OutputDataConfig")["S3OutputPath"] = path
    if options.max_run is not None:
        _section(result, "StoppingCondition")["MaxRuntimeInSeconds"] = options.max_run
    if options.job_name is not None:
        result["TrainingJobName"] = options.job_name
        _section(result, "HyperParameters")[requests.JOB_NAME] = json.dumps(options.job_name)
    if problems:
        raise RequestError(problems)
    return result


def _new() -> Request:
    """Returns a request as the SDK makes it, with what goes for every job.

    It has no name, so that it can be run again: each run gets its own.
    """
    hyperparameters = {"sagemaker_container_log_level": _INFO}
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if region:
        hyperparameters["sagemaker_region"] = json.dumps(region)
    return {
        "AlgorithmSpecification": {"TrainingInputMode": "Pipe"},
        "HyperParameters": hyperparameters,
        "InputDataConfig": [],
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "local"},
    }


def _set_script(result: Request, given: Path, source_dir: Path | None, problems: list[str]) -> None:
    script = Path(os.path.normpath(given.absolute()))
    # Without a source directory it is the script alone that is sent, as the SDK does.
    source, program = script, script.name
    if source_dir is not None:
        source = Path(os.path.normpath(source_dir.absolute()))
        # From where we are, or from there; the SDK wants the latter.
        inside = script if script.is_relative_to(source) else source / given
        if not inside.is_relative_to(source):
            problems.append(f"'{given}' is not in --source-dir '{source_dir}'")
            return
        program = str(inside.relative_to(source))
    elif not script.is_file():
        problems.append(f"there is no script '{given}'")
        return
    hyperparameters = _section(result, "HyperParameters")
    hyperparameters[requests.PROGRAM] = json.dumps(program)
    hyperparameters[requests.SUBMIT_DIRECTORY] = _json_uri(source)


def _set_channel(result: Request, text: str, problems: list[str]) -> None:
    name, uri = _pair("--channel", text, problems)
    uri, *settings = _KEY.split(uri)
    channel: dict[str, Any] = {
        "ChannelName": name,
        "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": _uri(uri)}},
    }
    said = dict(setting.split("=", 1) for setting in settings)
    for key in re.findall(r",([a-z-]+)=", ",".join([uri, *said.values()])):
        near = difflib.get_close_matches(key, _CHANNEL_KEYS, n=1)
        if near:
            problems.append(f"--channel {name}: no setting '{key}': did you mean {near[0]}?")
        elif _is_no_uri(uri):
            known = ", ".join(_CHANNEL_KEYS)
            problems.append(f"--channel {name}: no setting '{key}'; there are {known}")
    if "attributes" in said:
        said.setdefault("type", "AugmentedManifestFile")
        said.setdefault("wrapper", "RecordIO")
    for key, value in said.items():
        *parents, field = _CHANNEL_KEYS[key]
        place = channel
        for parent in parents:
            place = place.setdefault(parent, {})
        place[field] = value
        if key == "attributes":
            place[field] = value.split(",")
        elif key == "shuffle-seed":
            if not value.isdecimal() or not value.isascii():
                problems.append(f"--channel {name}: shuffle-seed={value}: a number expected")
                continue
            place[field] = int(value)
    channels = [one for one in result.get("InputDataConfig", []) if one.get("ChannelName") != name]
    result["InputDataConfig"] = [*channels, channel]


def _is_no_uri(text: str) -> bool:
    """Whether ``text`` names nothing of this machine up to its end, but does up to a comma."""
    if _SCHEME.match(text):
        return False
    path, shorter = (jobs.path_of(one, Path.cwd()) for one in (text, text.partition(",")[0]))
    return shorter.exists() and not path.exists() and not glob.has_magic(text)


def _pair(option: str, text: str, problems: list[str]) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        problems.append(f"{option} {text}: NAME=VALUE expected")
    return name, value


def _section(request: Request, name: str) -> dict[str, Any]:
    section = request.setdefault(name, {})
    if not isinstance(section, dict):
        raise RequestError([f"{name}: an object expected"])
    return section


def _uri(text: str) -> str:
    """Returns a URI for what is one, or is a path from here."""
    if _SCHEME.match(text) or not text:
        return text
    return f"file://{jobs.path_of(text, Path.cwd())}"


def _json_uri(path: Path) -> str:
    return json.dumps(_uri(str(path)))
