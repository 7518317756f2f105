# SPDX-License-Identifier: Apache-2.0
"""The folders of a training job, with nothing in them but what is measured."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Workplace:
    """Folders that exist as long as ``make`` says.

    Attributes:
        pipe_dir: Folder of the FIFOs.
        state_dir: Folder of the epoch numbers.
        config_dir: Folder of ``inputdataconfig.json``.
        data_dir: Folder for the bytes themselves.
    """

    pipe_dir: str
    state_dir: str
    config_dir: str
    data_dir: str

    def declare(self, channels: Mapping[str, str]) -> None:
        """Makes ``channels`` those of the job, each in the input mode that it is mapped to."""
        config = {channel: {"TrainingInputMode": mode} for channel, mode in channels.items()}
        Path(self.config_dir, "inputdataconfig.json").write_text(json.dumps(config))

    def fifo(self, channel: str, epoch: int) -> Path:
        """Waits until there is the FIFO of ``epoch``, and returns its path."""
        path = Path(self.pipe_dir, f"{channel}_{epoch}")
        while not path.exists():
            time.sleep(0.0001)
        return path


@contextlib.contextmanager
def make() -> Iterator[Workplace]:
    """Makes a workplace in the folder for temporary files, and removes it."""
    with tempfile.TemporaryDirectory(prefix="pipemode-bench-") as base:
        folders = [Path(base, name) for name in ("data", "state", "config", "streams")]
        for folder in folders:
            folder.mkdir()
        yield Workplace(*map(str, folders))
