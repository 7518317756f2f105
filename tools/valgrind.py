#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs a test of the op, or any program, under valgrind's memcheck, and judges what concerns us.

Of what valgrind reports, much is Python's and TensorFlow's own. An error counts if a frame of its
stack is in one of our libraries; so does memory that was allocated there and that nothing points to
any more. Unlike AddressSanitizer it sees ISA-L's assembler, and what is read before it was written.

usage: valgrind.py [--log FILE] [PROGRAM ARGUMENT...]

Without a program: one functional test, with batches, gzip and reading ahead. That takes minutes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TEST = "tests/python/functional/test_dataset_tensors.py"
SELECTION = "test_batches_that_are_kept_do_not_change and 4-4194304"
# Parts of the paths of our libraries, and of our test programs.
OURS = ("pipemode_op_tf", "/_native.", "build/release/tests/cpp", "build/dev/tests/cpp")


def main() -> int:
    """Runs; returns 1 if the program failed, or an error is ours."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--log", type=Path, help="keep valgrind's report (XML) here")
    parser.add_argument("program", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    program = arguments.program or [
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout=0"),
        *(TEST, "-k", SELECTION),
    ]
    with tempfile.TemporaryDirectory() as scratch:
        log = arguments.log or Path(scratch) / "valgrind.xml"
        status = run(program, log)
        errors = ElementTree.parse(log).getroot().findall("error")  # noqa: S314
    ours = [error for error in errors if concerns_us(error)]
    for error in ours:
        print(describe(error), file=sys.stderr)
    print(f"exit code {status}; {len(errors)} reports, {len(ours)} of them ours")
    return 1 if status != 0 or ours else 0


def run(program: list[str], log: Path) -> int:
    """Runs ``program`` under valgrind; returns its exit code."""
    # Python and TensorFlow keep much until the end: only what is lost is told.
    valgrind = ["valgrind", "--leak-check=full", "--show-leak-kinds=definite"]
    valgrind += ["--num-callers=30", "--error-limit=no", "--xml=yes", f"--xml-file={log}"]
    environment = {**os.environ, "PYTHONMALLOC": "malloc", "TF_ENABLE_ONEDNN_OPTS": "0"}
    return subprocess.run([*valgrind, *program], check=False, cwd=ROOT, env=environment).returncode


def concerns_us(error: ElementTree.Element) -> bool:
    """Returns whether a report is about our code."""
    return any(ours in (frame.text or "") for frame in error.iter("obj") for ours in OURS)


def describe(error: ElementTree.Element) -> str:
    """Returns a report as text."""
    what = error.findtext("what") or error.findtext("xwhat/text") or "?"
    frames = [
        f"    {frame.findtext('fn') or '?'} ({Path(frame.findtext('obj') or '?').name})"
        for frame in error.iter("frame")
    ]
    return "\n".join([f"{error.findtext('kind')}: {what}", *frames])


if __name__ == "__main__":
    sys.exit(main())
