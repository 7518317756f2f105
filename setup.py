# SPDX-License-Identifier: Apache-2.0
"""A thin bridge from setuptools to CMake; pyproject.toml holds the metadata.

CMake builds the pybind11 module and the op library: for the TensorFlow of this environment, if it
has one, or for those that SAGEMAKER_TENSORFLOW_BUILD_FOR names, which are folders that each hold a
TensorFlow package with its metadata, separated by colons. Other environment variables:

SAGEMAKER_TENSORFLOW_MKLDNN     ON or OFF: the CMake option of this name; beaten by
                                build_ext --mkldnn and by pip's --config-settings.
SAGEMAKER_TENSORFLOW_BUILD_DIR  Where the build folders go; default: build.
CMAKE_ARGS                      Passed on.
"""

import importlib.machinery
import importlib.metadata
import json
import os
import re
import runpy
import shlex
import shutil
import site
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import pybind11
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

SOURCE_DIR = Path(__file__).resolve().parent
PACKAGE = "sagemaker_tensorflow"
NATIVE = f"{PACKAGE}._native"
OP = f"{PACKAGE}._oplib.pipemode_op_tf"
BUILD_INFO = "_build_info.json"
# In an sdist, which has no .git to ask.
REVISION_FILE = "SOURCE_REVISION"
# What `build-op` compiles.
OP_SOURCES = ("CMakeLists.txt", "cmake", "cpp/core", "cpp/tf")

op_manifest = runpy.run_path(str(SOURCE_DIR / "python" / PACKAGE / "_op" / "op_manifest.py"))


class TensorFlow(NamedTuple):
    """A TensorFlow: the folder of the package, and its version."""

    root: Path
    version: str

    @property
    def minor(self) -> str:
        """The ABI key, ``major.minor``."""
        return ".".join(self.version.split(".")[:2])


def find_tensorflows() -> list[TensorFlow]:
    """Finds the TensorFlows to build for."""
    named = os.environ.get("SAGEMAKER_TENSORFLOW_BUILD_FOR")
    if named is None:
        found = find_tensorflow([*sys.path, *site_packages()])
        return [] if found is None else [found]
    tensorflows = {folder: find_tensorflow([folder]) for folder in named.split(":") if folder}
    for folder, tensorflow in tensorflows.items():
        if tensorflow is None:
            raise SystemExit(f"SAGEMAKER_TENSORFLOW_BUILD_FOR: no TensorFlow in {folder}")
    return [tensorflow for tensorflow in tensorflows.values() if tensorflow is not None]


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


def find_tensorflow(places: list[str]) -> TensorFlow | None:
    """Finds TensorFlow without importing it, which would cost seconds and much memory."""
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


