# SPDX-License-Identifier: Apache-2.0
"""The manifest beside each op library: what it was built from, and its hash.

A build loads this file by itself, so it imports nothing of the package.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple


class OpManifest(NamedTuple):
    """What an op library was built from."""

    tensorflow: str
    """Version of TensorFlow, e.g. ``2.21.0``."""
    tensorflow_build: str | None
    """TensorFlow's commit and compile flags, where they were looked at."""
    source_revision: str
    """Commit of this project; empty if unknown."""
    source_sha256: str
    """Hash of the C++ sources and CMake files."""
    compiler: str
    isal: str
    sha256: str
    """Hash of the library, in hexadecimal digits."""


def path_of(library: Path) -> Path:
    """Returns the path of a library's manifest."""
    return library.with_suffix(".json")


def read(library: Path) -> OpManifest:
    """Reads the manifest of ``library``.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no manifest.
    """
    fields = json.loads(path_of(library).read_text(encoding="utf-8"))
    try:
        return OpManifest(**fields)
    except TypeError as error:
        raise ValueError(str(error)) from None


def write(library: Path, manifest: OpManifest) -> None:
    """Writes the manifest of ``library``."""
    text = json.dumps(manifest._asdict(), indent=2)
    path_of(library).write_text(text + "\n", encoding="utf-8")


def sha256_of_file(path: Path) -> str:
    """Returns the hash of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def sha256_of_sources(root: Path) -> str:
    """Returns a hash of everything below ``root`` that an op library is built from."""
    digest = hashlib.sha256()
    files = [root / "CMakeLists.txt"]
    for folder in ("cmake", "cpp/core", "cpp/tf"):
        files += [path for path in (root / folder).rglob("*") if path.is_file()]
    for path in sorted(files):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(root).as_posix()} {len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()
