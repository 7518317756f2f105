#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that every source file begins with the licence identifier."""

import subprocess
import sys
from pathlib import Path

IDENTIFIER = "SPDX-License-Identifier: Apache-2.0"
SUFFIXES = frozenset(
    {".cc", ".cmake", ".h", ".map", ".py", ".pyi", ".sh", ".toml", ".yaml", ".yml"}
)
NAMES = frozenset(
    {
        ".clang-format",
        ".clang-tidy",
        ".gitignore",
        "CMakeLists.txt",
        "MANIFEST.in",
        "Makefile",
        "requirements-dev.txt",
        "run",
    }
)


def has_identifier(path: Path) -> bool:
    """Tells whether the first line, or the second one after a shebang, holds the identifier."""
    with path.open(encoding="utf-8") as file:
        line = file.readline()
        if line.startswith("#!"):
            line = file.readline()
    return IDENTIFIER in line


def main() -> int:
    """Prints the files without an identifier; returns the exit code."""
    # Also files not yet added, since these are the ones somebody just wrote.
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    paths = [Path(name) for name in listing.split("\0") if name]
    sources = [p for p in paths if (p.suffix in SUFFIXES or p.name in NAMES) and p.is_file()]
    bad = [path for path in sources if not has_identifier(path)]
    for path in bad:
        print(f"{path}: line 1 lacks '{IDENTIFIER}'", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
