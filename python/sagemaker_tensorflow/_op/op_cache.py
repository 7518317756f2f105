# SPDX-License-Identifier: Apache-2.0
"""The user's cache of op libraries, which ``build-op`` fills.

Each lies in a folder of its own, named by a hash of all that it depends on: with another TensorFlow
or another version of this package, the library is not found any more.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from pathlib import Path

from sagemaker_tensorflow._op import op_manifest, op_sources
from sagemaker_tensorflow._op.tensorflow_build import TensorFlowBuild
from sagemaker_tensorflow._version import __version__
from sagemaker_tensorflow.exceptions import OpLibraryError


def root() -> Path:
    """Returns ``sagemaker_tensorflow`` in ``$XDG_CACHE_HOME`` or else in ``~/.cache``.

    Raises:
        OpLibraryError: If there is no home folder either.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(base) if base else Path.home() / ".cache") / "sagemaker_tensorflow"
    except RuntimeError:  # as in a container whose user has no name
        raise OpLibraryError("no home folder is known; set HOME or XDG_CACHE_HOME") from None


def ops() -> Path:
    """Returns the folder of all libraries; raises as ``root`` does."""
    return root() / "ops"


def library(tensorflow: TensorFlowBuild) -> Path:
    """Returns where the library for ``tensorflow`` is, or would be.

    Raises:
        OpLibraryError: If there is no home folder, or this installation has no sources to build
            it from.
        OSError: If the sources cannot be read.
    """
    sources = op_manifest.sha256_of_sources(op_sources.folder())
    key = json.dumps([__version__, sources, tensorflow.version, tensorflow.build])
    digest = hashlib.sha256(key.encode()).hexdigest()[:16]
    folder = ops() / f"tf{tensorflow.version}-{digest}"
    return folder / f"pipemode_op_tf{tensorflow.minor}.so"


def check(path: Path, tensorflow: TensorFlowBuild) -> str | None:
    """Tells what speaks against loading the library ``path``; ``None`` if nothing does."""
    try:
        problem = check_private(root(), ops(), path.parent, path, op_manifest.path_of(path))
        if problem is not None:
            return problem
        manifest = op_manifest.read(path)
        if manifest.sha256 != op_manifest.sha256_of_file(path):
            return "its hash is not that of its manifest"
    except (OSError, ValueError) as error:
        return str(error)
    built_for = (manifest.tensorflow, manifest.tensorflow_build)
    if built_for != (tensorflow.version, tensorflow.build):
        return f"it was built for TensorFlow {manifest.tensorflow} ({manifest.tensorflow_build})"
    return None


def check_private(*entries: Path) -> str | None:
    """Tells which of ``entries`` others could have put there or changed; ``None`` if none.

    Loading a library is running it: all on the way to it has to be ours.

    Raises:
        OSError: If one is missing, or cannot be looked at.
    """
    for entry in entries:
        status = entry.lstat()
        if stat.S_ISLNK(status.st_mode):
            return f"'{entry}' is a symbolic link"
        if status.st_uid not in (0, os.geteuid()) or status.st_mode & 0o022:
            return f"others than you may write to '{entry}'"
    return None
