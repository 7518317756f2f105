#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Builds the wheel for this Python, with an op library for each TensorFlow.

It is built from the sdist, so what is not in the sdist is not in the wheel, with the compiler that
``make_toolchain.sh`` unpacks, so that it runs on older systems. Where that cannot be had, the
system's compiler serves, and the wheel's tag says which systems are new enough for the result.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

import check_hardening
import fetch_tensorflow

from build.op_libraries import manifests

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = "sagemaker_tensorflow"
WORK = ROOT / "build" / "wheel"

# The newest patch release of each minor: the others differ in version.h only.
TENSORFLOWS = ("2.14.1", "2.15.1", "2.16.2", "2.17.1", "2.18.1", "2.19.1", "2.20.0", "2.21.0")
# Programs of this Python's environment.
SCRIPTS = Path(sys.executable).parent
MAX_BYTES = 5_000_000
# Of manylinux, with our own compiler: what glibc of Debian 11 stands for is 2.31, but that is not
# what our code needs.
NEWEST_GLIBC = (2, 28)


@dataclasses.dataclass(frozen=True)
class Toolchain:
    """A compiler and its ISA-L."""

    name: str
    cmake_args: tuple[str, ...]
    environment: dict[str, str]
    root: Path


def main() -> int:
    """Builds; prints the wheel's path and what it carries."""
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--tensorflow", nargs="+", default=TENSORFLOWS, metavar="VERSION", help="what to build for"
    )
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="folder of the wheel")
    parser.add_argument(
        "--compiler",
        choices=["debian11", "system"],
        help="which compiler; without a choice the system's only if the other cannot be had",
        default=argparse.SUPPRESS,
    )
    parser.add_argument("--mkldnn", choices=["ON", "OFF"], default="ON", help="oneDNN by default")
    parser.add_argument("--sdist", action="store_true", help="make the sdist only")
    parser.add_argument(
        "--check-reproducible",
        action="store_true",
        help="build the last commit at two places instead, and compare",
    )
    arguments = parser.parse_args()

    if arguments.check_reproducible:
        return check_reproducible(arguments.tensorflow, arguments.mkldnn)
    output: Path = arguments.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    # Timestamps in archives: those of the commit.
    os.environ.setdefault("SOURCE_DATE_EPOCH", commit_time())
    sdist = make_sdist(output if arguments.sdist else WORK / "sdist")
    if arguments.sdist:
        print(sdist)
        return 0
    sources = unpack(sdist)
    toolchain = choose_toolchain(getattr(arguments, "compiler", None))
    folders = [fetch_tensorflow.fetch(version) for version in arguments.tensorflow]
    wheel = build(sources, toolchain, folders, arguments.mkldnn)
    wheel = repair(wheel, toolchain)
    check(wheel, toolchain, {minor_of(version) for version in arguments.tensorflow})
    # `pip install dist/*.whl` is to find one, also if the tag differs from the last one's.
    for old in output.glob(wheel.name.rpartition("-")[0] + "-*.whl"):
        old.unlink()
    shutil.move(wheel, output / wheel.name)
    print(f"{output / wheel.name}: {(output / wheel.name).stat().st_size / 1e6:.2f} MB")
    return 0


def minor_of(version: str) -> str:
    """Returns the ABI key of a TensorFlow, ``major.minor``."""
    return ".".join(version.split(".")[:2])


def check_reproducible(tensorflows: list[str], mkldnn: str) -> int:
    """Builds the last commit in two clones, whose paths differ; compares byte for byte."""
    with tempfile.TemporaryDirectory() as folder:
        wheels = []
        for place in ("one", "another/place"):
            clone = Path(folder, place)
            run("git", "clone", "--quiet", ROOT, clone)
            program = [sys.executable, clone / "tools" / "build_wheel.py", f"--mkldnn={mkldnn}"]
            # What was compiled for one would serve the other.
            run(*program, "--tensorflow", *tensorflows, CCACHE_DISABLE="1")
            wheels += (clone / "dist").glob("*.whl")
        names = {wheel.name for wheel in wheels}
        hashes = {hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in wheels}
    if len(names) > 1 or len(hashes) > 1:
        raise SystemExit(f"error: two builds differ: {', '.join(sorted(names | hashes))}")
    print(f"two builds are equal: {names.pop()}, SHA-256 {hashes.pop()}")
    return 0


