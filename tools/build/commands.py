# SPDX-License-Identifier: Apache-2.0
"""setuptools' commands as this package has them."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import ClassVar

import pybind11
from setuptools import Extension
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

from build import layout, op_libraries, revision, tensorflows
from build.cmake_build import CMakeBuild

NATIVE = Extension(f"{layout.PACKAGE}._native", sources=[])


class BuildWithCMake(build_ext):
    """Builds all extensions with CMake."""

    user_options: ClassVar = [
        *build_ext.user_options,
        ("mkldnn=", None, "ON, or OFF to turn TensorFlow's oneDNN off by default"),
    ]

    def initialize_options(self) -> None:
        """Sets the defaults."""
        super().initialize_options()  # type: ignore[no-untyped-call]
        self.mkldnn: str | None = None

    def finalize_options(self) -> None:
        """Decides what there is to build."""
        if self.mkldnn is None:
            self.mkldnn = os.environ.get("SAGEMAKER_TENSORFLOW_MKLDNN", "")
        self.mkldnn = self.mkldnn.upper()
        if self.mkldnn not in ("", "ON", "OFF"):
            raise SystemExit(f"mkldnn is ON or OFF, not {self.mkldnn!r}")
        found = tensorflows.find_all()
        self.tensorflows = [tensorflow for tensorflow in found if tensorflow.is_release]
        prefix = f"{layout.PACKAGE}.{layout.OP_FOLDER}."
        names = [op_libraries.module_name(tensorflow) for tensorflow in self.tensorflows]
        ops = [Extension(prefix + name, sources=[]) for name in names]
        self.distribution.ext_modules = [NATIVE, *ops]
        super().finalize_options()
        for tensorflow in found:
            if not tensorflow.is_release:
                self.warn(
                    f"TensorFlow {tensorflow.version} is not a release: for this build of it, run "
                    "'python -m sagemaker_tensorflow build-op' after the installation"
                )
        if not self.tensorflows:
            self.warn("no release of TensorFlow in this environment: building without the op")

    def get_ext_filename(self, fullname: str) -> str:
        """Names an op library after TensorFlow's version, its ABI key, and not after Python's."""
        folder, _, name = fullname.rpartition(".")
        for tensorflow in self.tensorflows:
            if name == op_libraries.module_name(tensorflow):
                return str(Path(*folder.split("."), op_libraries.file_name(tensorflow)))
        return str(super().get_ext_filename(fullname))

    def build_extensions(self) -> None:
        """Builds and installs into the folder that setuptools packages."""
        install_dir = Path(self.build_lib).resolve()
        # Libraries for other TensorFlows, left by earlier runs, must not be packaged.
        shutil.rmtree(install_dir / layout.PACKAGE / layout.OP_FOLDER, ignore_errors=True)
        cmake = CMakeBuild(
            install_dir,
            mkldnn=self.mkldnn or "",
            debug=bool(self.debug),
            strip=not self.inplace,
            jobs=self.parallel,
        )
        python = sys.implementation.cache_tag
        native = [
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            "-DPIPEMODE_BUILD_PYTHON=ON",
        ]
        if len(self.tensorflows) == 1:  # one compilation of the core serves both
            [tensorflow] = self.tensorflows
            op_libraries.build(cmake, f"{python}-tf{tensorflow.minor}", tensorflow, native)
            return
        # The ops need no Python, and the next one need not build them again.
        for tensorflow in self.tensorflows:
            op_libraries.build(cmake, f"tf{tensorflow.minor}", tensorflow, [])
        cmake.run(python, native)

    def copy_extensions_to_source(self) -> None:
        """Copies for an in-place build; git keeps no empty folder for the op library."""
        built = Path(self.build_lib).resolve() / layout.PACKAGE
        ops = layout.SOURCE_PACKAGE / layout.OP_FOLDER
        ops.mkdir(exist_ok=True)
        # Never over a library that a running program has mapped: that would crash it.
        for name in (self.get_ext_filename(ext.name) for ext in self.extensions):
            (layout.SOURCE_PACKAGE.parent / name).unlink(missing_ok=True)
        super().copy_extensions_to_source()
        shutil.copy(built / layout.BUILD_INFO, layout.SOURCE_PACKAGE)
        for path in (built / layout.OP_FOLDER).glob("*.json"):
            shutil.copy(path, ops)


class BuildWithSources(build_py):
    """Puts the sources of the op library into the package, for ``build-op``."""

    def run(self) -> None:
        """Copies modules, then these sources; an editable package has them in the checkout."""
        super().run()
        if not self.editable_mode:
            op_libraries.copy_sources(Path(self.build_lib) / layout.PACKAGE / "_src")


class SdistWithRevision(sdist):
    """Records the commit, which an unpacked sdist cannot ask git for."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Makes the tree as ever, and adds the file."""
        super().make_release_tree(base_dir, files)
        revision.write(Path(base_dir), revision.read(layout.SOURCE_DIR))
