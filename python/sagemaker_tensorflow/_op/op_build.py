# SPDX-License-Identifier: Apache-2.0
"""Builds the op library for the TensorFlow at hand into the user's cache."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from sagemaker_tensorflow._op import build_info, op_cache, op_library, op_manifest, op_sources
from sagemaker_tensorflow._op.tensorflow_build import TensorFlowBuild
from sagemaker_tensorflow.exceptions import OpLibraryError

Version = tuple[int, int]

# As in CMakeLists.txt and cpp/core/CMakeLists.txt.
_CMAKE = (3, 22)
_ISAL = (2, 30)

# Reads a record. In a process of its own, since a library that is no good may well crash it.
_TRY = """
from sagemaker_tensorflow import PipeModeDataset, testing
with testing.serve({"training": [[b"a"]]}, "TFRecord") as host:
    ds = PipeModeDataset(
        "training", "TFRecord", open_timeout=60, read_timeout=60,
        pipe_dir=host.pipe_dir, state_dir=host.state_dir, config_dir=host.config_dir,
    )
    assert list(ds.as_numpy_iterator()) == [b"a"]
"""


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
    target = op_cache.library(tensorflow)
    try:
        for folder in (op_cache.root(), op_cache.ops()):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        problem = op_cache.check_private(op_cache.root(), op_cache.ops())
        if problem is not None:
            raise OpLibraryError(f"{problem}; mend that, or choose a place with XDG_CACHE_HOME")
        with tempfile.TemporaryDirectory(dir=op_cache.ops(), prefix=".build-") as work:
            _build_in(Path(work), tensorflow, target, jobs)
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
    cmake = _cmake()
    if cmake is None:
        packages.append("cmake")
    elif (version := _version_of_cmake(cmake)) is not None and version < _CMAKE:
        lacking.append(
            f"'{cmake}' is older than {_text(_CMAKE)}; install a newer one with: pip install cmake"
        )
    if shutil.which("make") is None and shutil.which("ninja") is None:
        packages.append("make")
    isal = None if compiler is None else _isal(compiler)
    if isal is None:
        packages.append("libisal-dev")
    elif isal < _ISAL:
        lacking.append(
            f"ISA-L {_text(isal)} is older than {_text(_ISAL)}; ISAL_ROOT may name a newer one"
        )
    if packages:
        lacking.append(
            f"install what is missing with: apt-get install {' '.join(packages)} (or, on another "
            "system, what provides the same; ISAL_ROOT may name the folder of an ISA-L)"
        )
    return lacking


def _build_in(folder: Path, tensorflow: TensorFlowBuild, target: Path, jobs: int) -> None:
    """Builds in ``folder``, tries the result, and moves it to ``target`` in one step."""
    sources = op_sources.folder()
    build_dir = folder / "build"
    cmake = str(_cmake())
    ninja = shutil.which("ninja")
    options = [
        "-DCMAKE_BUILD_TYPE=Release",
        "-DPIPEMODE_BUILD_TESTS=OFF",
        "-DPIPEMODE_WERROR=OFF",
        f"-DTENSORFLOW_ROOT={tensorflow.root}",
        f"-DTENSORFLOW_MINOR={tensorflow.minor}",
        *(["-GNinja", f"-DCMAKE_MAKE_PROGRAM={ninja}"] if ninja else []),
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
    info = build_info.load_from(build_dir)
    op_manifest.write(
        library,
        op_manifest.OpManifest(
            tensorflow=tensorflow.version,
            tensorflow_build=tensorflow.build,
            source_revision=_source_revision(),
            source_sha256=op_manifest.sha256_of_sources(sources),
            compiler=info.compiler,
            isal=info.isal,
            sha256=op_manifest.sha256_of_file(library),
        ),
    )
    _try(library)
    _put_into_place(result, target, tensorflow, folder / "old")


def _put_into_place(result: Path, target: Path, tensorflow: TensorFlowBuild, old: Path) -> None:
    """Moves the folder ``result`` to that of ``target``, and what was there to ``old``.

    Another process may do the same at the same time. Its result is as good.
    """
    with contextlib.suppress(FileNotFoundError):
        target.parent.rename(old)
    try:
        result.rename(target.parent)
    except OSError:
        if not target.exists() or op_cache.check(target, tensorflow) is not None:
            raise


def _try(library: Path) -> None:
    environment = {**os.environ, op_library.VARIABLE: str(library)}
    command = [sys.executable, "-c", _TRY]
    result = subprocess.run(  # noqa: S603
        command, check=False, stdout=sys.stderr.fileno(), env=environment
    )
    if result.returncode != 0:
        raise OpLibraryError(
            f"the library was built, but reading a record with it failed ({result.returncode}), "
            "see above; it is not kept"
        )


def _run(*command: str) -> None:
    # stdout is for the result.
    try:
        subprocess.run(command, check=True, stdout=sys.stderr.fileno())  # noqa: S603
    except subprocess.CalledProcessError as error:
        raise OpLibraryError(
            f"the build failed ({error.returncode}): {shlex.join(command)}"
        ) from None


def _source_revision() -> str:
    info = build_info.load()
    return info.source_revision if info is not None else ""


def _cmake() -> Path | None:
    """Returns the program ``cmake``, the system's or that of the package from PyPI."""
    found = shutil.which("cmake")
    if found is not None:
        return Path(found)
    try:
        from cmake import CMAKE_BIN_DIR
    except ImportError:  # also where some folder called cmake is taken for a package
        return None
    return Path(CMAKE_BIN_DIR) / "cmake"


def _compiler() -> str | None:
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    return next((name for name in names if shutil.which(shlex.split(name)[0])), None)


def _version_of_cmake(cmake: Path) -> Version | None:
    result = subprocess.run(  # noqa: S603
        [cmake, "--version"], capture_output=True, text=True, check=False
    )
    match = re.search(r"cmake version (\d+)\.(\d+)", result.stdout)
    return None if match is None else (int(match[1]), int(match[2]))


def _isal(compiler: str) -> Version | None:
    """Returns the version of the compiler's ISA-L; of one that the user names, what we need."""
    if os.environ.get("ISAL_ROOT") or "ISAL_" in os.environ.get("CMAKE_ARGS", ""):
        return _ISAL  # CMake will see
    result = subprocess.run(  # noqa: S603
        [*shlex.split(compiler), "-E", "-P", "-x", "c++", "-"],
        input="#include <isa-l.h>\n#include <isa-l/igzip_lib.h>\n"
        "isal ISAL_MAJOR_VERSION ISAL_MINOR_VERSION",
        capture_output=True,
        text=True,
        check=False,
    )
    match = re.search(r"^isal (\d+) (\d+)$", result.stdout, re.MULTILINE)
    return None if result.returncode or match is None else (int(match[1]), int(match[2]))


def _text(version: Version) -> str:
    return ".".join(map(str, version))
