# SPDX-License-Identifier: Apache-2.0
"""A process that removes what a job must not leave when the host has been killed.

``job_folder.JobFolder`` owns a job's folder, and runs this as a program, with a JSON object as its
argument: ``remove``, folders, and ``fifos_in``, folders that stay without their FIFOs. The standard
input is a pipe whose writing end the host and every keeper hold:

- A byte in it is the host's word that it has removed everything itself.
- Its end without a word means that the host has been killed and that every keeper has killed what
  it kept. Only then does nothing of the job write into its folder any more, and it is removed.

It imports the standard library alone, to be there at once.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
from collections.abc import Iterable
from pathlib import Path


def main() -> None:
    """Waits for the end of a job."""
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they are for the host
    if not os.read(sys.stdin.fileno(), 1):
        clean(**json.loads(sys.argv[1]))


def clean(remove: Iterable[str], fifos_in: Iterable[str]) -> None:
    """Removes as much of it as can be removed.

    Args:
        remove: Folders that are removed, if they are there.
        fifos_in: Folders whose FIFOs are removed.
    """
    for folder in remove:
        shutil.rmtree(folder, ignore_errors=True)
    for folder in fifos_in:
        with contextlib.suppress(OSError):
            for path in Path(folder).iterdir():
                if path.is_fifo():
                    path.unlink()


if __name__ == "__main__":
    main()
