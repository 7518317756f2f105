# SPDX-License-Identifier: Apache-2.0
"""Which op library is taken for which TensorFlow, and what is said when there is none."""

import shutil

import pytest
import tensorflow as tf
from sagemaker_tensorflow import OpLibraryError
from sagemaker_tensorflow._op import op_cache, op_library, op_manifest, tensorflow_build

MINOR = ".".join(tf.__version__.split(".")[:2])
BUILT = op_library.carried(MINOR)

# A process that has loaded a second copy of the op can make no dataset any more.
pytestmark = [pytest.mark.alone, pytest.mark.long]

CANDIDATES = ["2.22.0-rc0", "2.22.0-dev20260101", "2.17.0+nv25.2", "2.14.0-tf", "2.21"]


@pytest.fixture(autouse=True)
def load(monkeypatch, tmp_path):
    """``load``, as if it had not been called so far, in a package that carries nothing."""
    folder = tmp_path / "carried"
    folder.mkdir()
    monkeypatch.setattr(op_library, "_FOLDER", folder)
    monkeypatch.setattr(op_library, "_load", op_library._load.__wrapped__)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(op_library.VARIABLE, raising=False)
    return op_library.load


@pytest.fixture
def tensorflow():
    return tensorflow_build.current()


def carry(path=BUILT, minor=MINOR, **changes):
    """Puts a library into the package, as the wheel's build does."""
    library = op_library.carried(minor)
    shutil.copy(path, library)
    op_manifest.write(library, op_manifest.read(BUILT)._replace(**changes))
    return library


def fill_cache(build, **changes):
    """Puts the built library into the cache, as ``build-op`` does."""
    path = op_cache.library(build)
    path.parent.mkdir(parents=True)
    for folder in (op_cache.root(), op_cache.ops(), path.parent):
        folder.chmod(0o755)
    shutil.copy(BUILT, path)
    path.chmod(0o644)
    fields = {
        "tensorflow": build.version,
        "tensorflow_build": build.build,
        "source_revision": "",
        "source_sha256": "",
        "compiler": "",
        "isal": "",
        "sha256": op_manifest.sha256_of_file(path),
    }
    op_manifest.write(path, op_manifest.OpManifest(**(fields | changes)))
    op_manifest.path_of(path).chmod(0o644)
    return path


def test_the_package_carries_it(load):
    carry()
    load()
    library = op_library.loaded()
    assert library.path == op_library.carried(MINOR)
    assert library.reason == f"the package carries it for TensorFlow {MINOR}"


def test_none_for_this_tensorflow(load):
    for minor in ("2.9", "2.10"):
        op_library.carried(minor).touch()
    with pytest.raises(OpLibraryError) as raised:
        load()
    message = str(raised.value)
    assert f"no op library for TensorFlow {tf.__version__};" in message
    assert "carries: 2.9, 2.10. " in message
    assert message.endswith("Build one for it with: python -m sagemaker_tensorflow build-op")
    assert isinstance(raised.value, ImportError)


def test_none_at_all(load):
    with pytest.raises(OpLibraryError, match=r"carries: none\."):
        load()


def no_library(folder):
    path = folder / "broken.so"
    path.write_bytes(b"no library")
    return path


@pytest.mark.parametrize("built_for", [f"{MINOR}.0rc0", f"{MINOR}.0+nv25.2", "2.13.1"])
def test_one_that_was_built_beside_no_release_of_this_minor(load, tensorflow, built_for):
    """As setup.py once made them: TensorFlow's final release came after the candidate."""
    library = carry(tensorflow=built_for)
    with pytest.raises(OpLibraryError) as raised:
        load()
    assert f"'{library}' is not used: it was built for TensorFlow {built_for}" in str(raised.value)
    path = fill_cache(tensorflow)
    load()
    assert op_library.loaded().path == path


def test_one_without_manifest(load):
    op_manifest.path_of(carry()).unlink()
    with pytest.raises(OpLibraryError, match=r"is not used: .*No such file"):
        load()


def test_a_broken_one(load, tmp_path):
    carry(no_library(tmp_path))
    message = f"cannot load '{op_library.carried(MINOR)}': "
    with pytest.raises(OpLibraryError, match=message) as raised:
        load()
    assert "build-op" in str(raised.value)


