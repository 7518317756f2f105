# SPDX-License-Identifier: Apache-2.0
"""A script's processes: started, told to end, and none of them left."""

import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from pipe_helpers import wait_until
from sagemaker_tensorflow._base.shutdown_signals import StopSignals
from sagemaker_tensorflow._local.folders.workspace import JobFolder
from sagemaker_tensorflow._local.script.script_process import Script, ScriptEnd, ScriptError


@pytest.fixture
def start(tmp_path):
    """Starts shell or Python code in ``tmp_path``; none of them may be left at the end."""
    mark = f"MARK={tmp_path}"

    def start(code, *, shell=False, environment=None, **options):
        command = ["sh", "-c", code] if shell else [sys.executable, "-c", textwrap.dedent(code)]
        variables = {"PATH": os.environ["PATH"], "MARK": str(tmp_path), **(environment or {})}
        script = Script(command, variables, tmp_path, **options)
        started.append(script)
        return script

    started = []
    yield start
    for script in started:
        script.close()
    assert not [
        entry.name
        for entry in Path("/proc").iterdir()
        if entry.name.isdecimal() and mark.encode() in environ_of(entry)
    ]


def environ_of(process):
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def wait_for(path):
    wait_until(path.exists)


@pytest.mark.parametrize("status", [0, 1, 255])
def test_exit_status(start, status):
    assert start(f"exit {status}", shell=True).end() == ScriptEnd(status, 0)


def test_signal_as_exit_status(start):
    end = start("kill -SEGV $$", shell=True).end()
    assert (end.exit_code, end.status, str(end)) == (-11, 139, "was killed by SIGSEGV")


def test_end_can_be_waited_for(start):
    script = start("exec sleep 0.2", shell=True)
    assert select.select([script], [], [], 20)[0] == [script]
    assert script.end().exit_code == 0


def test_large_environment_and_odd_bytes(start, tmp_path):
    variables = {f"V{n}": "x" * 100_000 for n in range(10)} | {"ODD": "\udcff\n"}
    script = start(
        """
        import os
        assert os.environb[b"ODD"] == b"\\xff\\n"
        open("sum", "w").write(str(sum(len(os.environ[f"V{n}"]) for n in range(10))))
        """,
        environment=variables,
    )
    assert script.end().exit_code == 0
    assert (tmp_path / "sum").read_text() == "1000000"


@pytest.mark.parametrize("variables", [{}, {"X": "x" * (3 << 20)}])
def test_what_cannot_be_started(tmp_path, variables):
    with (
        Script(["/no/such/program"], variables, tmp_path) as script,
        pytest.raises(ScriptError, match="cannot be started"),
    ):
        script.end()


def test_signals_that_come_at_once(start):
    """Sent before there is a script: it gets them all the same."""
    for _ in range(5):
        script = start("sleep 1000", shell=True)
        script.send(signal.SIGTERM)
        assert script.end().exit_code == -signal.SIGTERM


def test_interrupt_is_for_the_whole_group(start, tmp_path):
    script = start(
        """
        import os, pathlib, signal, sys, time

        def touch(*_):
            pathlib.Path(name).touch()
            if child:
                os.waitpid(child, 0)
            sys.exit()

        signal.signal(signal.SIGINT, touch)
        child = os.fork()
        name = "parent" if child else "child"
        pathlib.Path(name + " is up").touch()
        while True:
            time.sleep(0.01)  # pause() would sleep on if the signal came just before it
        """
    )
    wait_for(tmp_path / "parent is up")
    wait_for(tmp_path / "child is up")
    script.send(signal.SIGINT)
    assert script.end().exit_code == 0
    assert (tmp_path / "parent").exists()
    assert (tmp_path / "child").exists()


