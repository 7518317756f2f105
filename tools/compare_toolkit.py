#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares what ``pipemode run`` tells a script with what SageMaker's own toolkit does.

Each job is run twice in one base folder, from the same JSON files: by ``pipemode run``, and by the
command ``train`` of sagemaker-training, which containers start with. The script writes down its
arguments, working directory and variables. Whatever differs and is not in ``EXPECTED`` is an error.

The toolkit is installed into an environment of its own, in ``sagemaker_tensorflow/toolkit`` of
``$XDG_CACHE_HOME`` or ``~/.cache``. It has an extension in C, so a compiler is needed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from fetch_tensorflow import cache_root

VERSION = "5.1.4"
# Why each is as it is: docs/local.md.
EXPECTED = {
    "PYTHONPATH": "the toolkit adds its own sys.path; the folder of the script is first in both",
    "PYTHONUNBUFFERED": "of the service's images, not of the toolkit",
    "SM_STUDIO_LOCAL_MODE": "lets the toolkit not wait until it can look up the name algo-1",
}
SCRIPT = """
import json, os, sys
found = {"arguments": sys.argv, "folder": os.getcwd(), "variables": dict(os.environ)}
with open(os.path.join(os.environ["SM_OUTPUT_DATA_DIR"], "found.json"), "w") as file:
    json.dump(found, file)
"""
HYPERPARAMETERS = {
    "epochs": "3",
    "learning-rate": "1e-3",
    "name": '"adam"',
    "plain": "not json",
    "digits": "007",
    "flag": "true",
    "nothing": "null",
    "layers": "[64, 32]",
    "options": '{"b": 1, "a": [2]}',
    "x": "short",
    "umlaut": '"\\u00fc"',
    "empty": '""',
    "model_dir": '"s3://bucket/model"',
    "_tuning_objective_metric": '"loss"',
}
CHANNEL = {
    "ChannelName": "training",
    "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": "file://data"}},
}
JOBS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rich": {
        "InputDataConfig": [
            CHANNEL,
            {**CHANNEL, "ChannelName": "my-data.2", "InputMode": "File", "ContentType": "text/csv"},
        ],
        "HyperParameters": {
            **HYPERPARAMETERS,
            "sagemaker_region": '"eu-west-1"',
            "sagemaker_job_name": '"a-job"',
            "sagemaker_container_log_level": "10",
            "sagemaker_s3_output": "null",
            "sagemaker_custom": '{"b": 2, "a": 1}',
        },
        "Environment": {"MINE": "a value", "SAGEMAKER_TRAINING_MODULE": ""},
        "ResourceConfig": {"InstanceCount": 1, "InstanceType": "ml.c5.xlarge"},
    },
    "groups": {
        "HyperParameters": {"sagemaker_distribution_instance_groups": '["first"]'},
        "ResourceConfig": {
            "InstanceGroups": [
                {"InstanceGroupName": "first", "InstanceType": "local", "InstanceCount": 1},
                {"InstanceGroupName": "second", "InstanceType": "local", "InstanceCount": 1},
            ]
        },
    },
}


def main() -> int:
    """Compares all jobs; returns 1 if anything differs that should not."""
    train = install()
    unexpected = 0
    for name, fields in JOBS.items():
        with tempfile.TemporaryDirectory(prefix="compare-toolkit-") as folder:
            for host, ours, theirs in run_both(fields, Path(folder), train):
                differences = compare(ours, theirs)
                unexpected += sum(reason is None for _, _, _, reason in differences)
                count = len(theirs["variables"])
                print(f"job '{name}', host {host}: {count} variables, {len(differences)} differ")
                for what, our_value, their_value, reason in differences:
                    print(f"  {what}: {reason or 'NOT EXPECTED'}")
                    if reason is None:
                        print(f"    ours:   {our_value!r}\n    theirs: {their_value!r}")
    print(f"{unexpected} differences that are not expected")
    return int(unexpected > 0)


def install() -> Path:
    """Returns the toolkit's command; installs it if it is not there yet."""
    version = ".".join(map(str, sys.version_info[:2]))
    environment = cache_root() / "toolkit" / f"{VERSION}-py{version}"
    done = environment / "installed"
    if not done.exists():
        print(f"installing sagemaker-training {VERSION} into {environment}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(environment)], check=True)
        pip = [str(environment / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        # inotify_simple's and the toolkit's own set-up need setuptools.
        subprocess.run([*pip, f"sagemaker-training=={VERSION}", "setuptools<81"], check=True)
        done.touch()
    return environment / "bin" / "train"


def run_both(
    fields: dict[str, Any], folder: Path, train: Path
) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Runs a job by both; returns for each host what the script found."""
    (folder / "train.py").write_text(SCRIPT)
    (folder / "data").mkdir()
    (folder / "data" / "object").write_text("data")
    request = {
        "TrainingJobName": "a-job",
        "AlgorithmSpecification": {"TrainingInputMode": "Pipe"},
        **fields,
        "HyperParameters": {
            "sagemaker_program": '"train.py"',
            "sagemaker_submit_directory": '"file://train.py"',
            **fields.get("HyperParameters", {}),
        },
    }
    (folder / "job.json").write_text(json.dumps(request))
    base = folder / "ml"
    surroundings = {
        name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "PYTHONPATH")
    }
    arguments = ["--request", str(folder / "job.json"), "--base-dir", str(base)]
    subprocess.run(
        [sys.executable, "-m", "sagemaker_tensorflow", "run", *arguments],
        check=True,
        cwd=folder,  # the job's outputs go there
        env=surroundings,
        stderr=subprocess.DEVNULL,
    )
    hosts = sorted(base.glob("algo-*")) or [base]
    result = []
    for host in hosts:
        found = host / "output" / "data" / "found.json"
        ours = json.loads(found.read_text())
        found.unlink()
        environment = {
            **surroundings,
            "SAGEMAKER_BASE_DIR": str(host),
            "SM_STUDIO_LOCAL_MODE": "true",
            "TRAINING_JOB_NAME": "a-job",
            **request.get("Environment", {}),
        }
        done = subprocess.run(
            [str(train)], check=False, env=environment, capture_output=True, text=True
        )
        if done.returncode != 0:
            sys.exit(f"the toolkit failed:\n{done.stdout}{done.stderr}")
        result.append((host.name, ours, json.loads(found.read_text())))
    return result


def compare(ours: dict[str, Any], theirs: dict[str, Any]) -> list[tuple[str, Any, Any, str | None]]:
    """Returns what differs: its name, both values, and why that is expected, if it is."""
    differences = []
    for what in ("arguments", "folder"):
        if ours[what] != theirs[what]:
            differences.append((what, ours[what], theirs[what], None))
    for name in sorted(ours["variables"].keys() | theirs["variables"].keys()):
        values = (ours["variables"].get(name), theirs["variables"].get(name))
        if values[0] != values[1]:
            differences.append((name, *values, EXPECTED.get(name)))
    return differences


if __name__ == "__main__":
    sys.exit(main())
