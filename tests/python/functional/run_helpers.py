# SPDX-License-Identifier: Apache-2.0
"""What the tests of ``pipemode run`` share: jobs in processes of their own, and what they leave."""

import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

from pipe_helpers import wait_until

# What scripts of tests begin with. `read` reads an epoch and returns its number of records.
PRELUDE = """
import argparse, json, os, signal, subprocess, sys, time
from pathlib import Path

model = Path(os.environ["SM_MODEL_DIR"])

def read(channel="training", limit=None):
    from sagemaker_tensorflow.records import ChannelReader
    count = 0
    with ChannelReader(channel, "TFRecord") as reader:
        for _ in reader:
            count += 1
            if count == limit:
                break
    return count

"""


@dataclasses.dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str


class Command:
    """``pipemode run`` in a folder; leaves it the folder's ``tmp`` for temporary files."""

    def __init__(self, folder, *arguments, **options):
        self.folder = folder
        self.tmp = folder / "tmp"
        self.tmp.mkdir(exist_ok=True)
        environment = {
            **os.environ,
            "TMPDIR": str(self.tmp),
            "PYTHONPATH": os.pathsep.join(sys.path),
            **options.pop("env", {}),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sagemaker_tensorflow", "run", *map(str, arguments)],
            cwd=folder,
            env=environment,
            **{
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                "text": True,
                "start_new_session": True,
                **options,
            },
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()

    def wait_for_file(self, name):
        """Waits until a script has made a file of this name in the folder; returns its text."""
        path = self.folder / name
        wait_until(lambda: path.exists() or self.process.poll() is not None)
        assert path.exists(), self.process.communicate()
        return path.read_text()

    def send(self, number):
        self.process.send_signal(number)

    def finish(self, timeout=90):
        """Waits for its end, and sees that nothing is left of it."""
        stdout, stderr = self.process.communicate(timeout=timeout)
        # A script's own names it, in its folder, unless it was killed as it began to print it.
        traceback = stderr.partition("Traceback (most recent call last):\n")[2]
        assert not traceback or "/code/" in traceback, stderr
        self.assert_nothing_is_left()
        return Ended(self.process.returncode, stdout, stderr)

    def assert_nothing_is_left(self):
        """No process that has seen our folder of temporary files, and nothing in there."""
        wait_until(lambda: not self.processes(), timeout=10)
        assert list(self.tmp.iterdir()) == []

    def processes(self):
        """The processes that were begun by the command."""
        mark = f"TMPDIR={self.tmp}".encode()
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdecimal() and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found


def write_script(folder, text, name="train.py"):
    """Writes a script that begins with ``PRELUDE``; ``HERE`` in it is ``folder``."""
    path = folder / name
    body = textwrap.dedent(text).replace("HERE", repr(str(folder)))
    path.write_text(PRELUDE + body)
    return path


SIGINT_EXIT = 128 + signal.SIGINT
SIGTERM_EXIT = 128 + signal.SIGTERM
