# SPDX-License-Identifier: Apache-2.0
"""How fast local files reach a FIFO, beside the least that a program can do for that.

make test-slow PYTEST_OPTIONS='-k feeder_speed -s'
"""

import os
import random
import statistics
import subprocess
import sys
import threading

import pytest
from feeder_helpers import fed
from pipe_helpers import wait_until

pytestmark = pytest.mark.slow

MIB = 1 << 20
ROUNDS = 9
# The promise of the feeder, of what a bare writer reaches.
SHARE = 0.8

# Reads FIFOs into one buffer; for each, prints bytes and seconds from the first byte on.
READER = """
import fcntl, os, sys, time
buffer = bytearray(1 << 20)
for line in sys.stdin:
    descriptor = os.open(line.strip(), os.O_RDONLY)
    fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, 1 << 20)
    total = os.readv(descriptor, [buffer])
    begun = time.perf_counter()
    while count := os.readv(descriptor, [buffer]):
        total += count
    print(total, time.perf_counter() - begun, flush=True)
    os.close(descriptor)
"""


class Reader:
    """A reader in a process of its own."""

    def __init__(self):
        self._process = subprocess.Popen(
            [sys.executable, "-c", READER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.communicate()

    def read(self, fifo):
        """Reads to the end; returns MB/s."""
        wait_until(fifo.exists)
        self._process.stdin.write(f"{fifo}\n")
        self._process.stdin.flush()
        total, seconds = self._process.stdout.readline().split()
        return int(total) / float(seconds) / 1e6


def write_bare(fifo, paths):
    """Nothing but read(2) and write(2) of 1 MiB."""
    buffer = memoryview(bytearray(MIB))
    target = os.open(fifo, os.O_WRONLY)
    for path in paths:
        source = os.open(path, os.O_RDONLY)
        while count := os.readv(source, [buffer]):
            piece = buffer[:count]
            while piece:
                piece = piece[os.write(target, piece) :]
        os.close(source)
    os.close(target)


@pytest.mark.parametrize(("count", "size"), [(1, 512 * MIB), (64, 8 * MIB), (10_000, 30_000)])
def test_no_slower_than_a_bare_writer(tmp_path, count, size):
    folder, pipe_dir = tmp_path / "data", tmp_path / "pipes"
    folder.mkdir()
    pipe_dir.mkdir()
    block = random.Random(1).randbytes(min(size, 8 * MIB))
    paths = [folder / f"{number:05}" for number in range(count)]
    for path in paths:
        with path.open("wb") as file:
            for _ in range(size // len(block)):
                file.write(block)
    speeds = {"feeder": [], "bare writer": []}
    with Reader() as reader, fed(pipe_dir, folder) as channel:
        for epoch in range(ROUNDS):
            speeds["feeder"].append(reader.read(channel.fifo(epoch)))
            bare = pipe_dir / f"bare-{epoch}"
            os.mkfifo(bare)
            writer = threading.Thread(target=write_bare, args=(bare, paths))
            writer.start()
            speeds["bare writer"].append(reader.read(bare))
            writer.join()
    medians = {name: statistics.median(values) for name, values in speeds.items()}
    print(f"\n{count:,} files of {size:,} bytes, MB/s, median of {ROUNDS}:", end="")
    print(*(f" {name} {median:,.0f}" for name, median in medians.items()), sep=",")
    assert medians["feeder"] >= SHARE * medians["bare writer"]
