# SPDX-License-Identifier: Apache-2.0
"""``pipemode doctor``: the report, as text and as JSON."""

import json
import os
import subprocess
import sys

import pytest
import sagemaker_tensorflow
import tensorflow as tf


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
    job.make_fifo(1)
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
    assert report["job"]["channels"] == {
        "training": {"mode": "Pipe", "fifos": ["training_0", "training_1"], "next epoch": "1"},
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


def test_no_tensorflow(tmp_path):
    (tmp_path / "tensorflow.py").write_text("raise ImportError('no luck')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    report = json.loads(doctor("--json", code=1, PYTHONPATH=path))
    assert report["tensorflow"] == {"version": None, "import": "error: no luck"}
    assert report["op library"]["usable"] is False
    assert report["onednn"]["tensorflow_loaded"] is False
