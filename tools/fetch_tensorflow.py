#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Downloads what building against a TensorFlow takes, without installing it.

From the CPU wheel of each version it keeps the headers, the framework library and the metadata, a
few hundred MB, in ``sagemaker_tensorflow/tensorflow`` of ``$XDG_CACHE_HOME`` or ``~/.cache``.
Prints the folders, each of which stands for a site-packages.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# Built for all versions in question. What is kept is the same for every Python.
PYTHON = "3.11"
MANYLINUX = ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014")
# TensorFlow has no tensorflow-cpu for others.
DISTRIBUTION = "tensorflow-cpu" if platform.machine() == "x86_64" else "tensorflow"
KEPT = re.compile(
    r"tensorflow/(include/.*|libtensorflow_framework\.so\.2|__init__\.py)"
    r"|[^/]+\.dist-info/(METADATA|RECORD)"
)


def main() -> int:
    """Fetches the versions named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("version", nargs="+", help="a TensorFlow, e.g. 2.21.0")
    for version in parser.parse_args().version:
        print(fetch(version))
    return 0


def cache_root() -> Path:
    """Returns the folder of all that is downloaded; makes it."""
    base = os.environ.get("XDG_CACHE_HOME")
    folder = (Path(base) if base else Path.home() / ".cache") / "sagemaker_tensorflow"
    # `build-op` has its cache there, too, and uses none that a group may write to.
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def fetch(version: str) -> Path:
    """Returns the folder for a version; downloads it if it is not there yet."""
    folder = cache_root() / "tensorflow" / version
    if folder.is_dir():
        return folder
    print(f"Downloading the headers of TensorFlow {version}", file=sys.stderr)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{version}-") as work:
        platforms = [f"--platform={tag}_{platform.machine()}" for tag in MANYLINUX]
        subprocess.run(
            [
                *(
                    sys.executable,
                    "-m",
                    "pip",
                    "download",
                    "--quiet",
                    "--no-deps",
                    "--no-cache-dir",
                ),
                *("--only-binary=:all:", f"--python-version={PYTHON}", *platforms),
                *(f"--dest={work}", f"{DISTRIBUTION}=={version}"),
            ],
            check=True,
        )
        [wheel] = Path(work).glob("*.whl")
        unpacked = Path(work) / "unpacked"
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if KEPT.fullmatch(name)]
            archive.extractall(unpacked, names)
        wheel.unlink()
        try:
            unpacked.rename(folder)
        except OSError:
            # Another process was faster, and may be compiling from what it has put there.
            if not folder.is_dir():
                raise
    return folder


if __name__ == "__main__":
    sys.exit(main())