def test_a_broken_one_and_one_in_the_cache(load, tensorflow, tmp_path):
    carry(no_library(tmp_path))
    path = fill_cache(tensorflow)
    load()
    assert op_library.loaded().path == path


@pytest.mark.parametrize("version", CANDIDATES)
def test_what_is_no_release_counts_as_unknown(load, tensorflow, monkeypatch, version):
    candidate = tensorflow._replace(version=version)
    assert not candidate.is_release
    monkeypatch.setattr(tensorflow_build, "current", lambda: candidate)
    carry(minor=candidate.minor)
    with pytest.raises(OpLibraryError) as raised:
        load()
    assert f"TensorFlow {version}, which is no release" in str(raised.value)
    path = fill_cache(candidate)
    load()
    assert op_library.loaded().path == path
    assert "build-op" in op_library.loaded().reason


def test_the_variable_beats_all(load, tensorflow, monkeypatch, tmp_path):
    carry()
    fill_cache(tensorflow)
    path = shutil.copy(BUILT, tmp_path / "mine.so")
    monkeypatch.setenv(op_library.VARIABLE, str(path))
    load()
    assert op_library.loaded().path == path
    assert op_library.VARIABLE in op_library.loaded().reason


def test_the_variable_names_nothing(load, monkeypatch, tmp_path):
    carry()
    monkeypatch.setenv(op_library.VARIABLE, str(tmp_path / "missing.so"))
    with pytest.raises(OpLibraryError, match=r"missing\.so.*SAGEMAKER_TENSORFLOW_OP_LIBRARY names"):
        load()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"sha256": "0" * 64}, "its hash is not that of its manifest"),
        ({"tensorflow": "2.13.0"}, r"it was built for TensorFlow 2\.13\.0"),
        ({"tensorflow_build": "v2.13.0-5-gdeadbeef"}, r"it was built for .*gdeadbeef"),
    ],
)
def test_the_cache_is_verified(load, tensorflow, changes, problem):
    fill_cache(tensorflow, **changes)
    with pytest.raises(OpLibraryError, match=f"is not used: {problem}"):
        load()


def test_a_cached_one_without_manifest(load, tensorflow):
    op_manifest.path_of(fill_cache(tensorflow)).unlink()
    with pytest.raises(OpLibraryError, match=r"is not used: .*No such file"):
        load()


def test_a_cached_one_with_a_manifest_of_something_else(load, tensorflow):
    op_manifest.path_of(fill_cache(tensorflow)).write_text('{"a": 1}')
    with pytest.raises(OpLibraryError, match=r"is not used: .*unexpected keyword"):
        load()


@pytest.mark.parametrize("levels", range(4))
def test_a_cached_one_that_others_may_write(load, tensorflow, levels):
    """It or a folder on the way to it, up to the cache's own."""
    path = fill_cache(tensorflow)
    entry = [path, *path.parents][levels]
    assert entry.is_relative_to(op_cache.root())
    entry.chmod(0o777)
    with pytest.raises(OpLibraryError, match=f"others than you may write to '{entry}'"):
        load()


def test_a_cached_one_behind_a_symbolic_link(load, tensorflow):
    folder = fill_cache(tensorflow).parent
    moved = folder.rename(folder.with_name("elsewhere"))
    folder.symlink_to(moved)
    with pytest.raises(OpLibraryError, match=f"'{folder}' is a symbolic link"):
        load()


def test_a_cache_that_cannot_be_looked_at(load, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/tmp/" + 300 * "x")
    with pytest.raises(OpLibraryError, match=r"no cache: .*File name too long"):
        load()


def test_no_home_folder(load, no_home):
    with pytest.raises(OpLibraryError, match="no cache: no home folder is known; set HOME or XDG"):
        load()


def test_another_build_of_the_same_version_has_another_place(tensorflow):
    places = {
        op_cache.library(build)
        for build in (
            tensorflow,
            tensorflow._replace(commit="v2.21.0-dirty"),
            tensorflow._replace(flags=()),
        )
    }
    assert len(places) == 3
