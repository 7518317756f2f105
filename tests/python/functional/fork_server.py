# SPDX-License-Identifier: Apache-2.0
"""Python programs in processes of their own that have TensorFlow imported when they begin.

A process needs 4 s to import TensorFlow. The server is a process that has done so, but has run
nothing; it forks for each program. Whatever the program does happens in a process with a main
thread, signal handlers, an end and an exit code of its own.
"""

import contextlib
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

from pipe_helpers import is_blocked, wait_until

_MAX_MESSAGE = 1 << 20


class ForkServer:
    """Starts the server; the programs it runs end with it.

    ``variables`` are added to the environment of the server and of its programs.
    """

    def __init__(self, **variables):
        self._variables = variables
        self._folder = tempfile.TemporaryDirectory()
        self._numbers = itertools.count()
        self._path = str(Path(self._folder.name) / "socket")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(self._path)
        listener.listen()
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(listener.fileno())],
            stdin=subprocess.PIPE,  # at its end the server ends, and its programs
            stderr=subprocess.DEVNULL,  # TensorFlow greets
            env={**os.environ, **variables},
            pass_fds=[listener.fileno()],
        )
        listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.communicate()
        self._folder.cleanup()

    def run(self, code, *arguments):
        """Runs ``code`` with ``sys.argv[1:]`` and the environment of the moment."""
        # AutoGraph reads sources from files.
        path = Path(self._folder.name) / f"program{next(self._numbers)}.py"
        path.write_text(textwrap.dedent(code))
        environment = {**os.environ, **self._variables}
        return Program(
            self._path, str(path), [str(argument) for argument in arguments], environment
        )


class Program:
    """One program, seen from outside. At the end of a ``with`` block it is killed."""

    def __init__(self, server, path, arguments, environment):
        self._stdout, self._stderr = (os.memfd_create(name) for name in ("stdout", "stderr"))
        self._exit_code = None
        self._connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._connection.settimeout(60)
        self._connection.connect(server)
        request = {"path": path, "arguments": arguments, "environment": environment}
        socket.send_fds(
            self._connection,
            [json.dumps(request).encode()],
            [self._stdout, self._stderr],
        )
        self.pid = json.loads(self._receive())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if not self.has_ended():
            self.send(signal.SIGKILL)
        self.wait()
        self._connection.close()
        os.close(self._stdout)
        os.close(self._stderr)

    @property
    def stdout(self):
        """What it has printed so far."""
        return self._read(self._stdout)

    @property
    def stderr(self):
        return self._read(self._stderr)

    def send(self, signal_number):
        os.kill(self.pid, signal_number)

    def wait(self, timeout=60):
        """Waits for its end; returns the exit code, -n if signal n killed it."""
        if self._exit_code is None:
            self._connection.settimeout(timeout)
            self._exit_code = json.loads(self._receive())
        return self._exit_code

    def result(self, timeout=60):
        """Waits for its end, which must be a good one; returns what it printed, as JSON."""
        assert self.wait(timeout) == 0, self.stderr
        return json.loads(self.stdout)

    def has_ended(self):
        return self._exit_code is not None or bool(select.select([self._connection], [], [], 0)[0])

    def wait_for_output(self, text, times=1, timeout=60, or_good_end=False):
        """Waits until it has printed so many lines with ``text``, to their ends."""

        def has_printed():
            return self.stdout.rpartition("\n")[0].count(text) >= times

        wait_until(lambda: has_printed() or self.has_ended(), timeout)
        if or_good_end and self.has_ended():
            assert self.wait() == 0, self.stderr
        else:
            assert has_printed(), self.stderr

    def wait_until_blocked(self, timeout=60):
        """Waits until a thread waits for a FIFO or for data, and the main thread for anything."""
        tasks = Path(f"/proc/{self.pid}/task")

        def blocked():
            if not any(is_blocked(self.pid, int(task.name)) for task in tasks.iterdir()):
                return False
            # In TensorFlow's short waits, and in those for the GIL, it is not for long.
            places = set()
            for _ in range(5):
                places.add(self._place(tasks / str(self.pid)))
                time.sleep(0.005)
            return len(places) == 1 and "running" not in places

        wait_until(lambda: self.has_ended() or blocked(), timeout)
        assert not self.has_ended(), self.stderr

    @staticmethod
    def _place(task):
        """Where a thread sleeps: its system call with all arguments."""
        try:
            return (task / "syscall").read_text().strip()
        except PermissionError:
            return (task / "stat").read_text().split()[2].replace("R", "running")
        except OSError:
            return "running"

    def _receive(self):
        message = self._connection.recv(_MAX_MESSAGE)
        assert message, "the fork server has ended"
        return message

    @staticmethod
    def _read(fd):
        # The program shares the position in the file: leave it alone.
        return os.pread(fd, _MAX_MESSAGE, 0).decode()


def _serve(listener):
    """Forks for each request. Returns in the child, with the request to run."""
    connections = {}
    while True:
        # Time tells of an ended child, for a handler would be inherited.
        ready, _, _ = select.select([listener, sys.stdin], [], [], 0.005 if connections else None)
        if sys.stdin in ready:
            for pid in connections:
                os.kill(pid, signal.SIGKILL)
            os._exit(0)
        if ready:
            connection, _ = listener.accept()
            message, fds, _, _ = socket.recv_fds(connection, _MAX_MESSAGE, 2)
            pid = os.fork()
            if pid == 0:
                for other in [listener, connection, *connections.values()]:
                    other.close()
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(fds[0], 1)
                os.dup2(fds[1], 2)
                for fd in fds:
                    os.close(fd)
                return json.loads(message)
            for fd in fds:
                os.close(fd)
            connections[pid] = connection
            connection.send(json.dumps(pid).encode())
        while connections:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                break
            # Perhaps nobody waits for it any more.
            with connections.pop(pid) as connection, contextlib.suppress(OSError):
                connection.send(json.dumps(os.waitstatus_to_exitcode(status)).encode())


if __name__ == "__main__":
    import sagemaker_tensorflow.pipemode  # noqa: F401
    import tensorflow  # noqa: F401

    request = _serve(socket.socket(fileno=int(sys.argv[1])))
    sys.argv = [request["path"], *request["arguments"]]
    os.environ.clear()
    os.environ.update(request["environment"])
    exec(
        compile(Path(request["path"]).read_text(), request["path"], "exec"),
        {"__name__": "__main__", "__file__": request["path"]},
    )
    # Python takes TensorFlow apart for a second or two. A program that wants to see that raises
    # SystemExit.
    sys.stdout.flush()
    os._exit(0)
