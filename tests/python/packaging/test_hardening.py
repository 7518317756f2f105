# SPDX-License-Identifier: Apache-2.0
"""The libraries of the package are hardened; build_wheel.py checks those of the wheel likewise."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sagemaker_tensorflow

PACKAGE = Path(sagemaker_tensorflow.__file__).parent
LIBRARIES = sorted(PACKAGE.rglob("*.so"))
CHECK = Path(__file__).resolve().parents[3] / "tools" / "check_hardening.py"


@pytest.fixture(autouse=True, scope="module")
def _readelf():
    if shutil.which("readelf") is None:
        pytest.skip("needs binutils")


def check(library):
    command = [sys.executable, CHECK, library]
    return subprocess.run(command, check=False, capture_output=True, text=True)


def test_there_are_libraries():
    assert {library.parent.name for library in LIBRARIES} == {"sagemaker_tensorflow", "_oplib"}


@pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.name)
def test_hardened(library):
    assert check(library).stderr == ""


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["-fno-stack-protector"], "no stack protector"),
        (["-U_FORTIFY_SOURCE"], "nothing fortified"),
        (["-Wl,-z,norelro"], "no relro"),
        (["-Wl,-z,lazy"], "no immediate binding"),
        (["-Wl,-z,execstack"], "an executable stack"),
    ],
)
def test_the_check_notices(tmp_path, flags, message):
    """Each of what it looks for, left away from a library that has it all."""
    compiler = shutil.which("c++")
    if compiler is None:
        pytest.skip("needs a compiler")
    source = tmp_path / "library.cc"
    source.write_text(
        "#include <cstdio>\n#include <cstring>\n"
        "char word[8];\n"
        "void Fill(const char* text) {\n"
        "  char copy[8];\n"
        "  std::strcpy(copy, text);\n"
        "  std::strcpy(word, copy);\n"
        "}\n"
    )
    good = ["-fstack-protector-strong", "-U_FORTIFY_SOURCE", "-D_FORTIFY_SOURCE=2", "-O2", "-fPIC"]
    good += ["-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack", "-shared"]
    for options, expected in [(good, ""), (good + flags, message)]:
        library = tmp_path / "library.so"
        subprocess.run([compiler, *options, source, "-o", library], check=True)
        errors = check(library).stderr
        assert expected in errors
        assert bool(expected) == bool(errors)
