# SPDX-License-Identifier: Apache-2.0
"""The folder of a job: a temporary one, or one that is kept."""

from __future__ import annotations

import secrets
import shutil
import subprocess
import tempfile
from pathlib import Path

from sagemaker_tensorflow._local.interrupts import StopSignals
from sagemaker_tensorflow._local.job import Host, Job
from sagemaker_tensorflow._local.settings import JobError


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


def _guard(path: Path) -> subprocess.Popen[bytes]:
    """Starts a process that removes ``path`` if this one ends without a word to it.

    From its start on a script has its keeper for that; this is for what comes before.
    """
    program = "trap '' HUP INT TERM; read -r _ || rm -rf -- \"$1\""
    return subprocess.Popen(  # noqa: S603
        ["/bin/sh", "-c", program, "sh", str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


class JobFolder:
    """The folder of a job, which may hold those of its hosts.

    Args:
        given: It, new or empty; it is kept. ``None``: a temporary one, which is not.
        signals: Waits while that is removed.

    Attributes:
        path: Where it is.
        kept: Whether it stays.
        holds_results: Whether what is in it exists nowhere else: then it stays, too.

    Raises:
        JobError: When entered, if the given one cannot be used.
    """

    def __init__(self, given: Path | None, signals: StopSignals) -> None:
        self._signals = signals
        self.kept = given is not None
        self.path = Path()
        self._given = given
        self.holds_results = False
        self._guard: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> JobFolder:
        if self._given is None:
            self.path = Path(tempfile.gettempdir(), f"pipemode-job-{secrets.token_hex(8)}")
            self._guard = _guard(self.path)
            self.path.mkdir(mode=0o700)
            return self
        self.path = self._given.absolute()
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise JobError(f"cannot use the base folder '{self.path}': {error.strerror}") from None
        check(self.path)
        return self

    def __exit__(self, *_: object) -> None:
        with self._signals.collected():
            if not self.kept and not self.holds_results:
                shutil.rmtree(self.path, ignore_errors=True)
            if self._guard is not None:
                self._guard.communicate(b"\n")

    def of_host(self, host: Host, job: Job) -> Path:
        """Returns a host's folder, in place of ``/opt/ml``."""
        return self.path if len(job.hosts) == 1 else self.path / host.name

    def begin_results(self) -> None:
        """A script may make some from now on."""
        self.holds_results = True

    def end_results(self) -> None:
        """All of that has been collected."""
        self.holds_results = False

    def keep(self) -> None:
        """Does not remove it, after all."""
        self.kept = True
