# SPDX-License-Identifier: Apache-2.0
"""Keeps two workers of a cluster from reading one channel of one folder.

Each would get every other epoch and wait for the other one, which waits for it, until
``open_timeout``. In a SageMaker job each worker has a machine of its own, and this cannot happen.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

from sagemaker_tensorflow.exceptions import PipeModeDatasetException

_TRAINERS = ("chief", "master", "worker")

# File descriptors, by device and inode: a folder has many spellings. A lock is held as long as the
# process lives.
_held: dict[tuple[int, int], int] = {}


def hold(state_dir: str, channel: str) -> None:
    """Takes ``channel`` for this worker, if ``TF_CONFIG`` says that it is one of several.

    Raises:
        PipeModeDatasetException: If another worker of this machine has it.
    """
    task = _task()
    if task is None:
        return
    path = Path(state_dir) / f".{channel}-pipe_mode-worker"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError:  # not even a state will be written there: let that be the error
        return
    status = os.fstat(fd)
    identity = status.st_dev, status.st_ino
    if identity in _held:
        os.close(fd)
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 100, 0).decode(errors="replace")
        os.close(fd)
        raise PipeModeDatasetException(
            f"{task} (process {os.getpid()}) cannot read channel '{channel}' with the state folder "
            f"'{state_dir}': {holder} does. Give each worker of one machine a SAGEMAKER_BASE_DIR "
            "of its own, with FIFOs of its own, or a channel of its own"
        ) from None
    except OSError:  # a file system without locks
        os.close(fd)
        return
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{task} (process {os.getpid()})".encode(), 0)
    _held[identity] = fd


def _task() -> str | None:
    """Returns the name of this process in its cluster, unless it trains alone."""
    try:
        config = json.loads(os.environ.get("TF_CONFIG") or "{}")
        cluster, task = config["cluster"], config["task"]
        trainers = sum(len(cluster.get(kind, ())) for kind in _TRAINERS)
        kind, index = str(task["type"]), int(task["index"])
    except (ValueError, KeyError, TypeError, AttributeError):  # TensorFlow will tell
        return None
    return f"{kind} {index}" if trainers > 1 and kind in _TRAINERS else None
