# SPDX-License-Identifier: Apache-2.0
"""``build-op``: compiles for the TensorFlow at hand, and the result is used."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from sagemaker_tensorflow import _op_build, _op_sources, _tensorflow_build

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
from sagemaker_tensorflow import PipeModeDataset, _op_library, testing
with testing.serve({"training": [[b"a", b"b"]]}, "TFRecord") as host:
    ds = PipeModeDataset(
        "training", "TFRecord",
        pipe_dir=host.pipe_dir, state_dir=host.state_dir, config_dir=host.config_dir,
    )
    assert list(ds.as_numpy_iterator()) == [b"a", b"b"]
print(_op_library.loaded().path)
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
        missing = _op_build.missing(_tensorflow_build.current())
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


def test_what_is_missing_is_said(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(_op_build.importlib.util, "find_spec", lambda _: None)
    tensorflow = _tensorflow_build.current()._replace(root=tmp_path)
    [headers, packages] = _op_build.missing(tensorflow)
    assert headers.startswith(f"'{tmp_path}' has no headers")
    assert "apt-get install g++ cmake make libisal-dev" in packages
    with pytest.raises(ImportError, match=r"cannot build the op library: .*apt-get install"):
        _op_build.build(tensorflow, 1)


def test_a_tensorflow_of_the_old_abi():
    tensorflow = _tensorflow_build.current()._replace(flags=("-D_GLIBCXX_USE_CXX11_ABI=0",))
    with pytest.raises(ImportError, match="not supported"):
        _op_build.build(tensorflow, 1)


def test_the_sources_are_there():
    assert (_op_sources.folder() / "CMakeLists.txt").is_file()
