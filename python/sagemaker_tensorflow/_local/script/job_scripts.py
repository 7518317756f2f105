# SPDX-License-Identifier: Apache-2.0
"""The processes of a job: its script on each host, and what runs before it and beside it."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from sagemaker_tensorflow import mkldnn
from sagemaker_tensorflow._local.folders import host_folders
from sagemaker_tensorflow._local.folders.host_folders import Layout
from sagemaker_tensorflow._local.folders.workspace import JobFolder
from sagemaker_tensorflow._local.request.job import Host, Job
from sagemaker_tensorflow._local.request.settings import JobError, Observer
from sagemaker_tensorflow._local.script import cluster, opt_ml, toolkit_variables
from sagemaker_tensorflow._local.script.output_tail import OutputTail
from sagemaker_tensorflow._local.script.script_process import Script

# The name of the one script that mpirun makes of all of them.
_MPIRUN = "mpirun"


class Scripts:
    """Starts the processes of a job.

    Args:
        job: The job.
        layouts: The folders of its hosts.
        seen: Where the scripts see them, if that is another place.
        folder: The job's folder.
        observer: Says where output goes.
        stack: Ends the processes at its end.
    """

    def __init__(
        self,
        job: Job,
        layouts: Sequence[Layout],
        seen: Layout | None,
        folder: JobFolder,
        observer: Observer,
        stack: contextlib.ExitStack,
    ) -> None:
        self._job = job
        self._layouts = layouts
        self._at_opt_ml = seen is not None
        self._seen = [seen or folders for folders in layouts]
        self._folder = folder
        self._observer = observer
        self._stack = stack
        self._tails: dict[str, OutputTail] = {}
        self._configs, self._servers = cluster.tensorflow_configs(job)
        self._environments = [
            self._environment(host, seen_folders, config)
            for host, seen_folders, config in zip(job.hosts, self._seen, self._configs, strict=True)
        ]

    def install_requirements(self) -> None:
        """Has pip install them into this Python, as the toolkit does; once, for all hosts."""
        folder = self._layouts[0].code_dir
        package = ["."] if (folder / "setup.py").is_file() else []
        named = ["-r", "requirements.txt"] if (folder / "requirements.txt").is_file() else []
        if not package + named:
            raise JobError(f"there is no requirements.txt in {self._job.source}")
        self._observer.say("installing requirements")
        command = [sys.executable, "-m", "pip", "install", *package, *named]
        with self._start(command, self._environments[0], folder) as pip:
            end = pip.end()
        if end.exit_code != 0:
            raise JobError(f"pip could not install the requirements: it {end}")

    def commands(self) -> list[list[str]]:
        """Returns each host's command."""
        return [
            [
                *(_opt_ml_command(folders) if self._at_opt_ml else []),
                *toolkit_variables.command(sys.executable, self._job.program, folders.code_dir),
                *toolkit_variables.arguments(self._job.hyperparameters),
            ]
            for folders in self._layouts
        ]

    def start(self) -> dict[str, Script]:
        """Starts the scripts; returns them by the names of their hosts."""
        for folders in self._layouts:
            path = folders.code_dir / self._job.program
            path.chmod(path.stat().st_mode | 0o111)
        if self._job.cluster == "mpi":
            return {_MPIRUN: self._start_mpi()}
        return {
            host.name: self._start_script(host.name, command, variables, folders.code_dir)
            for host, command, variables, folders in zip(
                self._job.hosts, self.commands(), self._environments, self._layouts, strict=True
            )
        }

    def start_servers(self) -> list[Script]:
        """Starts the parameter servers."""
        return [
            self._stack.enter_context(
                self._start(
                    cluster.parameter_server_command(),
                    {**os.environ, "TF_CONFIG": config, "TF_CPP_MIN_LOG_LEVEL": "2"},
                    Path.cwd(),
                )
            )
            for config in self._servers
        ]

    def finish_output(self, name: str, seconds: float | None = None) -> None:
        """Waits until all that an ended script has written is passed on; so long at most."""
        self._tails[name].finish(seconds)

    def finish_all_output(self) -> None:
        """Waits, after the end of all scripts, until all that they have written is passed on."""
        for name in self._tails:
            self.finish_output(name)

    def said(self, name: str) -> list[tuple[str | None, str]]:
        """Returns what the ended script of this name said last, each time with its host.

        These are its ``failure`` files and the end of its output. The host is ``None`` for what
        the scripts of several have said.
        """
        is_one = name != _MPIRUN or len(self._job.hosts) == 1
        failures = [
            (host.name, folders.failure() or "")
            for host, folders in zip(self._job.hosts, self._layouts, strict=True)
            if name in (host.name, _MPIRUN)
        ]
        speaker = failures[0][0] if is_one else None
        return [*failures, (speaker, self._tails[name].text())]

    def pipe_dirs(self) -> dict[str, list[str]]:
        """Returns whose FIFOs are in a folder, as the scripts see it, or as we do."""
        hosts: dict[str, list[str]] = {}
        for host, folders, seen in zip(self._job.hosts, self._layouts, self._seen, strict=True):
            for path in {str(folders.data_dir), str(seen.data_dir)}:
                hosts.setdefault(path, []).append(host.name)
        return hosts

    def _start_mpi(self) -> Script:
        scratch = self._folder.scratch()
        file = scratch / "ranks.json"
        hosts = [
            {"command": command, "cwd": str(folders.code_dir), "environment": variables}
            for command, variables, folders in zip(
                self.commands(), self._environments, self._layouts, strict=True
            )
        ]
        ranks = {"processes_per_host": self._job.processes_per_host, "hosts": hosts}
        file.write_text(json.dumps(ranks), encoding="ascii")
        command = cluster.mpi_command(self._job, file)
        # mpirun keeps files of its own, and cannot remove them when it is killed.
        variables = {**self._environments[0], "TMPDIR": str(scratch)}
        return self._start_script(_MPIRUN, command, variables, self._layouts[0].code_dir)

    def _start_script(
        self, name: str, command: list[str], variables: dict[str, str], cwd: Path
    ) -> Script:
        self._folder.begin_results()
        tail = self._tails[name] = OutputTail(self._observer.output)
        self._stack.enter_context(tail)
        script = self._start(command, variables, cwd, tail.output)
        tail.begin()
        return self._stack.enter_context(script)

    def _start(
        self,
        command: list[str],
        variables: dict[str, str],
        cwd: Path,
        output: tuple[int | None, int | None] | None = None,
    ) -> Script:
        return Script(
            command,
            variables,
            cwd,
            output=output or self._observer.output,
            lifeline=self._folder.lifeline,
        )

    def _environment(self, host: Host, folders: Layout, config: str | None) -> dict[str, str]:
        # What a job around this one says of itself is not for this one's script.
        ours = {name: value for name, value in os.environ.items() if not name.startswith("SM_")}
        surroundings = {
            # As in the service's images. Else a script's lines come when it ends.
            "PYTHONUNBUFFERED": "1",
            **ours,
            "TRAINING_JOB_NAME": self._job.name,
            **self._job.environment,
            **mkldnn.translated(self._job.environment),
        }
        said = toolkit_variables.variables(
            folders,
            host_folders.hyperparameters(self._job, folders),
            host_folders.input_data_config(self._job, host),
            host_folders.resource_config(self._job, host),
            surroundings,
        )
        return {**surroundings, **said, **({"TF_CONFIG": config} if config else {})}


def try_opt_ml(folders: Layout) -> None:
    """Finds out, before anything runs, whether a script can see ``folders`` at /opt/ml.

    Raises:
        JobError: If it cannot; the message says why.
    """
    tried = subprocess.run(  # noqa: S603
        [*_opt_ml_command(folders), "/bin/sh", "-c", ":"],
        capture_output=True,
        text=True,
        check=False,
    )
    if tried.returncode != 0:
        raise JobError(f"--opt-ml: {tried.stderr.strip()}")


def _opt_ml_command(folders: Layout) -> list[str]:
    """Returns what the command of a script begins with that is to see ``folders`` at /opt/ml."""
    return [sys.executable, "-I", "-S", opt_ml.__file__, str(folders.base)]
