# SPDX-License-Identifier: Apache-2.0
"""The folders and files that a host's script finds, in place of ``/opt/ml``."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sagemaker_tensorflow._local.request import job as jobs
from sagemaker_tensorflow._local.request import request as requests
from sagemaker_tensorflow._local.request.job import Host, Job


class LayoutError(Exception):
    """A folder cannot be laid out; the message says which and why."""


@dataclasses.dataclass(frozen=True)
class Layout:
    """The paths of one host.

    Attributes:
        base: In place of ``/opt/ml``.
    """

    base: Path

    @property
    def config_dir(self) -> Path:
        """The three JSON files."""
        return self.base / "input" / "config"

    @property
    def data_dir(self) -> Path:
        """FIFOs, and the folders of channels in File mode."""
        return self.base / "input" / "data"

    @property
    def code_dir(self) -> Path:
        """The script; its working directory."""
        return self.base / "code"

    @property
    def model_dir(self) -> Path:
        """What becomes ``model.tar.gz``."""
        return self.base / "model"

    @property
    def output_dir(self) -> Path:
        """``success``, ``failure``, and ``data``."""
        return self.base / "output"

    @property
    def output_data_dir(self) -> Path:
        """What becomes ``output.tar.gz``."""
        return self.output_dir / "data"

    def report_success(self) -> None:
        """Writes the file that says so, as the toolkit does."""
        (self.output_dir / "success").write_text("")

    def report_failure(self, message: str, addition: str) -> None:
        """Writes why the job failed; if the script has, only adds to it what it could not know."""
        path = self.output_dir / "failure"
        if not path.exists():
            path.write_text(message, encoding="utf-8")
        elif addition:
            with path.open("a", encoding="utf-8") as file:
                file.write(f"\n{addition}\n")

    def failure(self) -> str | None:
        """Returns what the script, or the host, said of a failure."""
        try:
            return (self.output_dir / "failure").read_text(errors="replace")
        except OSError:
            return None


def create(
    job: Job,
    host: Host,
    base: Path,
    dependencies: Iterable[Path],
    job_folder: Path,
    seen: Layout | None = None,
) -> Layout:
    """Lays out the folders of ``host`` and writes its configuration.

    Args:
        job: The job.
        host: One of its hosts.
        base: The folder to do it in; it is made.
        dependencies: Files and folders that are put beside the script.
        job_folder: What holds the folders of all hosts. It may lie in the source directory.
        seen: Where the script will see them, if that is another place.

    Raises:
        LayoutError: If that fails.
    """
    layout = Layout(base)
    try:
        for folder in (
            layout.config_dir,
            layout.data_dir,
            layout.code_dir,
            layout.model_dir,
            layout.output_data_dir,
            layout.output_dir / "intermediate",
        ):
            folder.mkdir(parents=True)
        _make_checkpoint_folder(job, base)
        _write(layout, "hyperparameters", hyperparameters(job, seen or layout))
        _write(layout, "inputdataconfig", input_data_config(job, host))
        _write(layout, "resourceconfig", resource_config(job, host))
        ignore = _Ignore(job_folder)
        if job.source.is_file() and tarfile.is_tarfile(job.source):
            _extract(job.source, layout.code_dir)
        else:
            _copy(job.source, layout.code_dir, ignore)
        for path in dependencies:
            into = layout.code_dir / path.name if path.is_dir() else layout.code_dir
            _copy(path, into, ignore)
    except (OSError, shutil.Error, tarfile.TarError) as error:
        raise LayoutError(f"cannot lay out '{base}': {error}") from error
    if not (layout.code_dir / job.program).is_file():
        raise LayoutError(
            f"HyperParameters.{requests.PROGRAM}: no file '{job.program}' in {job.source}"
        )
    return layout


def hyperparameters(job: Job, layout: Layout) -> dict[str, str]:
    """Returns what ``hyperparameters.json`` holds: all of them, each as its JSON text."""
    given = dict(job.hyperparameters)
    if requests.SUBMIT_DIRECTORY in given:
        # The request names a place outside; for the script, the sources are where they are now.
        given[requests.SUBMIT_DIRECTORY] = json.dumps(str(layout.code_dir))
    return given


def input_data_config(job: Job, host: Host) -> dict[str, dict[str, str]]:
    """Returns what ``inputdataconfig.json`` holds: the documented keys of each channel."""
    return {
        feed.channel.name: {
            "TrainingInputMode": feed.channel.mode,
            "S3DistributionType": feed.channel.distribution,
            "RecordWrapperType": feed.channel.record_wrapper,
            **({"ContentType": feed.channel.content_type} if feed.channel.content_type else {}),
        }
        for feed in job.feeds(host)
    }


def resource_config(job: Job, host: Host) -> dict[str, Any]:
    """Returns what ``resourceconfig.json`` holds."""
    groups: dict[str, dict[str, Any]] = {}
    for one in job.hosts:
        group = groups.setdefault(
            one.group,
            {"instance_group_name": one.group, "instance_type": one.instance_type, "hosts": []},
        )
        group["hosts"].append(one.name)
    return {
        "current_host": host.name,
        "current_instance_type": host.instance_type,
        "current_group_name": host.group,
        "hosts": [one.name for one in job.hosts],
        "instance_groups": list(groups.values()),
        "network_interface_name": "lo",
    }


def _make_checkpoint_folder(job: Job, base: Path) -> None:
    folder = base / job.checkpoint_folder
    if job.checkpoint_uri is None:
        folder.mkdir()
        return
    # What is saved is at once where it stays, also if this machine fails.
    kept = jobs.path_of(job.checkpoint_uri, Path.cwd())
    kept.mkdir(parents=True, exist_ok=True)
    folder.symlink_to(kept, target_is_directory=True)


def _write(layout: Layout, name: str, content: dict[str, Any]) -> None:
    path = layout.config_dir / f"{name}.json"
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")


class _Ignore:
    """Tells ``shutil.copytree`` what not to copy."""

    # What no script needs, and what may be large.
    _patterns = staticmethod(shutil.ignore_patterns("__pycache__", "*.pyc", ".git", ".venv"))

    def __init__(self, job_folder: Path) -> None:
        self._job_folder = job_folder.resolve()

    def __call__(self, folder: str, names: list[str]) -> set[str]:
        ignored = set(self._patterns(folder, names))
        if Path(folder).resolve() == self._job_folder.parent:
            ignored.add(self._job_folder.name)  # or the copy would be copied, and so on
        return ignored


def _copy(source: Path, target: Path, ignore: _Ignore) -> None:
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True, ignore=ignore)
    else:
        shutil.copy(source, target)


def _extract(source: Path, target: Path) -> None:
    with tarfile.open(source) as archive:
        if hasattr(tarfile, "data_filter"):  # Python 3.10 has it from 3.10.12 on
            archive.extractall(target, filter="data")
        else:
            archive.extractall(target)  # noqa: S202  the user's own sources
