# SPDX-License-Identifier: Apache-2.0
"""Looks at all that decides whether channels can be read here; ``pipemode doctor`` prints it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import stat
import sys
from pathlib import Path
from typing import Any

import sagemaker_tensorflow
from sagemaker_tensorflow import mkldnn
from sagemaker_tensorflow._base.tensorflow_module import tensorflow
from sagemaker_tensorflow._job import job_paths
from sagemaker_tensorflow._job.input_config import InputConfig
from sagemaker_tensorflow._op import build_info, op_cache, op_library, op_manifest, tensorflow_build
from sagemaker_tensorflow.exceptions import OpLibraryError, PipeModeDatasetException

Section = dict[str, Any]
Report = dict[str, Section]

_DISTRIBUTIONS = ("tensorflow", "tensorflow-cpu", "keras", "tf_keras", "numpy")
_ONEDNN_VARIABLES = (
    "TF_ENABLE_ONEDNN_OPTS",
    "TF_ONEDNN_USE_SYSTEM_ALLOCATOR",
    "TF_DISABLE_MKL",
    "TF_DISABLE_POOL_ALLOCATOR",
)
_PATH_VARIABLES = ("SAGEMAKER_BASE_DIR", "SM_INPUT_DIR", "SM_INPUT_CONFIG_DIR")
_PIPE_LIMITS = ("pipe-max-size", "pipe-user-pages-soft", "pipe-user-pages-hard")


def examine() -> Report:
    """Returns sections of findings, all fit for JSON. Imports TensorFlow.

    What cannot be found out is ``None`` or a text that begins with ``error:``; of the section
    ``op library``, ``usable`` says whether ``PipeModeDataset`` will work.
    """
    return {
        "package": _package(),
        "system": _system(),
        "tensorflow": _tensorflow(),
        "op library": _op(),
        "isa-l": _isal(),
        "onednn": _onednn(),
        "pipes": _pipes(),
        "job": _job(),
    }


def _package() -> Section:
    info = build_info.load()
    built = info._asdict() if info is not None else {"build": "none: run 'make build'"}
    return {
        "version": sagemaker_tensorflow.__version__,
        "path": str(Path(sagemaker_tensorflow.__file__).parent),
        **built,
    }


def _system() -> Section:
    libc, libc_version = platform.libc_ver()
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "system": platform.platform(),
        "distribution": _distribution(),
        "libc": f"{libc} {libc_version}",
        "cpus": len(os.sched_getaffinity(0)),
        **{name: _version_of(name) for name in _DISTRIBUTIONS if _version_of(name) is not None},
    }


def _distribution() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None


def _version_of(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _tensorflow() -> Section:
    try:
        build = tensorflow_build.current()
    except OpLibraryError as error:
        return {"version": None, "import": f"error: {error}"}
    tf = tensorflow()
    return {
        "version": build.version,
        "commit": build.commit,
        "release": build.is_release,
        "built for": "GPU (CUDA)" if tf.test.is_built_with_cuda() else "CPU",
        "gpus seen": len(tf.config.list_physical_devices("GPU")),
        "compile flags": " ".join(build.flags),
        "path": str(build.root),
    }


def _op() -> Section:
    section: Section = {
        "carried for": op_library.carried_minors(),
        "cache": _cache(),
        op_library.VARIABLE: os.environ.get(op_library.VARIABLE),
    }
    try:
        library = op_library.loaded()
    except OpLibraryError as error:
        return {"usable": False, "problem": str(error), **section}
    section = {"usable": True, "path": str(library.path), "why": library.reason, **section}
    try:
        manifest = op_manifest.read(library.path)
        intact = manifest.sha256 == op_manifest.sha256_of_file(library.path)
    except (OSError, ValueError) as error:
        return {**section, "manifest": _as_error(error)}
    return {**section, "hash": "as in the manifest" if intact else "differs", **manifest._asdict()}


def _cache() -> str:
    try:
        return str(op_cache.root())
    except OpLibraryError as error:
        return _as_error(error)


def _isal() -> Section:
    """Which ISA-L is in the process, by now mapped by ``_native`` or the op."""
    try:
        from sagemaker_tensorflow import _native  # noqa: F401

        lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    except (ImportError, OSError) as error:
        return {"_native": _as_error(error)}
    paths = {line.split(maxsplit=5)[5] for line in lines if "/libisal" in line}
    return {"mapped": sorted(paths)}


def _onednn() -> Section:
    set_here = mkldnn.set_at_import()
    return {
        **mkldnn.status()._asdict(),
        **{name: os.environ.get(name) for name in _ONEDNN_VARIABLES},
        "set by this package": [f"{name}={value}" for name, value in set_here.items()],
    }


def _pipes() -> Section:
    section: Section = {}
    for name in _PIPE_LIMITS:
        path = Path("/proc/sys/fs") / name
        try:
            section[name] = int(path.read_text(encoding="ascii"))
        except OSError as error:
            section[name] = _as_error(error)
    return section


def _job() -> Section:
    pipe_dir, config_dir, state_dir = (
        job_paths.pipe_dir(),
        job_paths.config_dir(),
        job_paths.state_dir(),
    )
    section: Section = {
        **{name: os.environ.get(name) for name in _PATH_VARIABLES},
        "pipe_dir": _describe(pipe_dir),
        "config_dir": _describe(config_dir),
        "state_dir": _describe(state_dir),
    }
    try:
        config = InputConfig.load(config_dir)
    except PipeModeDatasetException as error:
        return {**section, "channels": f"error: {error}"}
    channels = {
        name: {
            "mode": settings.said_mode,
            "fifos": _fifos(Path(pipe_dir), name),
            "next epoch": _next_epoch(Path(state_dir), name),
        }
        for name, settings in sorted(config.channels.items())
    }
    return {**section, "channels": channels}


def _describe(folder: str) -> str:
    try:
        return folder if Path(folder).is_dir() else f"{folder} (no such folder)"
    except OSError as error:  # up to Python 3.13: may not be looked at
        return f"{folder} ({_as_error(error)})"


def _fifos(pipe_dir: Path, channel: str) -> list[str]:
    # Not a glob: another channel may be called `train_aug`.
    pattern = re.compile(re.escape(channel) + r"_(\d+)")
    epochs = []
    try:
        for entry in os.scandir(pipe_dir):
            match = pattern.fullmatch(entry.name)
            if match and _is_fifo(entry):
                epochs.append((int(match[1]), entry.name))
    except FileNotFoundError:
        return []
    except OSError as error:
        return [_as_error(error)]
    return [name for _, name in sorted(epochs)]


def _is_fifo(entry: os.DirEntry[str]) -> bool:
    try:
        return stat.S_ISFIFO(entry.stat().st_mode)
    except FileNotFoundError:  # FIFOs come and go
        return False


def _next_epoch(state_dir: Path, channel: str) -> str | None:
    try:
        return (state_dir / f".{channel}-pipe_mode-state").read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        return _as_error(error)


def _as_error(error: Exception) -> str:
    """Returns type and text: the text alone may be no more than a path."""
    return f"error: {type(error).__name__}: {error}"
