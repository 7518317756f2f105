# SPDX-License-Identifier: Apache-2.0
"""What the tests of ``pipemode run`` share: jobs in processes of their own, and what they leave."""

import dataclasses
import os
import signal
import subprocess
import sys
import tarfile
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


# Of the channel that `training_data` has: more than pipes and read-ahead hold, so that a host has
# not sent it all before it is read.
RECORDS = 600
RECORD = bytes(100_000)
FILES = 3

# Scripts that have begun to read, and then go on as told; the second one will not end by itself.
HANGS = """
read(limit=1)
Path(HERE, "reads").write_text("")
"""
STUBBORN = """
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
subprocess.Popen(["setsid", "sleep", "1000"])
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


def make_folder(path):
    """Makes a folder with a file in it."""
    path.mkdir()
    (path / "file").write_text("text")
    return path


def model_of(output):
    """The files of the model that was collected below the folder ``output``, by name."""
    [path] = output.glob("*/output/model.tar.gz")
    with tarfile.open(path) as archive:
        return {
            member.name: archive.extractfile(member).read().decode()
            for member in archive.getmembers()
            if member.isfile()
        }


SIGINT_EXIT = 128 + signal.SIGINT
SIGTERM_EXIT = 128 + signal.SIGTERM
