# SPDX-License-Identifier: Apache-2.0
"""Where something was measured."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path
from typing import Any

import sagemaker_tensorflow
from sagemaker_tensorflow._benchmark import remote


def describe() -> dict[str, str]:
    """Returns what one should know to compare, for people; nothing that names the machine."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "processor": _value_of("/proc/cpuinfo", "model name"),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": _value_of("/proc/meminfo", "MemTotal"),
        "kernel": platform.release(),
        "c library": " ".join(platform.libc_ver()),
        "python": platform.python_version(),
        "tensorflow": remote.run(_tensorflow_version),
        "sagemaker_tensorflow": sagemaker_tensorflow.__version__,
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def _tensorflow_version() -> Any:
    import tensorflow as tf

    return tf.version.VERSION


def _value_of(path: str, key: str) -> str:
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return "unknown"
