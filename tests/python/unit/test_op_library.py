# SPDX-License-Identifier: Apache-2.0
"""Which op library is taken for which TensorFlow, and what is said when there is none."""

import shutil

import pytest
import tensorflow as tf
from sagemaker_tensorflow import (
    OpLibraryError,
    _op_cache,
    _op_library,
    _op_manifest,
    _tensorflow_build,
)

MINOR = ".".join(tf.__version__.split(".")[:2])
BUILT = _op_library.carried(MINOR)

CANDIDATES = ["2.22.0-rc0", "2.22.0-dev20260101", "2.17.0+nv25.2", "2.14.0-tf", "2.21"]


@pytest.fixture(autouse=True)
def load(monkeypatch, tmp_path):
    """``load``, as if it had not been called so far, in a package that carries nothing."""
    folder = tmp_path / "carried"
    folder.mkdir()
    monkeypatch.setattr(_op_library, "_FOLDER", folder)
    monkeypatch.setattr(_op_library, "_load", _op_library._load.__wrapped__)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv(_op_library.VARIABLE, raising=False)
    return _op_library.load


@pytest.fixture
def tensorflow():
    return _tensorflow_build.current()


def carry(path=BUILT):
    shutil.copy(path, _op_library.carried(MINOR))


def fill_cache(build, **changes):
    """Puts the built library into the cache, as ``build-op`` does."""
    path = _op_cache.library(build)
    path.parent.mkdir(parents=True)
    path.parent.chmod(0o755)
    shutil.copy(BUILT, path)
    path.chmod(0o644)
    fields = {
        "tensorflow": build.version,
        "tensorflow_build": build.build,
        "source_revision": "",
        "source_sha256": "",
        "compiler": "",
        "isal": "",
        "sha256": _op_manifest.sha256_of_file(path),
    }
    _op_manifest.write(path, _op_manifest.OpManifest(**(fields | changes)))
    return path


def test_the_package_carries_it(load):
    carry()
    load()
    library = _op_library.loaded()
    assert library.path == _op_library.carried(MINOR)
    assert library.reason == f"the package carries it for TensorFlow {MINOR}"


def test_none_for_this_tensorflow(load):
    for minor in ("2.9", "2.10"):
        _op_library.carried(minor).touch()
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


def test_a_broken_one(load):
    _op_library.carried(MINOR).write_bytes(b"no library")
    message = f"cannot load '{_op_library.carried(MINOR)}': "
    with pytest.raises(OpLibraryError, match=message) as raised:
        load()
    assert "build-op" in str(raised.value)


def test_a_broken_one_and_one_in_the_cache(load, tensorflow):
    _op_library.carried(MINOR).write_bytes(b"no library")
    path = fill_cache(tensorflow)
    load()
    assert _op_library.loaded().path == path


@pytest.mark.parametrize("version", CANDIDATES)
def test_what_is_no_release_counts_as_unknown(load, tensorflow, monkeypatch, version):
    candidate = tensorflow._replace(version=version)
    assert not candidate.is_release
    monkeypatch.setattr(_tensorflow_build, "current", lambda: candidate)
    shutil.copy(BUILT, _op_library.carried(candidate.minor))
    with pytest.raises(OpLibraryError) as raised:
        load()
    assert f"TensorFlow {version}, which is no release" in str(raised.value)
    path = fill_cache(candidate)
    load()
    assert _op_library.loaded().path == path
    assert "build-op" in _op_library.loaded().reason


def test_the_variable_beats_all(load, tensorflow, monkeypatch, tmp_path):
    carry()
    fill_cache(tensorflow)
    path = shutil.copy(BUILT, tmp_path / "mine.so")
    monkeypatch.setenv(_op_library.VARIABLE, str(path))
    load()
    assert _op_library.loaded().path == path
    assert _op_library.VARIABLE in _op_library.loaded().reason


def test_the_variable_names_nothing(load, monkeypatch, tmp_path):
    carry()
    monkeypatch.setenv(_op_library.VARIABLE, str(tmp_path / "missing.so"))
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
    _op_manifest.path_of(fill_cache(tensorflow)).unlink()
    with pytest.raises(OpLibraryError, match=r"is not used: .*No such file"):
        load()


def test_a_cached_one_with_a_manifest_of_something_else(load, tensorflow):
    _op_manifest.path_of(fill_cache(tensorflow)).write_text('{"a": 1}')
    with pytest.raises(OpLibraryError, match=r"is not used: .*unexpected keyword"):
        load()


def test_a_cached_one_that_others_may_write(load, tensorflow):
    path = fill_cache(tensorflow)
    path.chmod(0o666)
    with pytest.raises(OpLibraryError, match=f"others than you may write to '{path}'"):
        load()


def test_another_build_of_the_same_version_has_another_place(tensorflow):
    places = {
        _op_cache.library(build)
        for build in (
            tensorflow,
            tensorflow._replace(commit="v2.21.0-dirty"),
            tensorflow._replace(flags=()),
        )
    }
    assert len(places) == 3
