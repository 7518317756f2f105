# SPDX-License-Identifier: Apache-2.0
"""The programs in ``tools`` that make and test the wheel."""

import os
import runpy
import shutil
import subprocess
import sysconfig
import zipfile
from pathlib import Path

import pytest
from sagemaker_tensorflow._op import op_manifest

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TOOLS = Path(__file__).resolve().parents[3] / "tools"


@pytest.fixture
def load(monkeypatch):
    """Returns what is defined in one of them."""
    monkeypatch.syspath_prepend(TOOLS)
    return lambda name: runpy.run_path(str(TOOLS / f"{name}.py"))


@pytest.fixture
def download(monkeypatch, tmp_path):
    """Lets pip find a TensorFlow; ``download.meanwhile`` is what happens during that."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    class Download:
        meanwhile = None

        def __call__(self, command, check):
            [folder] = [part.removeprefix("--dest=") for part in command if "--dest=" in part]
            with zipfile.ZipFile(Path(folder, "tensorflow.whl"), "w") as archive:
                archive.writestr("tensorflow/include/a.h", "ours")
                archive.writestr("tensorflow/python/a.py", "not kept")
            if self.meanwhile:
                self.meanwhile()

    download = Download()
    monkeypatch.setattr(subprocess, "run", download)
    return download


def test_fetch(load, download, tmp_path):
    folder = load("fetch_tensorflow")["fetch"]("2.99.0")
    assert folder.is_relative_to(tmp_path)
    assert [p.name for p in folder.rglob("*") if p.is_file()] == ["a.h"]
    assert list(folder.parent.iterdir()) == [folder]
    assert (tmp_path / "sagemaker_tensorflow").stat().st_mode & 0o077 == 0


def test_two_that_fetch_at_once(load, download, tmp_path):
    """The first one may be compiling already: what it has stays."""
    folder = tmp_path / "sagemaker_tensorflow" / "tensorflow" / "2.99.0"

    def meanwhile():
        folder.mkdir()
        (folder / "theirs").touch()

    download.meanwhile = meanwhile
    assert load("fetch_tensorflow")["fetch"]("2.99.0") == folder
    assert [p.name for p in folder.iterdir()] == ["theirs"]


@pytest.fixture
def package(tmp_path):
    """A package with two op libraries and their sources, as ``build_wheel.py`` looks at it."""
    (tmp_path / "_src").mkdir()
    (tmp_path / "_src" / "CMakeLists.txt").write_text("sources")
    (tmp_path / "_oplib").mkdir()
    for minor in ("2.14", "2.21"):
        library = tmp_path / "_oplib" / f"pipemode_op_tf{minor}.so"
        library.write_text(minor)
        manifest = op_manifest.OpManifest(
            tensorflow=f"{minor}.0",
            tensorflow_build=None,
            source_revision="",
            source_sha256=op_manifest.sha256_of_sources(tmp_path / "_src"),
            compiler="",
            isal="",
            sha256=op_manifest.sha256_of_file(library),
        )
        op_manifest.write(library, manifest)
    return tmp_path


def test_a_wheel_with_all_ops(load, package):
    load("build_wheel")["check_ops"](package, {"2.14", "2.21"})


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda p: (p / "_oplib" / "pipemode_op_tf2.14.so").unlink(), "not for .'2.14', '2.21'"),
        (lambda p: (p / "_oplib" / "pipemode_op_tf2.14.so").write_text("x"), "not the one of its"),
        (lambda p: (p / "_src" / "CMakeLists.txt").write_text("other"), "_src is not what"),
    ],
)
def test_a_wheel_that_lacks_something(load, package, damage, problem):
    damage(package)
    with pytest.raises(SystemExit, match=problem):
        load("build_wheel")["check_ops"](package, {"2.14", "2.21"})


@pytest.mark.parametrize("triplet", ["x86_64-linux-gnu", None])
def test_headers_that_a_python_keeps_elsewhere(load, monkeypatch, tmp_path, triplet):
    """Debian's has some below a folder of the system; pyenv's and others have all in one place."""
    elsewhere = tmp_path / "include" / "x86_64-linux-gnu" / "python3.99"
    elsewhere.mkdir(parents=True)
    (elsewhere / "pyconfig.h").write_text("Debian's")
    (tmp_path / "include" / "stdio.h").write_text("of another C library than the compiler's")
    include = tmp_path / "include" / "python3.99"
    monkeypatch.setattr(sysconfig, "get_path", {"include": str(include)}.get)
    monkeypatch.setattr(sysconfig, "get_config_var", {"MULTIARCH": triplet}.get)
    python_includes = load("build_wheel")["python_includes"]
    monkeypatch.setitem(python_includes.__globals__, "WORK", tmp_path / "work")
    for _ in range(2):  # of a build, what an earlier one has left is there
        folder = python_includes()
        assert not (folder / "stdio.h").exists()
        header = folder / "x86_64-linux-gnu" / "python3.99" / "pyconfig.h"
        assert header.exists() == (triplet is not None)


def test_pins_of_each_python(load):
    text = """
# Build
a==1
b[extra]==2; python_version < '3.11' # why
b==3; python_version >= '3.11'
"""
    pins = load("check_pins")["pins"]
    assert pins(text, "3.10") == ["a==1", "b[extra]==2"]
    assert pins(text, "3.11") == ["a==1", "b==3"]


def test_the_matrix_tests_the_sdist_with_each_python(load):
    matrix = load("test_matrix")
    newest = matrix["newest"](matrix["select"](None, None, False))
    assert {python: cell.version for python, cell in newest.items()} == dict.fromkeys(
        ["3.10", "3.11", "3.12", "3.13"], "2.21.0"
    )
    edges = matrix["select"](None, None, True)
    assert list(matrix["newest"](edges).values()) == edges[-1:]


def test_a_mirror_without_debian_11(tmp_path):
    if shutil.which("apt-get") is None or not KEYRING.exists():
        pytest.skip("needs apt-get and Debian's keys")
    result = subprocess.run(
        [TOOLS / "make_toolchain.sh", tmp_path / "toolchain"],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, "DEBIAN_MIRROR": f"file://{tmp_path}/nothing"},
    )
    assert result.returncode == 1
    assert f"error: no Debian bullseye at file://{tmp_path}/nothing, see above" in result.stderr
    assert "DEBIAN_MIRROR may name another" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_option_of_try_image_without_its_value():
    command = [TOOLS / "try_image.sh", "--build"]
    result = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "error: --build needs a value; see --help\n"
