# SPDX-License-Identifier: Apache-2.0
"""Builds the op library for the TensorFlow at hand into the user's cache."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from sagemaker_tensorflow import _build_info, _op_cache, _op_manifest, _op_sources
from sagemaker_tensorflow._tensorflow_build import TensorFlowBuild
from sagemaker_tensorflow.exceptions import OpLibraryError

_TRY = "import sys, tensorflow as tf; tf.load_op_library(sys.argv[1])"


def build(tensorflow: TensorFlowBuild, jobs: int) -> Path:
    """Compiles the op library for ``tensorflow`` and puts it into the cache.

    The output of CMake and the compiler goes to stderr.

    Args:
        tensorflow: The TensorFlow to build for; its package holds headers and library.
        jobs: How many compilers may run at once, about 0.75 GB of memory each.

    Returns:
        The library's path.

    Raises:
        OpLibraryError: If something that the build needs is missing, or it fails.
    """
    if "-D_GLIBCXX_USE_CXX11_ABI=0" in tensorflow.flags:
        raise OpLibraryError(
            f"TensorFlow {tensorflow.version} was compiled for the C++ ABI of before 2011 "
            "(_GLIBCXX_USE_CXX11_ABI=0), which is not supported; install one from PyPI"
        )
    lacking = missing(tensorflow)
    if lacking:
        raise OpLibraryError("cannot build the op library: " + "; ".join(lacking))
    target = _op_cache.library(tensorflow)
    try:
        target.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent.parent, prefix=".build-") as folder:
            _build_in(Path(folder), tensorflow, target, jobs)
    except OSError as error:
        raise OpLibraryError(
            f"cannot write to the cache: {error}; choose its place with XDG_CACHE_HOME"
        ) from error
    return target


def missing(tensorflow: TensorFlowBuild) -> list[str]:
    """Returns, for all that the build needs and does not find, what to do."""
    lacking = []
    if not (tensorflow.root / "include" / "tensorflow").is_dir():
        lacking.append(f"'{tensorflow.root}' has no headers; reinstall TensorFlow from a wheel")
    packages = []
    compiler = _compiler()
    if compiler is None:
        packages.append("g++")
    if _cmake() is None:
        packages.append("cmake")
    if shutil.which("make") is None and shutil.which("ninja") is None:
        packages.append("make")
    if compiler is None or not _finds_isal(compiler):
        packages.append("libisal-dev")
    if packages:
        lacking.append(
            f"install what is missing with: apt-get install {' '.join(packages)} (or, on another "
            "system, what provides the same; ISAL_ROOT may name the folder of an ISA-L)"
        )
    return lacking


def _build_in(folder: Path, tensorflow: TensorFlowBuild, target: Path, jobs: int) -> None:
    """Builds in ``folder``, tries the result, and moves it to ``target`` in one step."""
    sources = _op_sources.folder()
    build_dir = folder / "build"
    cmake = str(_cmake())
    options = [
        "-DCMAKE_BUILD_TYPE=Release",
        "-DPIPEMODE_BUILD_TESTS=OFF",
        "-DPIPEMODE_WERROR=OFF",
        f"-DTENSORFLOW_ROOT={tensorflow.root}",
        f"-DTENSORFLOW_MINOR={tensorflow.minor}",
        *shlex.split(os.environ.get("CMAKE_ARGS", "")),
    ]
    _run(cmake, "-S", str(sources), "-B", str(build_dir), *options)
    _run(cmake, "--build", str(build_dir), "--target", "pipemode_op", f"-j{jobs}")

    result = folder / "result"
    result.mkdir(mode=0o755)
    library = result / target.name
    [built] = build_dir.rglob(target.name)
    shutil.copyfile(built, library)
    library.chmod(0o644)
    info = _build_info.load_from(build_dir)
    _op_manifest.write(
        library,
        _op_manifest.OpManifest(
            tensorflow=tensorflow.version,
            tensorflow_build=tensorflow.build,
            source_revision=_source_revision(),
            source_sha256=_op_manifest.sha256_of_sources(sources),
            compiler=info.compiler,
            isal=info.isal,
            sha256=_op_manifest.sha256_of_file(library),
        ),
    )
    # In a process of its own, since a library that is no good may well crash it.
    _run(sys.executable, "-c", _TRY, str(library))
    if target.parent.exists():
        target.parent.rename(folder / "old")
    result.rename(target.parent)


def _run(*command: str) -> None:
    # stdout is for the result.
    try:
        subprocess.run(command, check=True, stdout=sys.stderr.fileno())  # noqa: S603
    except subprocess.CalledProcessError as error:
        raise OpLibraryError(
            f"the build failed ({error.returncode}): {shlex.join(command)}"
        ) from None


def _source_revision() -> str:
    info = _build_info.load()
    return info.source_revision if info is not None else ""


def _cmake() -> Path | None:
    """Returns the program ``cmake``, the system's or that of the package from PyPI."""
    found = shutil.which("cmake")
    if found is not None:
        return Path(found)
    if importlib.util.find_spec("cmake") is not None:
        import cmake

        return Path(cmake.CMAKE_BIN_DIR) / "cmake"
    return None


def _compiler() -> str | None:
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    return next((name for name in names if shutil.which(shlex.split(name)[0])), None)


def _finds_isal(compiler: str) -> bool:
    if os.environ.get("ISAL_ROOT") or "ISAL_" in os.environ.get("CMAKE_ARGS", ""):
        return True
    command = [*shlex.split(compiler), "-E", "-x", "c++", "-"]
    result = subprocess.run(  # noqa: S603
        command, input=b"#include <isa-l/igzip_lib.h>", capture_output=True, check=False
    )
    return result.returncode == 0
