# SPDX-License-Identifier: Apache-2.0
"""Writers of FIFOs, each for a process of its own."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from sagemaker_tensorflow._benchmark.stopwatch import Cost, cost
from sagemaker_tensorflow._native import ChannelWriter, encode


class BlockWriter:
    """Writes a block over and over: nothing but ``write(2)`` goes on in its process.

    Args:
        pipe_dir: Folder of the FIFOs.
        block_path: The block.
    """

    def __init__(self, pipe_dir: str, block_path: str) -> None:
        self._pipe_dir = pipe_dir
        self._block = Path(block_path).read_bytes()

    def write(self, channels: list[str], epoch: int, blocks: int) -> Cost:
        """Writes one epoch of several channels at once, ``blocks`` blocks each."""
        return cost(lambda: self._write_all(channels, epoch, blocks))

    def _write_all(self, channels: list[str], epoch: int, blocks: int) -> None:
        others = [
            threading.Thread(target=self._write, args=(channel, epoch, blocks))
            for channel in channels[1:]
        ]
        for thread in others:
            thread.start()
        self._write(channels[0], epoch, blocks)
        for thread in others:
            thread.join()

    def _write(self, channel: str, epoch: int, blocks: int) -> None:
        writer = ChannelWriter(self._pipe_dir, channel, first_epoch=epoch)
        writer.begin_epoch()
        for _ in range(blocks):
            if not writer.write(self._block):
                break
        writer.end_epoch()


class RecordWriter:
    """Writes epochs of a single record of 1 KB.

    It waits for the reader by a blocking open(), so that no polling of its own is measured.

    Args:
        pipe_dir: Folder of the FIFOs.
        channel: The channel.
    """

    def __init__(self, pipe_dir: str, channel: str) -> None:
        self._prefix = f"{pipe_dir}/{channel}_"
        self._frame = encode(bytes(1000), "TFRecord")
        self._epoch = -1
        self._fd = -1

    def begin(self) -> float:
        """Makes the next FIFO and writes the record as soon as somebody reads.

        Returns:
            ``time.monotonic()`` just before the FIFO is made.
        """
        self._epoch += 1
        begun = time.monotonic()
        os.mkfifo(self.path())
        self._fd = os.open(self.path(), os.O_WRONLY)
        os.write(self._fd, self._frame)
        return begun

    def path(self) -> Path:
        """Returns the path of the FIFO of this epoch."""
        return Path(f"{self._prefix}{self._epoch}")

    def end(self) -> None:
        """Ends the epoch."""
        os.close(self._fd)
