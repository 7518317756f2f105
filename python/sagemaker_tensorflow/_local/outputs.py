# SPDX-License-Identifier: Apache-2.0
"""Collects the model and other output of a job, as the service does."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path

from sagemaker_tensorflow._local import job as jobs
from sagemaker_tensorflow._local.job import Job
from sagemaker_tensorflow._local.layout import Layout
from sagemaker_tensorflow._local.sources import s3

_S3 = "s3://"
_CONNECTIONS = 10


class OutputError(Exception):
    """Output cannot be put where it should be; the message says why."""


def check(job: Job) -> None:
    """Finds out, before anything runs, whether there is a place for the output.

    Raises:
        OutputError: If there is none.
    """
    if job.output_uri is None:
        return
    if job.output_uri.startswith(_S3):
        if importlib.util.find_spec("boto3") is None:
            raise OutputError(
                f"OutputDataConfig.S3OutputPath: {job.output_uri} needs boto3: "
                "pip install 'sagemaker_tensorflow[s3]'"
            )
        return
    folder = _local_folder(job, job.output_uri)
    existing = next(path for path in [folder, *folder.parents] if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError(f"OutputDataConfig.S3OutputPath: '{existing}' cannot be written into")


def collect(job: Job, layouts: list[Layout]) -> list[str]:
    """Puts model and output of all hosts into the output path; returns what is there now.

    Nothing is written for a folder that is empty on all hosts.

    Raises:
        OutputError: If that fails. What was to be collected is still in its folders.
    """
    if job.output_uri is None:
        return []
    parts = {
        "model": [layout.model_dir for layout in layouts],
        "output": [layout.output_data_dir for layout in layouts],
    }
    written = []
    for name, folders in parts.items():
        if not any(next(folder.iterdir(), None) for folder in folders if folder.is_dir()):
            continue
        try:
            written.append(_put(job, job.output_uri, name, folders))
        except Exception as error:  # boto3's errors have no class in common with the system's
            raise OutputError(
                f"cannot collect the {name} into {job.output_uri}: {error}"
            ) from error
    return written


def _put(job: Job, uri: str, name: str, folders: list[Path]) -> str:
    if uri.startswith(_S3):
        return _upload(job, uri, name, folders)
    folder = _local_folder(job, uri)
    folder.mkdir(parents=True, exist_ok=True)
    if not job.compress_output:
        _merge(folders, folder / name)
        return str(folder / name)
    target = folder / f"{name}.tar.gz"
    # Under its own name it is complete.
    partial = folder / f".{name}.tar.gz.partial"
    try:
        _archive(folders, partial)
        partial.replace(target)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
    return str(target)


def _local_folder(job: Job, uri: str) -> Path:
    return jobs.path_of(uri, Path.cwd()) / job.name / "output"


def _archive(folders: Iterable[Path], target: Path) -> None:
    with tarfile.open(target, "w:gz", compresslevel=6) as archive:
        for folder in folders:
            for path in sorted(folder.iterdir()):
                archive.add(path, path.name)


def _merge(folders: Iterable[Path], target: Path) -> None:
    for folder in folders:
        shutil.copytree(folder, target, dirs_exist_ok=True, symlinks=True)


def _upload(job: Job, uri: str, name: str, folders: list[Path]) -> str:
    target = f"{uri.rstrip('/')}/{job.name}/output/{name}"
    store = s3.S3(connections=_CONNECTIONS)
    if job.compress_output:
        with tempfile.TemporaryDirectory(prefix="pipemode-output-") as temporary:
            path = Path(temporary) / f"{name}.tar.gz"
            _archive(folders, path)
            store.upload(path, f"{target}.tar.gz")
        return f"{target}.tar.gz"
    for folder in folders:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            store.upload(path, f"{target}/{path.relative_to(folder)}")
    return target
