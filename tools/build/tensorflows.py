# SPDX-License-Identifier: Apache-2.0
"""For which TensorFlows to build: the one of this environment, or those that a variable names.

``SAGEMAKER_TENSORFLOW_BUILD_FOR`` is a list of folders, separated by colons, that each hold a
TensorFlow package with its metadata.
"""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import os
import re
import site
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple


class TensorFlow(NamedTuple):
    """A TensorFlow: the folder of the package, and its version."""

    root: Path
    version: str

    @property
    def minor(self) -> str:
        """The ABI key, ``major.minor``."""
        return ".".join(self.version.split(".")[:2])

    @property
    def is_release(self) -> bool:
        """Whether all builds of this version are alike."""
        return re.fullmatch(r"\d+\.\d+\.\d+", self.version) is not None


def find_all() -> list[TensorFlow]:
    """Finds the TensorFlows to build for.

    Raises:
        SystemExit: If a folder that is named holds none, or the version of one cannot be told.
    """
    named = os.environ.get("SAGEMAKER_TENSORFLOW_BUILD_FOR")
    if named is None:
        found = find([*sys.path, *site_packages()])
        return [] if found is None else [found]
    tensorflows = []
    for folder in dict.fromkeys(filter(None, named.split(":"))):
        tensorflow = find([folder])
        if tensorflow is None:
            raise SystemExit(f"SAGEMAKER_TENSORFLOW_BUILD_FOR: no TensorFlow in {folder}")
        tensorflows.append(tensorflow)
    return tensorflows


def site_packages() -> list[str]:
    """Returns the environment's, which an isolated build hides from ``sys.path``.

    The TensorFlow that counts is the one beside which the package goes.
    """
    places = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    marker = Path(sys.prefix, "pyvenv.cfg")
    if not marker.is_file():
        return [*places, site.getusersitepackages()]
    setting = r"(?im)^include-system-site-packages\s*=\s*true\s*$"
    if re.search(setting, marker.read_text(encoding="utf-8")):
        places.append(site.getusersitepackages())
        places += site.getsitepackages([sys.base_prefix, sys.base_exec_prefix])
    return places


def find(places: list[str]) -> TensorFlow | None:
    """Finds TensorFlow without importing it, which would cost seconds and much memory.

    Raises:
        SystemExit: If its version cannot be told.
    """
    spec = importlib.machinery.PathFinder.find_spec("tensorflow", places)
    if spec is None or spec.origin is None:
        return None
    root = Path(spec.origin).parent
    # tensorflow, tensorflow-cpu and others provide the same package: ask whose file it is.
    versions = {
        distribution.version
        for distribution in importlib.metadata.distributions(path=[str(root.parent)])
        # An interrupted installation leaves folders without it.
        if distribution.read_text("METADATA")
        and re.match(r"(tensorflow|tf)([-_.]|$)", distribution.metadata["Name"])
        and any(str(file) == "tensorflow/__init__.py" for file in distribution.files or ())
    }
    if len(versions) != 1:
        raise SystemExit(
            f"cannot tell the version of {root}: it belongs to {len(versions)} TensorFlow versions "
            f"({', '.join(sorted(versions)) or 'no metadata'}); reinstall TensorFlow"
        )
    return TensorFlow(root, versions.pop())
