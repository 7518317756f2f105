#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that shared libraries are hardened as cmake/PipemodeHardening.cmake has it.

usage: check_hardening.py LIBRARY...

Asks binutils' readelf. Prints what is missing, and then returns 1.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path


def main() -> int:
    """Checks the libraries on the command line."""
    wrong = [f"{library}: {what}" for library in sys.argv[1:] for what in missing(Path(library))]
    for line in wrong:
        print(f"error: {line}", file=sys.stderr)
    return 1 if wrong else 0


def missing(library: Path) -> list[str]:
    """Returns what ``library`` lacks, in words; nothing if it is hardened."""
    segments = readelf("--program-headers", library)
    dynamic = readelf("--dynamic", library)
    symbols = readelf("--dyn-syms", library)
    stack = re.search(r"GNU_STACK.*", segments)
    checks = {
        "no relro: its tables stay writable": "GNU_RELRO" in segments,
        "no immediate binding (-z now)": re.search(r"\(FLAGS_1\).*\bNOW\b", dynamic) is not None,
        "an executable stack": stack is not None and "RWE" not in stack[0],
        "text relocations": "(TEXTREL)" not in dynamic,
        "no stack protector": "__stack_chk_fail" in symbols,
        "nothing fortified (_FORTIFY_SOURCE)": re.search(r"__(?!stack)\w+_chk\b", symbols)
        is not None,
        "a search path of its own": re.search(r"\((RPATH|RUNPATH)\)(?!.*\$ORIGIN)", dynamic)
        is None,
    }
    return [what for what, good in checks.items() if not good]


def readelf(option: str, library: Path) -> str:
    """Returns what readelf says."""
    command = ["readelf", "--wide", option, str(library)]
    environment = {"LC_ALL": "C", "PATH": "/usr/bin:/bin:/usr/local/bin"}
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment
    ).stdout


if __name__ == "__main__":
    sys.exit(main())
