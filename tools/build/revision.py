# SPDX-License-Identifier: Apache-2.0
"""The commit of the sources, for the record in each build."""

from __future__ import annotations

import subprocess
from pathlib import Path

# In an sdist, which has no .git to ask.
FILE = "SOURCE_REVISION"


def read(sources: Path) -> str:
    """Returns the commit of ``sources``, with ``+dirty`` if files differ; empty if unknown."""
    file = sources / FILE
    if file.is_file():
        return file.read_text(encoding="utf-8").strip()
    # Not the commit of some repository around an unpacked sdist.
    if not (sources / ".git").exists():
        return ""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+dirty"]
    try:
        return subprocess.run(
            command, cwd=sources, check=True, capture_output=True, text=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def write(sources: Path, revision: str) -> None:
    """Has ``read`` return this of ``sources``."""
    (sources / FILE).write_text(f"{revision}\n", encoding="utf-8")
