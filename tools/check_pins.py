#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that there is a wheel of all that requirements-dev.txt pins, for every Python.

Whoever installs it does so for one Python, and does not see what the others lack.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.requirements import Requirement
from test_matrix import PYTHONS_OF

REQUIREMENTS = Path(__file__).resolve().parents[1] / "requirements-dev.txt"


def pins(text: str, python: str) -> list[str]:
    """Returns the requirements in ``text`` that hold for ``python``, without their markers."""
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    found = []
    for line in text.splitlines():
        stated = line.partition("#")[0].strip()
        if not stated:
            continue
        requirement = Requirement(stated)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            requirement.marker = None
            found.append(str(requirement))
    return found


def main() -> int:
    """Returns the exit status: 1 if something is missing, which pip names."""
    text = REQUIREMENTS.read_text(encoding="utf-8")
    status = 0
    for python in sorted({python for pythons in PYTHONS_OF.values() for python in pythons}):
        # pip evaluates markers for the Python that it runs in, and so never gets to see them.
        command = [sys.executable, "-m", "pip", "--quiet", "install", "--dry-run", "--no-deps"]
        command += ["--ignore-installed", "--only-binary=:all:", f"--python-version={python}"]
        with tempfile.TemporaryDirectory() as folder:
            ended = subprocess.run([*command, f"--target={folder}", *pins(text, python)])
        print(f"Python {python}: {'as pinned' if ended.returncode == 0 else 'FAILED'}", flush=True)
        status |= ended.returncode != 0
    return status


if __name__ == "__main__":
    sys.exit(main())
