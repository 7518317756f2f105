# SPDX-License-Identifier: Apache-2.0
"""How a build runs CMake."""

import json
import subprocess

import pytest

from build import layout
from build.cmake_build import CMakeBuild

pytestmark = pytest.mark.long

MKLDNN = "-DSAGEMAKER_TENSORFLOW_MKLDNN="


@pytest.fixture(autouse=True)
def _variables(monkeypatch):
    for variable in ("CMAKE_ARGS", "SAGEMAKER_TENSORFLOW_BUILD_DIR"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """The commands that are run; in place of CMake, which leaves the record of a build."""
    monkeypatch.setenv("SAGEMAKER_TENSORFLOW_BUILD_DIR", str(tmp_path / "work"))
    commands = []
    subprocess_run = subprocess.run

    def run(command, **options):
        if command[0] != "cmake":
            return subprocess_run(command, **options)
        commands.append(command)
        if "-B" in command:
            folder = tmp_path / "work" / "setuptools-key"
            folder.mkdir(parents=True)
            (folder / "_build_info.json").write_text(json.dumps({"compiler": "c++"}))
        return None

    monkeypatch.setattr(subprocess, "run", run)
    return commands


def test_configures_builds_and_installs(commands, tmp_path):
    cmake = CMakeBuild(tmp_path / "install", jobs=3, strip=True)
    assert cmake.run("key", ["-DX=1"]) == {"compiler": "c++"}
    folder = str(tmp_path / "work" / "setuptools-key")
    configure, build, install = commands
    assert configure[:5] == ["cmake", "-S", str(layout.SOURCE_DIR), "-B", folder]
    assert {"-DX=1", "-DCMAKE_BUILD_TYPE=Release"} <= set(configure)
    assert build == ["cmake", "--build", folder, "-j3"]
    assert install[:4] == ["cmake", "--install", folder, "--strip"]
    assert install[-1] == str(tmp_path / "install")


def test_in_place_and_with_debugging(commands, tmp_path):
    CMakeBuild(tmp_path, debug=True).run("key", [])
    configure, build, install = commands
    assert "-DCMAKE_BUILD_TYPE=Debug" in configure
    assert len(build) == 3
    assert "--strip" not in install


@pytest.mark.parametrize(
    ("mkldnn", "arguments", "expected"),
    [
        ("", "", "ON"),
        ("", f"{MKLDNN}OFF", "OFF"),
        ("OFF", "", "OFF"),
        ("OFF", f"{MKLDNN}ON", "OFF"),
    ],
)
def test_which_mkldnn_counts(monkeypatch, tmp_path, mkldnn, arguments, expected):
    """The last one for CMake: CMAKE_ARGS before a default, and behind what was asked for."""
    monkeypatch.setenv("CMAKE_ARGS", arguments)
    options = CMakeBuild(tmp_path, mkldnn=mkldnn).options([])
    assert [option for option in options if option.startswith(MKLDNN)][-1] == MKLDNN + expected


def test_cmake_args_beat_our_own(monkeypatch, tmp_path):
    monkeypatch.setenv("CMAKE_ARGS", "-DPIPEMODE_WERROR=ON '-DCMAKE_CXX_FLAGS=-g -O1'")
    options = CMakeBuild(tmp_path).options([])
    assert options.index("-DPIPEMODE_WERROR=ON") > options.index("-DPIPEMODE_WERROR=OFF")
    assert "-DCMAKE_CXX_FLAGS=-g -O1" in options


def test_ninja_only_where_there_is_one(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "-GNinja" not in CMakeBuild(tmp_path).options([])
    ninja = tmp_path / "ninja"
    ninja.touch(mode=0o755)
    assert {"-GNinja", f"-DCMAKE_MAKE_PROGRAM={ninja}"} <= set(CMakeBuild(tmp_path).options([]))


def test_no_cmake(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="cmake not found; install it with"):
        CMakeBuild(tmp_path).run("key", [])


def test_cmake_fails(monkeypatch, tmp_path):
    cmake = tmp_path / "cmake"
    cmake.write_text("#!/bin/sh\nexit 3\n")
    cmake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(SystemExit, match=r"failed \(3\): cmake -S "):
        CMakeBuild(tmp_path).run("key", [])
