# SPDX-License-Identifier: Apache-2.0
"""What the tests of the native readers and writers share."""

import contextlib
import gzip
import itertools
import os
import platform
import signal
import subprocess
import sys
import textwrap
import threading
import time
import zlib
from pathlib import Path

from hypothesis import strategies as st
from sagemaker_tensorflow.records import encode

FORMATS = ["RecordIO", "TFRecord", "TextLine"]
COMPRESSIONS = [None, "GZIP", "ZLIB"]
WINDOW_BITS = {"GZIP": 31, "ZLIB": 15}
# Longer than the readers' buffer of 1 MiB.
LONG = 3 << 20

_PPOLL = {"x86_64": "271", "aarch64": "73"}.get(platform.machine())


def stream(records, record_format, compression_type=None, **options):
    """The bytes of a whole stream."""
    data = b"".join(encode(record, record_format, **options) for record in records)
    if compression_type is None:
        return data
    compressor = zlib.compressobj(wbits=WINDOW_BITS[compression_type])
    return compressor.compress(data) + compressor.flush()


def tfrecord_header(length):
    """A valid header of a TFRecord of this length, whatever follows it."""
    data = length.to_bytes(8, "little")
    # A payload's CRC stands at the end of its record.
    return data + stream([data], "TFRecord")[-4:]


def flip_bit(data, position):
    """``data`` with one wrong bit, in the byte at ``position``."""
    changed = bytearray(data)
    changed[position] ^= 1
    return bytes(changed)


def split(batch):
    """The records of a batch, which is all their bytes and their offsets in these."""
    data, offsets = batch
    return [data[begin:end].tobytes() for begin, end in itertools.pairwise(offsets)]


def lists_of_records(record_format, **sizes):
    """A Hypothesis strategy: records that the format can hold, some long ones among them."""
    record = st.binary(max_size=200) | st.integers(1, 400_000).map(lambda n: bytes([n % 251]) * n)
    if record_format == "TextLine":
        # A stream of text that begins like gzip is refused, and Hypothesis knows how gzip begins.
        record = record.map(lambda data: data.replace(b"\n", b"\r").replace(b"\x1f\x8b", b"gz"))
    return st.lists(record, max_size=8, **sizes)


def wait_until(condition, timeout=30.0):
    """Waits until ``condition()`` is true; fails loudly if it never is."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.001)


def is_blocked(pid, thread_id=None):
    """Whether a thread (default: the main one) sleeps in ppoll(2), as the core does to wait."""
    thread = Path(f"/proc/{pid}/task/{thread_id or pid}")
    try:
        return (thread / "syscall").read_text().split()[0] == _PPOLL
    except PermissionError:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0] == "S"
    except OSError:  # it has ended
        return False


class Background(threading.Thread):
    """Runs ``function`` in a thread; ``result()`` waits and returns, or raises, what it did."""

    def __init__(self, function, *args):
        super().__init__(daemon=True)
        self._function, self._args = function, args
        self._result = self._error = None
        self.start()

    def run(self):
        try:
            self._result = self._function(*self._args)
        except BaseException as error:
            self._error = error

    def result(self, timeout=30.0):
        self.join(timeout)
        assert not self.is_alive(), "the thread is still running"
        if self._error is not None:
            raise self._error
        return self._result

    def wait_until_blocked(self):
        wait_until(lambda: not self.is_alive() or is_blocked(os.getpid(), self.native_id))
        assert self.is_alive(), "the thread has ended"


def feed(path, *pieces, opened=None):
    """Writes ``pieces`` into a FIFO from a thread, like any other program would."""

    def write():
        with contextlib.suppress(BrokenPipeError), Path(path).open("wb", buffering=0) as fifo:
            if opened is not None:
                opened.set()
            for piece in pieces:
                view = memoryview(piece)
                while view:
                    view = view[fifo.write(view) :]

    return Background(write)


def feed_nothing_for_ever(path, first=b""):
    """Writes empty gzip members into a FIFO until its reader is gone: there are never records."""
    members = gzip.compress(b"") * 50_000

    def write():
        with contextlib.suppress(BrokenPipeError), Path(path).open("wb", buffering=0) as fifo:
            fifo.write(first)
            while True:
                fifo.write(members)

    return Background(write)


class Script:
    """A Python program in a process of its own; ``options`` are those of ``subprocess.Popen``."""

    def __init__(self, code, *args, **options):
        self.process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(code), *map(str, args)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            **options,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def wait_until_blocked(self):
        wait_until(
            lambda: self.process.poll() is not None or is_blocked(self.process.pid), timeout=60
        )
        assert self.process.poll() is None, self.process.communicate()[1]

    def send(self, signal_number=signal.SIGINT):
        self.process.send_signal(signal_number)

    def finish(self, timeout=30):
        """Waits for its end; returns (exit code, stdout, stderr)."""
        output, errors = self.process.communicate(timeout=timeout)
        return self.process.returncode, output, errors