def test_ignored_signals_are_not_inherited(start, tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        script = start("touch up; exec sleep 1000", shell=True)
    finally:
        signal.signal(signal.SIGINT, before)
    wait_for(tmp_path / "up")
    script.send(signal.SIGINT)
    assert script.end().exit_code == -signal.SIGINT


DAEMONS = """
import os, time
for kind in range(3):
    if os.fork() == 0:
        os.setsid()
        if kind and os.fork():
            os._exit(0)
        while kind == 2 and not os.fork():  # flees: each lives for a moment
            time.sleep(0.01)
            if os.fork():
                os._exit(0)
        time.sleep(1000)
while not os.path.exists("end"):
    time.sleep(0.01)
"""


def test_daemons_are_found(start, tmp_path):
    script = start(DAEMONS)
    time.sleep(0.2)
    (tmp_path / "end").touch()
    end = script.end()
    assert end.exit_code == 0
    assert end.left_behind >= 3


def test_kill_reaches_everyone(start, tmp_path):
    script = start("setsid sleep 1000 & trap '' TERM INT HUP; touch up; sleep 1000", shell=True)
    wait_for(tmp_path / "up")
    script.send(signal.SIGTERM)
    script.send(signal.SIGKILL)
    assert script.end().exit_code == -signal.SIGKILL


def test_closing_ends_it(start, tmp_path):
    folder = tmp_path / "job"
    folder.mkdir()
    script = start("touch up; exec sleep 1000", shell=True)
    wait_for(tmp_path / "up")
    script.close()
    assert folder.exists()  # which is for its owner to remove


def test_lifeline_is_held_until_nothing_is_left(start, tmp_path):
    """By the keeper, and by nothing that the script has started."""
    watched, lifeline = os.pipe()
    code = "setsid sleep 1000 & ls /proc/self/fd > descriptors; touch up; exec sleep 1000"
    script = start(code, shell=True, lifeline=lifeline)
    os.close(lifeline)
    wait_for(tmp_path / "up")
    assert str(lifeline) not in (tmp_path / "descriptors").read_text().split()
    assert select.select([watched], [], [], 0)[0] == []
    script.close()
    assert os.read(watched, 1) == b""
    os.close(watched)


def test_output_goes_where_it_should(start, tmp_path):
    with (tmp_path / "out").open("wb") as out, (tmp_path / "err").open("wb") as err:
        script = start("echo one; echo two >&2", shell=True, output=(out.fileno(), err.fileno()))
        script.end()
    assert (tmp_path / "out").read_text() == "one\n"
    assert (tmp_path / "err").read_text() == "two\n"


def test_many_at_once(start, tmp_path):
    scripts = [start(f"sleep 0.1; exit {n}", shell=True) for n in range(8)]
    assert [script.end().exit_code for script in scripts] == list(range(8))


HOST = """
import sys
from pathlib import Path
from types import SimpleNamespace
from sagemaker_tensorflow._base.shutdown_signals import StopSignals
from sagemaker_tensorflow._local.folders.workspace import JobFolder
from sagemaker_tensorflow._local.script.script_process import Script
job = SimpleNamespace(hosts=())
code = "cd /; setsid sleep 1000 & while :; do mkdir -p $0/$$ && touch $0/$$/file; done"
with JobFolder(None, job, StopSignals()) as folder:
    for number in range(2):
        Script(["sh", "-c", code, str(folder.path)], {"MARK": sys.argv[1]}, Path("/"),
               lifeline=folder.lifeline)
    print(flush=True)
    sys.stdin.read()
"""


def test_guard_that_is_killed(tmp_path, monkeypatch):
    """The owner removes the folder itself when all goes well."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with StopSignals() as signals, JobFolder(None, SimpleNamespace(hosts=()), signals) as folder:
        (folder.path / "file").touch()
        (folder.scratch() / "file").touch()
        mark = str(folder.path).encode()
        wait_until(lambda: processes_with(mark))  # exec(2) may have it still without arguments
        [guard] = processes_with(mark)
        os.kill(guard, signal.SIGKILL)
    assert list(tmp_path.iterdir()) == []


def processes_with(argument):
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdecimal() and argument in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


def test_nothing_outlives_a_killed_parent(tmp_path):
    """Killed at any moment, from before the script is started, while scripts write."""
    for number in range(6):
        folder = tmp_path / str(number)
        folder.mkdir()
        with subprocess.Popen(
            [sys.executable, "-c", HOST, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "TMPDIR": str(folder)},
        ) as parent:
            parent.stdout.readline()
            time.sleep(0.01 * number)
            parent.kill()
        mark = f"MARK={folder}".encode()
        wait_until(
            lambda mark=mark: (
                not any(
                    mark in environ_of(entry)
                    for entry in Path("/proc").iterdir()
                    if entry.name.isdecimal()
                )
            ),
            timeout=20,
        )
        wait_until(lambda folder=folder: list(folder.iterdir()) == [], timeout=20)
