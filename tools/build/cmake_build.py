# SPDX-License-Identifier: Apache-2.0
"""Runs CMake: configures, builds and installs, each time in a build folder that is kept."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

from build import layout, revision


@dataclasses.dataclass(frozen=True)
class CMakeBuild:
    """What all build folders of one build have in common."""

    install_dir: Path
    """The folder that setuptools packages."""
    mkldnn: str = ""
    """``ON`` or ``OFF``; empty: ``ON``, unless ``CMAKE_ARGS`` says otherwise."""
    debug: bool = False
    strip: bool = False
    """Whether libraries are installed without the symbols that debuggers and profilers want."""
    jobs: int | None = None

    def run(self, key: str, options: list[str]) -> dict[str, Any]:
        """Builds and installs in the build folder of ``key``.

        Args:
            key: What makes this folder another than those of the other builds.
            options: CMake's, of this folder.

        Returns:
            The record of the build.

        Raises:
            SystemExit: If CMake is not there, or fails.
        """
        base = os.environ.get("SAGEMAKER_TENSORFLOW_BUILD_DIR") or layout.SOURCE_DIR / "build"
        folder = Path(base).resolve() / f"setuptools-{key}"
        jobs = [f"-j{self.jobs}"] if self.jobs else []
        strip = ["--strip"] if self.strip else []
        prefix = ["--component", "python", "--prefix", str(self.install_dir)]
        run_cmake("-S", str(layout.SOURCE_DIR), "-B", str(folder), *self.options(options))
        run_cmake("--build", str(folder), *jobs)
        run_cmake("--install", str(folder), *strip, *prefix)
        record = (folder / layout.BUILD_INFO).read_text(encoding="utf-8")
        info: dict[str, Any] = json.loads(record)
        return info

    def options(self, options: list[str]) -> list[str]:
        """Returns all options to configure with; of two for one thing, the last one counts."""
        options = [
            f"-DCMAKE_BUILD_TYPE={'Debug' if self.debug else 'Release'}",
            "-DPIPEMODE_BUILD_TESTS=OFF",
            # A user's newer compiler may know warnings that ours does not.
            "-DPIPEMODE_WERROR=OFF",
            f"-DSAGEMAKER_TENSORFLOW_SOURCE_REVISION={revision.read(layout.SOURCE_DIR)}",
            f"-DSAGEMAKER_TENSORFLOW_MKLDNN={self.mkldnn or 'ON'}",
            *options,
        ]
        if ninja := shutil.which("ninja"):
            options += ["-GNinja", f"-DCMAKE_MAKE_PROGRAM={ninja}"]
        options += shlex.split(os.environ.get("CMAKE_ARGS", ""))
        # Said more plainly than in CMAKE_ARGS.
        if self.mkldnn:
            options.append(f"-DSAGEMAKER_TENSORFLOW_MKLDNN={self.mkldnn}")
        return options


def run_cmake(*arguments: str) -> None:
    """Runs CMake.

    Raises:
        SystemExit: If it is not there, or fails.
    """
    command = ["cmake", *arguments]
    try:
        subprocess.run(command, check=True)
    except FileNotFoundError:
        raise SystemExit("cmake not found; install it with: pip install cmake ninja") from None
    except subprocess.CalledProcessError as error:
        raise SystemExit(f"failed ({error.returncode}): {shlex.join(command)}") from None
