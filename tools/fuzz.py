#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Runs the fuzz targets: replays their corpus, then looks for new inputs, and shows the figures.

An input that fails stays in ``build/fuzz/findings/<target>``; it belongs, under a name that says
what it is, into ``cpp/fuzz/corpus/<target>``. With ``--keep`` what is found interesting stays in a
folder, and the next run goes on from there.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import dataclasses
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CORPUS = ROOT / "cpp" / "fuzz" / "corpus"
BUILD = ROOT / "build" / "fuzz"
COVERAGE_BUILD = ROOT / "build" / "fuzz-coverage"
TARGETS = tuple(sorted(path.stem for path in (ROOT / "cpp" / "fuzz").glob("*_fuzzer.cc")))
# Longer inputs only take time: what long records need, buffers of a few bytes do as well.
MAX_INPUT_BYTES = 4096
MAX_STREAM_BYTES = 20_000
WITH_REAL_BUFFERS = ("stream_fuzzer", "files_fuzzer")  # the whole chain
# What a single input may take, in seconds and MB; the machine may have other things to do.
INPUT_TIMEOUT = 120
MAX_MEMORY_MB = 2048


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run of one target came to."""

    target: str
    ok: bool
    log: str
    seeds: int
    executions: int
    seconds: int
    edges: int
    corpus: int
    peak_mb: int


def main() -> int:
    """Runs; returns 1 if anything was found."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("targets", nargs="*", default=TARGETS, metavar="TARGET", help="which")
    parser.add_argument("--seconds", type=int, default=60, help="for each target; 0: replay only")
    parser.add_argument("--jobs", type=int, default=1, help="how many at a time")
    parser.add_argument("--keep", type=Path, help="folder where new inputs stay")
    parser.add_argument(
        "--coverage",
        action="store_true",
        help="show which lines the inputs reach, and fuzz nothing",
    )
    arguments = parser.parse_args()
    unknown = set(arguments.targets) - set(TARGETS)
    if unknown:
        parser.error(
            f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}"
        )
    if arguments.coverage:
        show_coverage(arguments.targets, arguments.keep)
        return 0
    with (
        tempfile.TemporaryDirectory() as scratch,
        concurrent.futures.ThreadPoolExecutor(arguments.jobs) as pool,
    ):
        keep = arguments.keep or Path(scratch)
        results = list(
            pool.map(lambda target: fuzz(target, arguments.seconds, keep), arguments.targets)
        )
    show(results)
    return 0 if all(result.ok for result in results) else 1


def fuzz(target: str, seconds: int, keep: Path) -> Result:
    """Replays the corpus of ``target`` and fuzzes it for ``seconds``."""
    seeds = CORPUS / target
    grown = keep / target
    findings = BUILD / "findings" / target
    for folder in (grown, findings):
        folder.mkdir(parents=True, exist_ok=True)
    max_bytes = MAX_STREAM_BYTES if target in WITH_REAL_BUFFERS else MAX_INPUT_BYTES
    command = [
        *launcher(),
        BUILD / "cpp" / "fuzz" / target,
        f"-max_total_time={seconds}" if seconds > 0 else "-runs=0",
        f"-max_len={max_bytes}",
        f"-timeout={INPUT_TIMEOUT}",
        f"-rss_limit_mb={MAX_MEMORY_MB}",
        "-print_final_stats=1",
        f"-artifact_prefix={findings}/",
        grown,
        seeds,
    ]
    # With a large quarantine each buffer means fresh pages, which takes most of the time.
    environment = {
        "ASAN_OPTIONS": "quarantine_size_mb=8",
        "UBSAN_OPTIONS": "print_stacktrace=1",
        **os.environ,
    }
    run = subprocess.run(
        [str(part) for part in command],
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
        env=environment,
    )
    log = run.stderr
    return Result(
        target=target,
        ok=run.returncode == 0,
        log=log,
        seeds=len(list(seeds.iterdir())),
        executions=last_number(r"stat::number_of_executed_units:\s+(\d+)", log),
        seconds=last_number(r"Done \d+ runs in (\d+) second", log),
        edges=last_number(r" cov: (\d+)", log),
        corpus=last_number(r" corp: (\d+)/", log),
        peak_mb=last_number(r"stat::peak_rss_mb:\s+(\d+)", log),
    )


def launcher() -> list[str]:
    """Returns what switches address randomisation off, which older sanitizers cannot stand."""
    command = ["setarch", platform.machine(), "-R"]
    try:
        works = subprocess.run([*command, "true"], check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        works = False
    return command if works else []


def last_number(pattern: str, text: str) -> int:
    """Returns the last number in ``text`` that fits, 0 if none does."""
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def show(results: list[Result]) -> None:
    """Prints a table, and the log of whatever failed."""
    print(f"{'target':20} {'seeds':>6} {'executions':>12} {'seconds':>8} {'edges':>6} "
          f"{'corpus':>7} {'peak MB':>8}")  # fmt: skip
    for result in results:
        print(f"{result.target:20} {result.seeds:6} {result.executions:12,} {result.seconds:8} "
              f"{result.edges:6} {result.corpus:7} {result.peak_mb:8}")  # fmt: skip
    for result in results:
        if result.ok:
            continue
        print(f"\n{result.target} FAILED:\n{result.log[-6000:]}", file=sys.stderr)
        print(
            f"The input is in {BUILD / 'findings' / result.target}; run it again with\n"
            f"  {BUILD / 'cpp' / 'fuzz' / result.target} <file>\n"
            f"and once that is mended, put it into {CORPUS / result.target}.",
            file=sys.stderr,
        )


def show_coverage(targets: list[str], keep: Path | None) -> None:
    """Builds for coverage, replays everything, and prints which lines of the core were reached."""
    for step in (["--preset", "fuzz-coverage"], ["--build", "--preset", "fuzz-coverage"]):
        subprocess.run(["cmake", *step], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    profiles = COVERAGE_BUILD / "profiles"
    shutil.rmtree(profiles, ignore_errors=True)
    programs = [COVERAGE_BUILD / "cpp" / "fuzz" / target for target in targets]
    for target, program in zip(targets, programs, strict=True):
        folders = [CORPUS / target, *([keep / target] if keep else [])]
        subprocess.run(
            [program, "-runs=0", *(folder for folder in folders if folder.is_dir())],
            check=True,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "LLVM_PROFILE_FILE": str(profiles / f"{target}.profraw")},
        )
    merged = profiles / "all.profdata"
    subprocess.run(
        [llvm_tool("llvm-profdata"), "merge", "-o", merged, *profiles.glob("*.profraw")], check=True
    )
    objects = [argument for program in programs[1:] for argument in ("-object", program)]
    report = [llvm_tool("llvm-cov"), "report", f"-instr-profile={merged}", programs[0], *objects]
    sources = ("base", "io", "format", "writer", "channel", "example")
    subprocess.run([*report, *(ROOT / "cpp" / "core" / layer for layer in sources)], check=True)


def llvm_tool(name: str) -> str:
    """Returns the path of the program ``name`` that fits the compiler."""
    command = ["clang++", f"-print-prog-name={name}"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
