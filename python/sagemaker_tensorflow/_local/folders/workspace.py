# SPDX-License-Identifier: Apache-2.0
"""The folder of a job: a temporary one, or one that is kept; and who removes it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

from sagemaker_tensorflow._base.shutdown_signals import StopSignals
from sagemaker_tensorflow._local.folders import guard
from sagemaker_tensorflow._local.folders.host_folders import Layout
from sagemaker_tensorflow._local.request.job import Host, Job
from sagemaker_tensorflow._local.request.settings import JobError


def check(given: Path) -> None:
    """Finds out whether ``given`` is a folder that nobody has used, or could be made one.

    Raises:
        JobError: If not.
    """
    path = given.absolute()
    try:
        empty = not path.exists() or next(path.iterdir(), None) is None
    except OSError as error:
        raise JobError(f"cannot use the base folder '{path}': {error.strerror}") from None
    if not empty:
        raise JobError(
            f"the base folder '{path}' is not empty: each job needs a fresh one, or epochs of the "
            "one before would count; remove it, or name another"
        )


class JobFolder:
    """The folder of a job, which may hold those of its hosts, and its one owner.

    Nothing else removes it, or the FIFOs in it when it stays: no keeper, whatever it keeps, and no
    script's end. This does, at two moments:

    - When it is left, which is after the last script has ended, the feeders have stopped and the
      output was collected.
    - When this process has been killed, through its guard (see ``guard``), as soon as no process of
      the job is left. For that, each process that keeps one has to hold ``lifeline``.

    Args:
        given: It, new or empty; it is kept. ``None``: a temporary one, which is not.
        job: The job.
        signals: Waits while that is removed.

    Attributes:
        path: Where it is.
        kept: Whether it stays.
        holds_results: Whether what is in it exists nowhere else: then it stays, too, unless this
            process is killed.
        lifeline: File descriptor that every keeper inherits.

    Raises:
        JobError: When entered, if the given one cannot be used.
    """

    def __init__(self, given: Path | None, job: Job, signals: StopSignals) -> None:
        self._signals = signals
        self._job = job
        name = secrets.token_hex(8)
        temporary = Path(tempfile.gettempdir())
        self.path = temporary / f"pipemode-job-{name}" if given is None else given.absolute()
        self.kept = given is not None
        self.holds_results = False
        self.lifeline = -1
        self._scratch = temporary / f"pipemode-scratch-{name}"
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> JobFolder:
        if not self.kept:
            self._start_guard()
            self.path.mkdir(mode=0o700)
            return self
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JobError(f"cannot use the base folder '{self.path}': {error.strerror}") from None
        check(self.path)
        self._start_guard()
        return self

    def __exit__(self, *_: object) -> None:
        with self._signals.collected():
            guard.clean(**self._leftovers(stays=self.kept or self.holds_results))
            with contextlib.suppress(OSError):  # somebody has killed it
                os.write(self.lifeline, b"\n")
            os.close(self.lifeline)
            if self._guard is not None:
                self._guard.wait()

    def of_host(self, host: Host) -> Path:
        """Returns a host's folder, in place of ``/opt/ml``."""
        return self.path if len(self._job.hosts) == 1 else self.path / host.name

    def scratch(self) -> Path:
        """Returns a folder for what no script is to find, and which never stays."""
        self._scratch.mkdir(mode=0o700, exist_ok=True)
        return self._scratch

    def begin_results(self) -> None:
        """A script may make some from now on."""
        self.holds_results = True

    def end_results(self) -> None:
        """All of that has been collected."""
        self.holds_results = False

    def keep(self) -> None:
        """Does not remove it, after all."""
        self.kept = True

    def _leftovers(self, *, stays: bool) -> dict[str, list[str]]:
        """Returns what is to be removed, as ``guard.clean`` takes it."""
        scratch = str(self._scratch)
        if not stays:
            return {"remove": [str(self.path), scratch], "fifos_in": []}
        data_dirs = [str(Layout(self.of_host(host)).data_dir) for host in self._job.hosts]
        return {"remove": [scratch], "fifos_in": data_dirs}

    def _start_guard(self) -> None:
        order = json.dumps(self._leftovers(stays=self.kept))
        watched, self.lifeline = os.pipe()
        try:
            self._guard = subprocess.Popen(  # noqa: S603
                # No site-packages: it is to be there at once.
                [sys.executable, "-I", "-S", guard.__file__, order],
                stdin=watched,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            os.close(watched)
