# SPDX-License-Identifier: Apache-2.0
"""setuptools' commands as this package has them, and what ``setup.py`` says of the package."""

import subprocess
import sys
from pathlib import Path

import pytest
import sagemaker_tensorflow
from setup_helpers import BUILD_FOR, make_tensorflow

pytest.importorskip("pybind11")
pytest.importorskip("setuptools")

from setuptools.dist import Distribution

from build import commands, layout, op_libraries, revision

pytestmark = pytest.mark.long

NATIVE = "sagemaker_tensorflow._native"
OP = "sagemaker_tensorflow._oplib.pipemode_op_tf2_21"


@pytest.fixture
def distribution():
    """One without packages."""
    return Distribution({"name": "x", "version": "1", "packages": []})


@pytest.fixture
def command(distribution, monkeypatch, tmp_path):
    """``build_ext`` for the versions of TensorFlow that are asked for, finalized."""

    def make(*versions, **options):
        for version in versions:
            make_tensorflow(tmp_path / version, version)
        monkeypatch.setenv(BUILD_FOR, ":".join(str(tmp_path / version) for version in versions))
        command = commands.BuildWithCMake(distribution)
        command.build_lib = str(tmp_path / "lib")
        for name, value in options.items():
            setattr(command, name, value)
        command.warnings = []
        monkeypatch.setattr(command, "warn", command.warnings.append)
        command.finalize_options()
        return command

    return make


def extensions(command):
    return [extension.name for extension in command.distribution.ext_modules]


def test_an_extension_for_each_tensorflow(command):
    built = command("2.21.0", "2.14.1")
    assert built.warnings == []
    assert extensions(built) == [NATIVE, OP, OP.replace("2_21", "2_14")]


@pytest.mark.parametrize("version", ["2.22.0rc0", "2.22.0.dev20260101", "2.17.0+nv25.2"])
def test_what_is_no_release_is_left_to_build_op(command, version):
    """A library is named after the minor: the final release would take it for its own."""
    built = command(version)
    assert extensions(built) == [NATIVE]
    assert f"TensorFlow {version} is not a release" in built.warnings[0]
    assert "build-op" in built.warnings[0]
    assert "building without the op" in built.warnings[1]


@pytest.mark.parametrize("name", [OP, OP.rpartition(".")[2]])
def test_the_name_of_a_library(command, name):
    """Also by the last part of its name, as setuptools asks."""
    file = command("2.21.0").get_ext_filename(name)
    assert file == str(Path(*name.split(".")[:-1], "pipemode_op_tf2.21.so"))


def test_the_name_of_the_native_module(command):
    file = command("2.21.0").get_ext_filename(NATIVE)
    assert file.startswith("sagemaker_tensorflow/_native.cpython-")


@pytest.mark.parametrize(
    ("option", "variable", "expected"), [(None, "", ""), (None, "off", "OFF"), ("on", "OFF", "ON")]
)
def test_mkldnn(command, monkeypatch, option, variable, expected):
    monkeypatch.setenv("SAGEMAKER_TENSORFLOW_MKLDNN", variable)
    assert command(mkldnn=option).mkldnn == expected


def test_mkldnn_that_is_neither(command):
    with pytest.raises(SystemExit, match="mkldnn is ON or OFF, not 'MAYBE'"):
        command(mkldnn="maybe")


@pytest.mark.parametrize(
    ("versions", "keys"),
    [
        ((), ["{}"]),
        (("2.21.0",), ["{}-tf2.21"]),
        (("2.21.0", "2.14.1"), ["tf2.21", "tf2.14", "{}"]),
    ],
)
def test_build_folders(command, monkeypatch, tmp_path, versions, keys):
    """One of them for both, where there is one TensorFlow; ops without Python otherwise."""
    runs = []
    monkeypatch.setattr(
        commands.CMakeBuild,
        "run",
        lambda cmake, key, options: runs.append((key, "-DPIPEMODE_BUILD_PYTHON=ON" in options)),
    )
    monkeypatch.setattr(op_libraries, "write_manifest", lambda *_: None)
    old = tmp_path / "lib" / layout.PACKAGE / "_oplib" / "pipemode_op_tf2.13.so"
    old.parent.mkdir(parents=True)
    old.touch()
    command(*versions).build_extensions()
    assert not old.exists()
    tag = sys.implementation.cache_tag
    assert runs == [(key.format(tag), "{}" in key) for key in keys]


def test_in_place(command, monkeypatch, tmp_path):
    """A library that a program has mapped is replaced, not written to."""
    sources = tmp_path / "sources" / layout.PACKAGE
    sources.mkdir(parents=True)
    monkeypatch.setattr(layout, "SOURCE_PACKAGE", sources)
    built = command("2.21.0", inplace=True)
    files = [built.get_ext_filename(name) for name in (NATIVE, OP)]
    package = tmp_path / "lib" / layout.PACKAGE
    (package / "_oplib").mkdir(parents=True)
    (sources / "_oplib").mkdir()
    for file in files:
        (package.parent / file).write_text("new")
        (sources.parent / file).write_text("old")
    (package / "_oplib" / "pipemode_op_tf2.21.json").write_text("manifest")
    (package / "_build_info.json").write_text("info")
    monkeypatch.setattr(built, "get_finalized_command", lambda _: BuildPy(sources.parent))
    with (sources.parent / files[1]).open() as mapped:
        built.copy_extensions_to_source()
        assert mapped.read() == "old"
    assert [(sources.parent / file).read_text() for file in files] == ["new", "new"]
    assert (sources / "_oplib" / "pipemode_op_tf2.21.json").read_text() == "manifest"
    assert (sources / "_build_info.json").read_text() == "info"


class BuildPy:
    """Where setuptools finds a package's folder."""

    def __init__(self, folder):
        self._folder = folder

    def get_package_dir(self, package):
        return str(self._folder / Path(*package.split(".")))


@pytest.mark.parametrize("editable", [False, True])
def test_the_package_has_the_sources(distribution, tmp_path, editable):
    build_py = commands.BuildWithSources(distribution)
    build_py.build_lib = str(tmp_path)
    build_py.finalize_options()
    build_py.editable_mode = editable
    build_py.run()
    folder = tmp_path / layout.PACKAGE / "_src" / "cpp" / "tf"
    assert folder.is_dir() is not editable


def test_an_sdist_knows_its_commit(distribution, monkeypatch, tmp_path):
    monkeypatch.setattr(revision, "read", lambda _: "0123abc")
    command = commands.SdistWithRevision(distribution)
    command.dry_run = False
    monkeypatch.chdir(tmp_path)
    command.make_release_tree("tree", [])
    assert (tmp_path / "tree" / "SOURCE_REVISION").read_text() == "0123abc\n"


def test_the_version_is_the_packages():
    program = [sys.executable, "setup.py", "--version"]
    done = subprocess.run(
        program, cwd=layout.SOURCE_DIR, check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == f"{sagemaker_tensorflow.__version__}\n"
