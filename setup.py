# SPDX-License-Identifier: Apache-2.0
"""A thin bridge from setuptools to CMake; pyproject.toml holds the metadata.

CMake builds the pybind11 module and, if the environment has a TensorFlow, the op library for it.
The environment variable CMAKE_ARGS is passed on.
"""

import importlib.machinery
import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

import pybind11
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

SOURCE_DIR = Path(__file__).resolve().parent
PACKAGE = "sagemaker_tensorflow"
NATIVE = f"{PACKAGE}._native"
OP = f"{PACKAGE}._oplib.pipemode_op"


class TensorFlow(NamedTuple):
    """An installed TensorFlow: the folder of the package, and its ``major.minor``."""

    root: Path
    minor: str


def find_tensorflow() -> TensorFlow | None:
    """Finds TensorFlow without importing it, which would cost seconds and much memory.

    An isolated build hides the environment's site-packages from ``sys.path``, so these are searched
    as well: the TensorFlow that counts is the one next to which the package gets installed.
    """
    places = [*sys.path, sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    spec = importlib.machinery.PathFinder.find_spec("tensorflow", places)
    if spec is None or spec.origin is None:
        return None
    root = Path(spec.origin).parent
    # tensorflow, tensorflow-cpu and others provide the same package: ask whose file it is.
    versions = {
        distribution.version
        for distribution in importlib.metadata.distributions(path=[str(root.parent)])
        if re.match(r"(tensorflow|tf)([-_.]|$)", distribution.metadata["Name"])
        and any(str(file) == "tensorflow/__init__.py" for file in distribution.files or ())
    }
    minors = {".".join(version.split(".")[:2]) for version in versions}
    if len(minors) != 1:
        raise SystemExit(
            f"cannot tell the version of {root}: it belongs to {len(minors)} TensorFlow versions "
            f"({', '.join(sorted(versions)) or 'no metadata'}); reinstall TensorFlow"
        )
    return TensorFlow(root, minors.pop())


class BuildWithCMake(build_ext):
    """Builds all extensions in one CMake run; the build folder is kept for the next run."""

    def finalize_options(self) -> None:
        """Decides what there is to build."""
        self.tensorflow = find_tensorflow()
        super().finalize_options()
        if self.tensorflow is None:
            self.extensions = [ext for ext in self.extensions if ext.name != OP]
            self.warn("no TensorFlow in this environment: building without the op library")

    def get_ext_filename(self, fullname: str) -> str:
        """Names the op library after TensorFlow's version, its ABI key, and not after Python's."""
        folder, _, name = fullname.rpartition(".")
        if name == OP.rpartition(".")[2] and self.tensorflow is not None:
            return str(Path(*folder.split("."), f"{name}_tf{self.tensorflow.minor}.so"))
        return super().get_ext_filename(fullname)

    def build_extensions(self) -> None:
        """Configures, builds, and installs into the folder that setuptools packages."""
        key = sys.implementation.cache_tag
        options = [
            f"-DCMAKE_BUILD_TYPE={'Debug' if self.debug else 'Release'}",
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            "-DPIPEMODE_BUILD_PYTHON=ON",
            "-DPIPEMODE_BUILD_TESTS=OFF",
            # A user's newer compiler may know warnings that ours does not.
            "-DPIPEMODE_WERROR=OFF",
        ]
        if self.tensorflow is not None:
            key += f"-tf{self.tensorflow.minor}"
            options += [
                f"-DTENSORFLOW_ROOT={self.tensorflow.root}",
                f"-DTENSORFLOW_MINOR={self.tensorflow.minor}",
            ]
        if ninja := shutil.which("ninja"):
            options += ["-GNinja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
        options += shlex.split(os.environ.get("CMAKE_ARGS", ""))

        build_dir = SOURCE_DIR / "build" / f"setuptools-{key}"
        install_dir = Path(self.build_lib).resolve()
        # Libraries for other TensorFlows, left by earlier runs, must not be packaged.
        shutil.rmtree(install_dir / PACKAGE / "_oplib", ignore_errors=True)
        jobs = [f"-j{self.parallel}"] if self.parallel else []
        self.cmake("-S", str(SOURCE_DIR), "-B", str(build_dir), *options)
        self.cmake("--build", str(build_dir), *jobs)
        self.cmake(
            "--install", str(build_dir), "--component", "python", "--prefix", str(install_dir)
        )

    def copy_extensions_to_source(self) -> None:
        """Copies for an in-place build; git keeps no empty folder for the op library."""
        (SOURCE_DIR / "python" / PACKAGE / "_oplib").mkdir(exist_ok=True)
        # Never over a library that a running program has mapped: that would crash it.
        for name in (self.get_ext_filename(ext.name) for ext in self.extensions):
            (SOURCE_DIR / "python" / name).unlink(missing_ok=True)
        super().copy_extensions_to_source()

    def cmake(self, *arguments: str) -> None:
        """Runs CMake and stops the build with its exit code if it fails."""
        command = ["cmake", *arguments]
        try:
            subprocess.run(command, check=True)
        except FileNotFoundError:
            raise SystemExit("cmake not found; install it with: pip install cmake ninja") from None
        except subprocess.CalledProcessError as error:
            raise SystemExit(f"failed ({error.returncode}): {shlex.join(command)}") from None


setup(
    ext_modules=[Extension(NATIVE, sources=[]), Extension(OP, sources=[])],
    cmdclass={"build_ext": BuildWithCMake},
)
