# SPDX-License-Identifier: Apache-2.0
"""Where things are in the sources and in the package."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

SOURCE_DIR = Path(__file__).resolve().parents[2]
PACKAGE = "sagemaker_tensorflow"
# The folder of the modules that setuptools packages.
SOURCE_PACKAGE = SOURCE_DIR / "python" / PACKAGE
# What CMake records of a build: beside the modules, and in each build folder.
BUILD_INFO = "_build_info.json"
# The folder of the op libraries in the package.
OP_FOLDER = "_oplib"


def load_module(name: str) -> ModuleType:
    """Loads a module of the package by itself: the package is not built yet.

    Args:
        name: Its name in the package, with dots. It may import nothing of the package.
    """
    path = SOURCE_PACKAGE.joinpath(*name.split(".")).with_suffix(".py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"'{path}' is not a module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