def source_revision() -> str:
    """Returns the commit, with ``+dirty`` if files differ from it; empty if unknown."""
    file = SOURCE_DIR / REVISION_FILE
    if file.is_file():
        return file.read_text(encoding="utf-8").strip()
    # Not the commit of some repository around an unpacked sdist.
    if not (SOURCE_DIR / ".git").exists():
        return ""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+dirty"]
    try:
        return subprocess.run(
            command, cwd=SOURCE_DIR, check=True, capture_output=True, text=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


class BuildWithCMake(build_ext):
    """Builds all extensions with CMake; the build folders are kept for the next run."""

    user_options: ClassVar = [
        *build_ext.user_options,
        ("mkldnn=", None, "ON, or OFF to turn TensorFlow's oneDNN off by default"),
    ]

    def initialize_options(self) -> None:
        """Sets the defaults."""
        super().initialize_options()
        self.mkldnn: str | None = None

    def finalize_options(self) -> None:
        """Decides what there is to build."""
        if self.mkldnn is None:
            self.mkldnn = os.environ.get("SAGEMAKER_TENSORFLOW_MKLDNN", "")
        self.mkldnn = self.mkldnn.upper()
        if self.mkldnn not in ("", "ON", "OFF"):
            raise SystemExit(f"mkldnn is ON or OFF, not {self.mkldnn!r}")
        self.tensorflows = [found for found in find_tensorflows() if self.is_release(found)]
        names = [f"{OP}{tensorflow.minor.replace('.', '_')}" for tensorflow in self.tensorflows]
        self.distribution.ext_modules = [Extension(name, sources=[]) for name in (NATIVE, *names)]
        super().finalize_options()
        if not self.tensorflows:
            self.warn("no release of TensorFlow in this environment: building without the op")

    def is_release(self, tensorflow: TensorFlow) -> bool:
        """Returns whether its builds are all alike; warns if not, and names what helps then."""
        if re.fullmatch(r"\d+\.\d+\.\d+", tensorflow.version):
            return True
        self.warn(
            f"TensorFlow {tensorflow.version} is no release: for this build of it, run "
            "'python -m sagemaker_tensorflow build-op' after the installation"
        )
        return False

    def get_ext_filename(self, fullname: str) -> str:
        """Names an op library after TensorFlow's version, its ABI key, and not after Python's."""
        folder, _, name = fullname.rpartition(".")
        prefix = OP.rpartition(".")[2]
        if name.startswith(prefix):
            minor = name.removeprefix(prefix).replace("_", ".")
            return str(Path(*folder.split("."), f"{prefix}{minor}.so"))
        return super().get_ext_filename(fullname)

    def build_extensions(self) -> None:
        """Configures, builds, and installs into the folder that setuptools packages."""
        install_dir = Path(self.build_lib).resolve()
        # Libraries for other TensorFlows, left by earlier runs, must not be packaged.
        shutil.rmtree(install_dir / PACKAGE / "_oplib", ignore_errors=True)
        python = sys.implementation.cache_tag
        native = [
            f"-DPython_EXECUTABLE={sys.executable}",
            f"-Dpybind11_DIR={pybind11.get_cmake_dir()}",
            "-DPIPEMODE_BUILD_PYTHON=ON",
        ]
        if len(self.tensorflows) == 1:  # one compilation of the core serves both
            [tensorflow] = self.tensorflows
            self.build_op(f"{python}-tf{tensorflow.minor}", tensorflow, install_dir, native)
            return
        # The ops need no Python, and the next one need not build them again.
        for tensorflow in self.tensorflows:
            self.build_op(f"tf{tensorflow.minor}", tensorflow, install_dir, [])
        self.build(python, install_dir, native)

    def build_op(
        self, key: str, tensorflow: TensorFlow, install_dir: Path, options: list[str]
    ) -> None:
        """Builds the op library for ``tensorflow``, and writes its manifest."""
        options = [
            *options,
            f"-DTENSORFLOW_ROOT={tensorflow.root}",
            f"-DTENSORFLOW_MINOR={tensorflow.minor}",
        ]
        info = self.build(key, install_dir, options)
        library = install_dir / PACKAGE / "_oplib" / f"pipemode_op_tf{tensorflow.minor}.so"
        manifest = op_manifest["OpManifest"](
            tensorflow=tensorflow.version,
            tensorflow_build=None,
            source_revision=info["source_revision"],
            source_sha256=op_manifest["sha256_of_sources"](SOURCE_DIR),
            compiler=info["compiler"],
            isal=info["isal"],
            sha256=op_manifest["sha256_of_file"](library),
        )
        op_manifest["write"](library, manifest)

    def build(self, key: str, install_dir: Path, options: list[str]) -> dict[str, Any]:
        """Builds and installs in a build folder of its own; returns the record of the build."""
        options = [
            f"-DCMAKE_BUILD_TYPE={'Debug' if self.debug else 'Release'}",
            "-DPIPEMODE_BUILD_TESTS=OFF",
            # A user's newer compiler may know warnings that ours does not.
            "-DPIPEMODE_WERROR=OFF",
            f"-DSAGEMAKER_TENSORFLOW_SOURCE_REVISION={source_revision()}",
            f"-DSAGEMAKER_TENSORFLOW_MKLDNN={self.mkldnn or 'ON'}",
            *options,
        ]
        if ninja := shutil.which("ninja"):
            options += ["-GNinja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
        # Last, so that it wins; but what was said more plainly wins over it.
        options += shlex.split(os.environ.get("CMAKE_ARGS", ""))
        if self.mkldnn:
            options.append(f"-DSAGEMAKER_TENSORFLOW_MKLDNN={self.mkldnn}")

        base = Path(os.environ.get("SAGEMAKER_TENSORFLOW_BUILD_DIR") or SOURCE_DIR / "build")
        build_dir = base.resolve() / f"setuptools-{key}"
        jobs = [f"-j{self.parallel}"] if self.parallel else []
        # In place, symbols stay for debuggers and profilers.
        strip = [] if self.inplace else ["--strip"]
        prefix = ["--component", "python", "--prefix", str(install_dir)]
        self.cmake("-S", str(SOURCE_DIR), "-B", str(build_dir), *options)
        self.cmake("--build", str(build_dir), *jobs)
        self.cmake("--install", str(build_dir), *strip, *prefix)
        info: dict[str, Any] = json.loads((build_dir / BUILD_INFO).read_text(encoding="utf-8"))
        return info

    def copy_extensions_to_source(self) -> None:
        """Copies for an in-place build; git keeps no empty folder for the op library."""
        source_package = SOURCE_DIR / "python" / PACKAGE
        built_package = Path(self.build_lib).resolve() / PACKAGE
        (source_package / "_oplib").mkdir(exist_ok=True)
        # Never over a library that a running program has mapped: that would crash it.
        for name in (self.get_ext_filename(ext.name) for ext in self.extensions):
            (SOURCE_DIR / "python" / name).unlink(missing_ok=True)
        super().copy_extensions_to_source()
        shutil.copy(built_package / BUILD_INFO, source_package)
        for path in (built_package / "_oplib").glob("*.json"):
            shutil.copy(path, source_package / "_oplib")

    def cmake(self, *arguments: str) -> None:
        """Runs CMake and stops the build with its exit code if it fails."""
        command = ["cmake", *arguments]
        try:
            subprocess.run(command, check=True)
        except FileNotFoundError:
            raise SystemExit("cmake not found; install it with: pip install cmake ninja") from None
        except subprocess.CalledProcessError as error:
            raise SystemExit(f"failed ({error.returncode}): {shlex.join(command)}") from None


class BuildWithSources(build_py):
    """Puts the sources of the op library into the package, for ``build-op``."""

    def run(self) -> None:
        """Copies modules, then these sources; an editable package has them in the checkout."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / PACKAGE / "_src"
        shutil.rmtree(target, ignore_errors=True)
        for name in OP_SOURCES:
            source = SOURCE_DIR / name
            if source.is_dir():
                shutil.copytree(source, target / name)
            else:
                target.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target / name)


class SdistWithRevision(sdist):
    """Records the commit, which an unpacked sdist cannot ask git for."""

    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        """Makes the tree as ever, and adds the file."""
        super().make_release_tree(base_dir, files)
        Path(base_dir, REVISION_FILE).write_text(f"{source_revision()}\n", encoding="utf-8")


setup(
    ext_modules=[Extension(NATIVE, sources=[])],
    cmdclass={
        "build_ext": BuildWithCMake,
        "build_py": BuildWithSources,
        "sdist": SdistWithRevision,
    },
)
