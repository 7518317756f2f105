# SPDX-License-Identifier: Apache-2.0
"""Collects the model and other output of a job, as the service does."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from sagemaker_tensorflow._local.folders.host_folders import Layout
from sagemaker_tensorflow._local.request import job as jobs
from sagemaker_tensorflow._local.request.job import Job
from sagemaker_tensorflow._storage import s3
from sagemaker_tensorflow._storage.objects import SourceError

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
        try:
            s3.S3(connections=1).try_upload(f"{_target(job, job.output_uri, 'model')}.tar.gz")
        except SourceError as error:
            raise OutputError(f"OutputDataConfig.S3OutputPath: {error}") from None
        return
    folder = _local_folder(job, job.output_uri)
    existing = next(path for path in [folder, *folder.parents] if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise OutputError(f"OutputDataConfig.S3OutputPath: '{existing}' cannot be written into")


def collect(job: Job, layouts: list[Layout], say: Callable[[str], None]) -> list[str]:
    """Puts model and output of all hosts into the output path; returns what is there now.

    Nothing is written for a folder that is empty on all hosts. Of several hosts' files of one name,
    the first host's is taken: it is the chief of those that train together.

    Args:
        job: The job.
        layouts: The folders of its hosts.
        say: Takes a line for the user.

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
            found, twice = _merged(folders)
            if twice:
                say(
                    f"several hosts have files of the same name in their {name}, '{twice[0]}' the "
                    f"first of {len(twice):,}: those of {job.hosts[0].name} are taken"
                )
            written.append(_put(job, job.output_uri, name, found, layouts[0].base))
        except Exception as error:  # boto3's errors have no class in common with the system's
            raise OutputError(
                f"cannot collect the {name} into {job.output_uri}: {error}"
            ) from error
    return written


def _merged(folders: Iterable[Path]) -> tuple[dict[str, Path], list[str]]:
    """Returns all that is in ``folders`` by its name, and the names that were there already."""
    found: dict[str, Path] = {}
    twice = []
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            name = str(path.relative_to(folder))
            above = found.get(str(path.parent.relative_to(folder)))
            if name in found:
                if not (_is_folder(path) and _is_folder(found[name])):
                    twice.append(name)
            elif path.parent == folder or (above is not None and _is_folder(above)):
                found[name] = path
    return found, twice


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _put(job: Job, uri: str, name: str, found: dict[str, Path], scratch: Path) -> str:
    if uri.startswith(_S3):
        return _upload(job, uri, name, found, scratch)
    folder = _local_folder(job, uri)
    folder.mkdir(parents=True, exist_ok=True)
    if not job.compress_output:
        _copy(found, folder / name)
        return str(folder / name)
    target = folder / f"{name}.tar.gz"
    # Under its own name it is complete.
    partial = folder / f".{name}.tar.gz.partial"
    try:
        _archive(found, partial)
        partial.replace(target)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()
    return str(target)


def _local_folder(job: Job, uri: str) -> Path:
    return jobs.path_of(uri, Path.cwd()) / job.name / "output"


def _archive(found: dict[str, Path], target: Path) -> None:
    with tarfile.open(target, "w:gz", compresslevel=6) as archive:
        for name, path in found.items():
            archive.add(path, name, recursive=False)


def _copy(found: dict[str, Path], target: Path) -> None:
    target.mkdir(exist_ok=True)
    for name, path in found.items():
        if _is_folder(path):
            (target / name).mkdir(exist_ok=True)
        else:
            (target / name).unlink(missing_ok=True)
            shutil.copy2(path, target / name, follow_symlinks=False)


def _target(job: Job, uri: str, name: str) -> str:
    return f"{uri.rstrip('/')}/{job.name}/output/{name}"


def _upload(job: Job, uri: str, name: str, found: dict[str, Path], scratch: Path) -> str:
    target = _target(job, uri, name)
    store = s3.S3(connections=_CONNECTIONS)
    if job.compress_output:
        # Within the job's folder, which goes whatever happens to us.
        with tempfile.TemporaryDirectory(prefix="pipemode-output-", dir=scratch) as temporary:
            path = Path(temporary) / f"{name}.tar.gz"
            _archive(found, path)
            store.upload(path, f"{target}.tar.gz")
        return f"{target}.tar.gz"
    for inner, path in found.items():
        if path.is_file():
            store.upload(path, f"{target}/{inner}")
    return target
