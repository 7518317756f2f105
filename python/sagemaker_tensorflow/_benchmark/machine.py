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

# What the C library, ISA-L and our own loops choose their code by, with /proc/cpuinfo's names.
_VECTOR_EXTENSIONS = {
    "avx512bw": "AVX-512",
    "vpclmulqdq": "VPCLMULQDQ",
    "avx2": "AVX2",
    "sse4_2": "SSE4.2",
    "sve": "SVE",
    "asimd": "NEON",
}


def describe() -> dict[str, str]:
    """Returns what one should know to compare, for people; nothing that names the machine."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "processor": _value_of("/proc/cpuinfo", "model name"),
        "vector extensions": _vector_extensions(),
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


def _vector_extensions() -> str:
    flags = {
        flag
        for key in ("flags", "Features")  # x86, Arm
        for flag in _value_of("/proc/cpuinfo", key).split()
    }
    return ", ".join(name for flag, name in _VECTOR_EXTENSIONS.items() if flag in flags) or "none"


def _value_of(path: str, key: str) -> str:
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return "unknown"
