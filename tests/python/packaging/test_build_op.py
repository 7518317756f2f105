# SPDX-License-Identifier: Apache-2.0
"""``build-op``: compiles for the TensorFlow at hand, and the result is used."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from sagemaker_tensorflow._op import op_build, op_cache, op_manifest, op_sources, tensorflow_build

pytestmark = pytest.mark.long

# Seen as a candidate, for which no carried library counts.
AS_CANDIDATE = """
import sys
import tensorflow as tf
tf.version.VERSION += "-rc0"
sys.argv[0] = "pipemode"
from sagemaker_tensorflow.cli import main
main()
"""
USE_IT = """
import sys
import tensorflow as tf
tf.version.VERSION += "-rc0"
from sagemaker_tensorflow import PipeModeDataset, testing
from sagemaker_tensorflow._op import op_library
with testing.serve({"training": [[b"a", b"b"]]}, "TFRecord") as host:
    ds = PipeModeDataset(
        "training", "TFRecord",
        pipe_dir=host.pipe_dir, state_dir=host.state_dir, config_dir=host.config_dir,
    )
    assert list(ds.as_numpy_iterator()) == [b"a", b"b"]
print(op_library.loaded().path)
"""


def run(code, *arguments, environment, check=True):
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        check=check,
        capture_output=True,
        text=True,
        env=environment,
        timeout=500,
    )


@pytest.mark.timeout(600)
def test_build_and_use(tmp_path):
    try:
        missing = op_build.missing(tensorflow_build.current())
    except ImportError as error:
        missing = [str(error)]
    if missing:
        pytest.skip("; ".join(missing))
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    refused = run(USE_IT, environment=environment, check=False)
    assert refused.returncode != 0
    assert f"library for TensorFlow {tf.__version__}-rc0, which is no release" in refused.stderr
    assert "Build one for it with: python -m sagemaker_tensorflow build-op" in refused.stderr

    built = run(AS_CANDIDATE, "build-op", environment=environment)
    path = Path(built.stdout.strip())
    assert path.is_relative_to(tmp_path)
    assert path.is_file()
    assert "Building the op library" in built.stderr
    # Nothing else is left.
    assert list((tmp_path / "sagemaker_tensorflow" / "ops").iterdir()) == [path.parent]

    used = run(USE_IT, environment=environment)
    assert used.stdout.strip() == str(path)


def make_result(folder, tensorflow, target, content=b"a library"):
    """What a build has made for ``target``, before it is put into place."""
    folder.mkdir(mode=0o755)
    library = folder / target.name
    library.write_bytes(content)
    library.chmod(0o644)
    manifest = op_manifest.OpManifest(
        tensorflow=tensorflow.version,
        tensorflow_build=tensorflow.build,
        source_revision="",
        source_sha256="",
        compiler="",
        isal="",
        sha256=op_manifest.sha256_of_file(library),
    )
    op_manifest.write(library, manifest)
    op_manifest.path_of(library).chmod(0o644)
    return folder


@pytest.fixture
def target(tmp_path, monkeypatch):
    """The place of the library in a cache that is empty so far."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for folder in (op_cache.root(), op_cache.ops()):
        folder.mkdir(mode=0o700)
    return op_cache.library(tensorflow_build.current())


def test_the_result_replaces_an_older_one(target, tmp_path):
    tensorflow = tensorflow_build.current()
    for content in (b"old", b"new"):
        result = make_result(tmp_path / "result", tensorflow, target, content)
        op_build._put_into_place(result, target, tensorflow, tmp_path / "old")
    assert target.read_bytes() == b"new"
    assert (tmp_path / "old" / target.name).read_bytes() == b"old"


def test_another_process_was_faster(target, tmp_path, monkeypatch):
    """It has put its own there after the old one was moved away."""
    tensorflow = tensorflow_build.current()
    result = make_result(tmp_path / "result", tensorflow, target)
    rename = Path.rename

    def rename_late(path, to):
        if path == result:
            make_result(target.parent, tensorflow, target, b"theirs")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", rename_late)
    op_build._put_into_place(result, target, tensorflow, tmp_path / "old")
    assert target.read_bytes() == b"theirs"


