# SPDX-License-Identifier: Apache-2.0
"""The op libraries: how they are called, built and recorded, and their sources in the package."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from build import layout
from build.cmake_build import CMakeBuild
from build.tensorflows import TensorFlow

# What `build-op` compiles.
SOURCES = ("CMakeLists.txt", "cmake", "cpp/core", "cpp/tf")

manifests = layout.load_module("_op.op_manifest")


def file_name(tensorflow: TensorFlow) -> str:
    """Returns the name of a library's file."""
    return f"pipemode_op_tf{tensorflow.minor}.so"


def module_name(tensorflow: TensorFlow) -> str:
    """Returns what setuptools, which knows modules only, has as a library's name."""
    return file_name(tensorflow).removesuffix(".so").replace(".", "_")


def build(cmake: CMakeBuild, key: str, tensorflow: TensorFlow, options: list[str]) -> None:
    """Builds the library for ``tensorflow``, and writes its manifest.

    Args:
        cmake: How to build.
        key: As in ``CMakeBuild.run``.
        tensorflow: What to build for.
        options: Further options of CMake.

    Raises:
        SystemExit: If the build fails.
    """
    info = cmake.run(
        key,
        [
            *options,
            f"-DTENSORFLOW_ROOT={tensorflow.root}",
            f"-DTENSORFLOW_MINOR={tensorflow.minor}",
        ],
    )
    folder = cmake.install_dir / layout.PACKAGE / layout.OP_FOLDER
    write_manifest(folder / file_name(tensorflow), tensorflow, info)


def write_manifest(library: Path, tensorflow: TensorFlow, info: dict[str, Any]) -> None:
    """Writes the manifest of ``library`` from the record of its build."""
    manifest = manifests.OpManifest(
        tensorflow=tensorflow.version,
        tensorflow_build=None,
        source_revision=info["source_revision"],
        source_sha256=manifests.sha256_of_sources(layout.SOURCE_DIR),
        compiler=info["compiler"],
        isal=info["isal"],
        sha256=manifests.sha256_of_file(library),
    )
    manifests.write(library, manifest)


def copy_sources(target: Path) -> None:
    """Makes ``target`` a folder of the sources that a library is built from, and nothing else."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in SOURCES:
        source = layout.SOURCE_DIR / name
        if source.is_dir():
            shutil.copytree(source, target / name)
        else:
            shutil.copy2(source, target / name)