def run(*command: str | Path, **environment: str) -> None:
    """Runs a program, whose output is shown."""
    subprocess.run([str(part) for part in command], check=True, env={**os.environ, **environment})


def commit_time() -> str:
    """Returns when the commit was made, in seconds; a constant where there is no repository."""
    command = ["git", "log", "-1", "--format=%ct"]
    result = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    return result.stdout.strip() or "1000000000"


def make_sdist(folder: Path) -> Path:
    """Makes the sdist; returns its path."""
    staging = WORK / "sdist-staging"
    shutil.rmtree(staging, ignore_errors=True)
    subprocess.run(
        [sys.executable, "setup.py", "--quiet", "sdist", f"--dist-dir={staging}"],
        check=True,
        cwd=ROOT,
    )
    [sdist] = staging.glob("*.tar.gz")
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.move(sdist, folder / sdist.name))


def unpack(sdist: Path) -> Path:
    """Unpacks it, always at the same place and with its times, so that nothing compiles twice."""
    folder = WORK / "src"
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(sdist) as archive:
        # Python 3.11.2, which Debian 12 has, knows no filters.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(folder)  # noqa: S202  our own
    [sources] = folder.iterdir()
    return sources


def choose_toolchain(wanted: str | None) -> Toolchain:
    """Returns the compiler of Debian 11, or the system's if that is wanted or all that there is."""
    if wanted != "system":
        # Made anew when the script has changed.
        script = (ROOT / "tools" / "make_toolchain.sh").read_bytes()
        name = f"debian11-{hashlib.sha256(script).hexdigest()[:12]}"
        folder = fetch_tensorflow.cache_root() / "toolchain" / name
        made = subprocess.run([ROOT / "tools" / "make_toolchain.sh", folder], check=False)
        if made.returncode == 0:
            return debian11(folder)
        if wanted is not None:
            raise SystemExit("error: no compiler of Debian 11")
        print(
            "NOTICE: the compiler of Debian 11 cannot be had here (see above). Building with the "
            "system's: the wheel will run on systems as new as this one only, and its tag says so.",
            file=sys.stderr,
        )
    return Toolchain("system", (), {}, Path("/"))


def debian11(folder: Path) -> Toolchain:
    """Returns the compiler that make_toolchain.sh has put into ``folder``."""
    libraries = folder / "usr" / "lib" / f"{platform.machine()}-linux-gnu"
    return Toolchain(
        folder.name,
        (
            f"-DISAL_INCLUDE_DIR={folder}/usr/include",
            f"-DISAL_LIBRARY={libraries}/libisal.so",
        ),
        {
            "CXX": f"{folder}/c++",
            "CPLUS_INCLUDE_PATH": str(python_includes()),
            "AUDITWHEEL_LD_LIBRARY_PATH": str(libraries),
        },
        folder,
    )


def python_includes() -> Path:
    """Returns a folder with the headers of this Python that are in none of its own, if any are.

    Debian's has ``<x86_64-linux-gnu/python3.11/pyconfig.h>`` in ``/usr/include``, where the
    compiler of Debian 11 must not look: the headers of this system's C library are there, too.
    """
    folder = WORK / "python-include"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    include = Path(sysconfig.get_path("include"))
    triplet = sysconfig.get_config_var("MULTIARCH")
    if triplet and (headers := include.parent / triplet / include.name).is_dir():
        (folder / triplet).mkdir()
        (folder / triplet / include.name).symlink_to(headers)
    return folder