def test_something_else_is_in_the_way(target, tmp_path, monkeypatch):
    tensorflow = tensorflow_build.current()
    result = make_result(tmp_path / "result", tensorflow, target)
    rename = Path.rename

    def rename_late(path, to):
        if path == result:
            make_result(target.parent, tensorflow, target)
            target.write_bytes(b"damaged")
        return rename(path, to)

    monkeypatch.setattr(Path, "rename", rename_late)
    with pytest.raises(OSError, match="not empty"):
        op_build._put_into_place(result, target, tensorflow, tmp_path / "old")


def test_a_library_that_does_not_read_is_not_kept(tmp_path, capfd):
    library = tmp_path / "library.so"
    library.write_bytes(b"no library")
    with pytest.raises(ImportError, match=r"reading a record with it failed \(1\)"):
        op_build._try(library)
    assert f"cannot load '{library}'" in capfd.readouterr().err


def test_a_cache_that_others_may_write_to(target, monkeypatch):
    monkeypatch.setattr(op_build, "missing", lambda _: [])
    op_cache.ops().chmod(0o777)
    with pytest.raises(ImportError, match=f"others than you may write to '{op_cache.ops()}'"):
        op_build.build(tensorflow_build.current(), 1)


def test_no_home_folder(no_home, monkeypatch):
    monkeypatch.setattr(op_build, "missing", lambda _: [])
    with pytest.raises(ImportError, match="no home folder is known; set HOME or XDG_CACHE_HOME"):
        op_build.build(tensorflow_build.current(), 1)


def test_versions_that_are_too_old(tmp_path, monkeypatch):
    for name, text in [("cmake", "cmake version 3.18.4"), ("c++", "isal 2 28")]:
        program = tmp_path / name
        program.write_text(f"#!/bin/sh\necho {text}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    for variable in ("CXX", "CMAKE_ARGS", "ISAL_ROOT"):
        monkeypatch.delenv(variable, raising=False)
    lacking = "; ".join(op_build.missing(tensorflow_build.current()))
    assert f"'{tmp_path}/cmake' is older than 3.22" in lacking
    assert "ISA-L 2.28 is older than 2.30" in lacking


def test_what_is_missing_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setitem(sys.modules, "cmake", None)  # cannot be imported
    tensorflow = tensorflow_build.current()._replace(root=tmp_path)
    [headers, packages] = op_build.missing(tensorflow)
    assert headers.startswith(f"'{tmp_path}' has no headers")
    assert "apt-get install g++ cmake make libisal-dev" in packages
    with pytest.raises(ImportError, match=r"cannot build the op library: .*apt-get install"):
        op_build.build(tensorflow, 1)


def test_ninja_will_do_where_there_is_no_make(tmp_path, monkeypatch):
    """CMake takes make by itself, whatever else there is."""
    commands = []

    def stop(*command):
        commands.append(command)
        raise ImportError("far enough")

    monkeypatch.setattr(op_build, "_run", stop)
    ninja = tmp_path / "ninja"
    for program in (ninja, tmp_path / "cmake"):
        program.touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    tensorflow = tensorflow_build.current()
    with pytest.raises(ImportError, match="far enough"):
        op_build._build_in(tmp_path, tensorflow, tmp_path / "target" / "library.so", 1)
    [configure] = commands
    assert {"-GNinja", f"-DCMAKE_MAKE_PROGRAM={ninja}"} <= set(configure)


def test_a_folder_called_cmake_is_no_cmake(tmp_path, monkeypatch):
    (tmp_path / "cmake").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "cmake", raising=False)
    assert op_build._cmake() is None


def test_a_tensorflow_of_the_old_abi():
    tensorflow = tensorflow_build.current()._replace(flags=("-D_GLIBCXX_USE_CXX11_ABI=0",))
    with pytest.raises(ImportError, match="not supported"):
        op_build.build(tensorflow, 1)


def test_the_sources_are_there():
    assert (op_sources.folder() / "CMakeLists.txt").is_file()
