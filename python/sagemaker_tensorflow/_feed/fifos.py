# SPDX-License-Identifier: Apache-2.0
"""The FIFOs of channels as files: who reads them, and how they go."""

from __future__ import annotations

import errno
from collections.abc import Collection
from pathlib import Path

from sagemaker_tensorflow._feed.stop_signal import StopSignal
from sagemaker_tensorflow._native import has_reader

# A reader's close() can only be found out by trying: often at first, where readers that go from
# epoch to epoch come, later so that it costs nothing.
_FIRST_LOOK_SECONDS = 0.001
_LAST_LOOK_SECONDS = 0.016


def wait_until_closed(path: str, stop: StopSignal) -> None:
    """Waits until no reader has the FIFO at ``path`` open.

    Raises:
        Stopped: When ``stop`` is set.
    """
    delay = _FIRST_LOOK_SECONDS
    while has_reader(path):
        stop.sleep(delay)
        delay = min(2 * delay, _LAST_LOOK_SECONDS)


def remove_fifos(pipe_dir: str, channels: Collection[str]) -> None:
    """Removes all FIFOs of ``channels``, and nothing else.

    Raises:
        FileExistsError: If something else has the name of one; all FIFOs are gone by then.
    """
    others = []
    for path in Path(pipe_dir).iterdir():
        name, _, epoch = path.name.rpartition("_")
        if name not in channels or not epoch.isdecimal():
            continue
        if path.is_fifo():
            path.unlink(missing_ok=True)
        else:
            others.append(path)
    for path in others:
        raise FileExistsError(errno.EEXIST, "in the way of a FIFO", str(path))