def build(sources: Path, toolchain: Toolchain, tensorflows: list[Path], mkldnn: str) -> Path:
    """Builds the wheel as setuptools makes it; returns its path."""
    folder = WORK / "unrepaired"
    shutil.rmtree(folder, ignore_errors=True)
    cmake_args = [*shlex.split(os.environ.get("CMAKE_ARGS", "")), *toolchain.cmake_args]
    run(
        *(sys.executable, "-m", "pip", "wheel", "--verbose", "--no-build-isolation", "--no-deps"),
        *("--no-cache-dir", f"--config-settings=SAGEMAKER_TENSORFLOW_MKLDNN={mkldnn}"),
        *(f"--wheel-dir={folder}", sources),
        SAGEMAKER_TENSORFLOW_BUILD_FOR=":".join(map(str, tensorflows)),
        SAGEMAKER_TENSORFLOW_BUILD_DIR=str(WORK / toolchain.name),
        CMAKE_ARGS=shlex.join(cmake_args),
        PATH=f"{SCRIPTS}:{os.environ['PATH']}",
        **toolchain.environment,
    )
    [wheel] = folder.glob("*.whl")
    return wheel


def repair(wheel: Path, toolchain: Toolchain) -> Path:
    """Puts ISA-L into the wheel and the right tag on it; returns the path of the result."""
    repaired = WORK / "repaired"
    shutil.rmtree(repaired, ignore_errors=True)
    run(
        *(SCRIPTS / "auditwheel", "repair", "--exclude=libtensorflow_framework.so.2"),
        *(f"--wheel-dir={repaired}", wheel),
        PATH=f"{SCRIPTS}:{os.environ['PATH']}",
        **toolchain.environment,
    )
    [wheel] = repaired.glob("*.whl")
    # The libraries have changed: they refer to the ISA-L beside them now.
    unpacked = WORK / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    run(SCRIPTS / "wheel", "unpack", f"--dest={unpacked}", wheel)
    [content] = unpacked.iterdir()
    for library in (content / PACKAGE / "_oplib").glob("*.so"):
        manifest = manifests.read(library)
        manifests.write(library, manifest._replace(sha256=manifests.sha256_of_file(library)))
    # ISA-L's licence asks to go with it.
    licence = toolchain.root / "usr" / "share" / "doc" / "libisal2" / "copyright"
    if not licence.is_file():
        raise SystemExit(f"error: no licence of ISA-L to put into the wheel: {licence}")
    [metadata] = content.glob("*.dist-info")
    shutil.copyfile(licence, metadata / "licenses" / "isa-l.txt")
    run(SCRIPTS / "wheel", "pack", f"--dest-dir={repaired}", content)
    return wheel


def check(wheel: Path, toolchain: Toolchain, minors: set[str]) -> None:
    """Shows what the wheel is, and makes sure that it is what it should be."""
    run(SCRIPTS / "auditwheel", "show", wheel)
    with tempfile.TemporaryDirectory() as folder:
        run(SCRIPTS / "wheel", "unpack", f"--dest={folder}", wheel)
        [package] = Path(folder).glob(f"*/{PACKAGE}")
        # ISA-L beside them is Debian's.
        for library in sorted(package.rglob("*.so")):
            if lacks := check_hardening.missing(library):
                raise SystemExit(f"error: {library.name}: {', '.join(lacks)}")
        check_ops(package, minors)
    if wheel.stat().st_size > MAX_BYTES:
        raise SystemExit(f"error: the wheel is larger than {MAX_BYTES / 1e6:.0f} MB")
    if toolchain.name == "system":
        return
    oldest = min(
        tuple(int(part) for part in tag.removeprefix("manylinux_").split("_")[:2])
        for tag in wheel.stem.split("-")[-1].split(".")
        if tag.startswith("manylinux_")
    )
    if oldest > NEWEST_GLIBC:
        raise SystemExit("error: the wheel needs a newer glibc than 2.28")


def check_ops(package: Path, minors: set[str]) -> None:
    """Makes sure that the op libraries are those asked for, and their sources are there."""
    sources = manifests.sha256_of_sources(package / "_src")
    found = set()
    for library in (package / "_oplib").glob("*.so"):
        manifest = manifests.read(library)
        if manifest.sha256 != manifests.sha256_of_file(library):
            raise SystemExit(f"error: {library.name} is not the one of its manifest")
        if manifest.source_sha256 != sources:
            raise SystemExit(f"error: _src is not what {library.name} was built from")
        found.add(library.stem.removeprefix("pipemode_op_tf"))
    if found != minors:
        raise SystemExit(f"error: op libraries for {sorted(found)}, not for {sorted(minors)}")


if __name__ == "__main__":
    sys.exit(main())
