# SPDX-License-Identifier: Apache-2.0
"""``pipemode doctor``: the report, as text and as JSON."""

import json
import os
import subprocess
import sys

import pytest
import sagemaker_tensorflow
import tensorflow as tf
from sagemaker_tensorflow.cli import diagnosis

pytestmark = pytest.mark.long


def doctor(*arguments, code=0, **variables):
    result = subprocess.run(
        [sys.executable, "-m", "sagemaker_tensorflow", "doctor", *arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
        env={**os.environ, **variables},
    )
    assert result.returncode == code, result.stderr
    return result.stdout


def test_report(job):
    job.make_fifo(0)
    job.make_fifo(10)
    job.make_fifo(9)
    job.make_fifo(0, "training_aug")
    (job.pipe_dir / "training_11").touch()
    (job.pipe_dir / "training_note").touch()
    job.state_dir.mkdir()
    job.state_file("training").write_text("1")
    report = json.loads(doctor("--json"))
    assert report["package"]["version"] == sagemaker_tensorflow.__version__
    assert report["package"]["mkldnn"] in (True, False)
    assert report["tensorflow"]["version"] == tf.__version__
    assert report["tensorflow"]["built for"] == (
        "GPU (CUDA)" if tf.test.is_built_with_cuda() else "CPU"
    )
    op = report["op library"]
    assert op["usable"] is True
    assert op["hash"] == "as in the manifest"
    assert op["tensorflow"].split(".")[:2] == tf.__version__.split(".")[:2]
    assert len(op["source_sha256"]) == 64
    [isal] = report["isa-l"]["mapped"]
    assert "libisal" in isal
    assert report["onednn"]["tensorflow_loaded"] is True
    assert report["pipes"]["pipe-max-size"] > 0
    assert report["job"]["pipe_dir"] == str(job.pipe_dir)
    fifos = ["training_0", "training_9", "training_10"]
    assert report["job"]["channels"] == {
        "training": {"mode": "Pipe", "fifos": fifos, "next epoch": "1"},
        "validation": {"mode": "Pipe", "fifos": [], "next epoch": None},
    }


def test_text(job):
    text = doctor()
    for line in ("package", "tensorflow", "op library", "onednn", "pipes", "job"):
        assert f"\n{line}\n" in "\n" + text
    assert f"  version        {tf.__version__}\n" in text
    assert "Pipe\n" in text


def test_no_job(tmp_path):
    report = json.loads(doctor("--json", SAGEMAKER_BASE_DIR=str(tmp_path)))
    assert report["job"]["pipe_dir"].endswith("(no such folder)")
    assert report["job"]["channels"].startswith("error: no '")


@pytest.mark.parametrize("arguments", [(), ("--json",)])
def test_no_op_library(arguments, tmp_path):
    text = doctor(*arguments, code=1, SAGEMAKER_TENSORFLOW_OP_LIBRARY=str(tmp_path / "none.so"))
    assert "none.so" in text
    if arguments:
        assert json.loads(text)["op library"]["usable"] is False


@pytest.mark.parametrize("error", ["ImportError", "TypeError"])
def test_no_tensorflow(tmp_path, error):
    (tmp_path / "tensorflow.py").write_text(f"raise {error}('no luck')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    report = json.loads(doctor("--json", code=1, PYTHONPATH=path))
    assert report["tensorflow"]["version"] is None
    message = f"error: TensorFlow cannot be imported: {error}: no luck; install it with "
    assert report["tensorflow"]["import"].startswith(message)
    assert report["op library"]["usable"] is False
    assert report["onednn"]["tensorflow_loaded"] is False


def test_variables_that_the_package_sets():
    unset = {"TF_ENABLE_ONEDNN_OPTS", "TF_DISABLE_POOL_ALLOCATOR"}
    code = (
        "import json; from sagemaker_tensorflow.cli import diagnosis; "
        "print(json.dumps(diagnosis._onednn()))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
        env={**{k: v for k, v in os.environ.items() if k not in unset}, "TF_DISABLE_MKL": "1"},
    )
    section = json.loads(result.stdout)
    assert section["TF_DISABLE_MKL"] == "1"
    assert section["TF_ENABLE_ONEDNN_OPTS"] == "0"
    assert section["set by this package"] == ["TF_ENABLE_ONEDNN_OPTS=0"]


def test_no_home_folder(no_home):
    assert diagnosis._cache().startswith("error: OpLibraryError: no home folder is known")
    assert diagnosis._op()["usable"] is True


def test_folders_that_may_not_be_looked_at(job, monkeypatch):
    def is_dir(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.is_dir", is_dir)
    assert "error: PermissionError: " in diagnosis._job()["state_dir"]


def test_fifos_that_vanish(job, monkeypatch):
    """Between the listing of the folder and a look at them."""
    listing = list(os.scandir(job.make_fifo(0).parent))
    job.pipe(0).unlink()
    job.make_fifo(1)
    listing += os.scandir(job.pipe_dir)
    monkeypatch.setattr("os.scandir", lambda folder: listing)
    assert diagnosis._fifos(job.pipe_dir, "training") == ["training_1"]


def test_fifos_in_a_folder_that_cannot_be_listed(job):
    (job.base_dir / "file").touch()
    [error] = diagnosis._fifos(job.base_dir / "file", "training")
    assert error.startswith("error: NotADirectoryError")
