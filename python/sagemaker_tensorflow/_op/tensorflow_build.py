# SPDX-License-Identifier: Apache-2.0
"""Which build of TensorFlow is in this process."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from sagemaker_tensorflow._base.tensorflow_module import tensorflow


class TensorFlowBuild(NamedTuple):
    """All that decides which op library fits."""

    version: str
    commit: str
    """As ``git describe`` has it, e.g. ``v2.21.0-rc1-5-gc04017a54e2``."""
    flags: tuple[str, ...]
    """What custom ops are to be compiled with, include folders left out."""
    root: Path
    """The package: headers are in ``include``."""

    @property
    def minor(self) -> str:
        """The ABI key of releases, ``major.minor``."""
        return ".".join(self.version.split(".")[:2])

    @property
    def is_release(self) -> bool:
        """Whether all builds of this version are alike."""
        return is_release(self.version)

    @property
    def build(self) -> str:
        """Commit and flags in one line."""
        return " ".join([self.commit, *self.flags])


def is_release(version: str) -> bool:
    """Returns whether all builds of a version are alike.

    Those of candidates, nightlies and vendors' versions are not: ``2.22.0-rc0``,
    ``2.22.0-dev20260101``, ``2.17.0+nv25.2``.
    """
    return re.fullmatch(r"\d+\.\d+\.\d+", version) is not None


def current() -> TensorFlowBuild:
    """Looks at TensorFlow, and imports it if need be.

    Raises:
        OpLibraryError: If it cannot be imported.
    """
    tf = tensorflow()
    flags = tf.sysconfig.get_compile_flags()
    return TensorFlowBuild(
        version=tf.version.VERSION,
        commit=tf.version.GIT_VERSION,
        flags=tuple(flag for flag in flags if not flag.startswith("-I")),
        root=Path(tf.sysconfig.get_lib()),
    )
