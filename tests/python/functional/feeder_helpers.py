# SPDX-License-Identifier: Apache-2.0
"""What the tests of the channel feeder share."""

import contextlib
import re
import threading
from pathlib import Path

from pipe_helpers import Background, wait_until
from sagemaker_tensorflow._feed.channel import Channel
from sagemaker_tensorflow._feed.channel_feeder import ChannelFeeder
from sagemaker_tensorflow._native import has_reader
from sagemaker_tensorflow.records import RecordReader


class Fed:
    """A channel that is being fed, and its reader."""

    def __init__(self, feeder, pipe_dir, name):
        self.feeder, self.pipe_dir, self.name = feeder, Path(pipe_dir), name

    def fifo(self, epoch):
        return self.pipe_dir / f"{self.name}_{epoch}"

    def open(self, epoch, timeout=30.0):
        """Opens the FIFO of an epoch once it is there."""
        path = self.fifo(epoch)
        wait_until(path.exists, timeout)
        return Background(path.open, "rb", 0).result(timeout)

    def read(self, epoch, timeout=30.0):
        """All bytes of an epoch, as any program gets them."""
        with self.open(epoch, timeout) as fifo:
            return Background(fifo.readall).result(timeout)

    def read_records(self, epoch, record_format="RecordIO"):
        wait_until(self.fifo(epoch).exists)
        with RecordReader(self.fifo(epoch), record_format, read_timeout=30) as reader:
            return list(reader)

    def wait_until_failed(self):
        wait_until(lambda: self.feeder.error is not None)
        assert self.feeder.snapshot().state == "failed"
        return str(self.feeder.error)


@contextlib.contextmanager
def fed(pipe_dir, uri, *, name="c", options=None, **fields):
    """Feeds one channel; at the end, nothing of it may be left."""
    channel = Channel(name, str(uri), **fields)
    feeder = ChannelFeeder(channel, str(pipe_dir), **(options or {}))
    try:
        feeder.prepare()
        feeder.start()
        yield Fed(feeder, pipe_dir, name)
    finally:
        feeder.stop()
    threads = (f"feed-{name}", f"fetch-{name}-")
    wait_until(lambda: not any(each.name.startswith(threads) for each in threading.enumerate()))
    assert not [
        path for path in Path(pipe_dir).iterdir() if re.fullmatch(rf"{name}_\d+", path.name)
    ]


def write_files(folder, contents):
    """Makes files from a mapping of relative paths to bytes."""
    for name, content in contents.items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def open_descriptors():
    """How many file descriptors this process has."""
    # From its first FIFO on it keeps one.
    has_reader("no FIFO")
    return len(list(Path("/proc/self/fd").iterdir()))
