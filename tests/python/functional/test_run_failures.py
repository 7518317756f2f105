# SPDX-License-Identifier: Apache-2.0
"""``pipemode run``: jobs that fail, why, and what is kept of their output."""

import signal
import tempfile
from types import SimpleNamespace

import pytest
from run_helpers import HANGS, Command, model_of, write_script
from sagemaker_tensorflow._local.request import command_line
from sagemaker_tensorflow._local.request import job as jobs
from sagemaker_tensorflow._local.request.settings import Settings
from sagemaker_tensorflow._local.run import runner

pytestmark = pytest.mark.long


def test_crash(run_job, work_dir):
    ended = run_job("read(limit=2); sys.exit(7)", "--base-dir=ml")
    assert ended.status == 7
    assert "failed after" in ended.stderr
    assert "train.py ended with exit status 7" in ended.stderr
    assert "ended with exit status 7" in (work_dir / "ml" / "output" / "failure").read_text()
    assert not (work_dir / "ml" / "output" / "success").exists()


def test_killed_by_a_signal(run_job):
    ended = run_job("read(limit=2); os.kill(os.getpid(), signal.SIGSEGV)")
    assert ended.status == 128 + signal.SIGSEGV
    assert "train.py was killed by SIGSEGV" in ended.stderr


def test_own_failure_file(run_job, work_dir):
    ended = run_job(
        "Path('../output/failure').write_text('my reason'); sys.exit(1)", "--base-dir=ml"
    )
    assert ended.status == 1
    assert "my reason" in ended.stderr
    assert (work_dir / "ml" / "output" / "failure").read_text() == "my reason"


def test_host_that_fails_keeps_the_model(work_dir, monkeypatch):
    """The script that is ended for it takes nothing along."""
    script = write_script(work_dir, "(model / 'm').write_text('m'); time.sleep(1000)")
    said = command_line.Options(script=script, output_path=str(work_dir / "out"))
    job = jobs.from_request(command_line.apply(said, None), work_dir)
    monkeypatch.setattr(tempfile, "tempdir", str(work_dir))

    def show(*_):
        if list(work_dir.glob("pipemode-job-*/model/m")):
            raise OSError("a fault of the host")

    lines = []
    observer = SimpleNamespace(output=(None, None), say=lines.append, show=show)
    with pytest.raises(OSError, match="a fault of the host"):
        runner.run(job, Settings(), observer)
    [kept] = work_dir.glob("pipemode-job-*")
    assert (kept / "model" / "m").exists()
    assert lines == [f"model and output are still in {kept}"]


def test_script_that_spoils_its_folders(run_job, work_dir):
    ended = run_job(
        """
        import shutil
        data = Path("../input/data")
        shutil.rmtree(data)
        data.write_text("in the way")
        (model / "m").write_text("m")
        time.sleep(1000)
        """
    )
    assert ended.status == 1
    assert "channel 'training'" in ended.stderr
    assert model_of(work_dir / "out") == {"m": "m"}


def test_time_limit(run_job):
    ended = run_job(HANGS + "time.sleep(1000)", "--max-run=1")
    assert ended.status == 124
    assert "the script ran for more than 1 s (MaxRuntimeInSeconds)" in ended.stderr


def test_output_that_cannot_be_collected_is_kept(work_dir):
    text = """
    (model / "m").write_text("m")
    out = Path(HERE, "out")
    out.rmdir()
    out.write_text("in the way")
    """
    script = write_script(work_dir, text)
    with Command(work_dir, script, "--output-path=out") as command:
        _, errors = command.process.communicate(timeout=90)
    assert command.process.returncode == 1
    assert "cannot collect the model" in errors
    [kept] = command.tmp.iterdir()
    assert str(kept) in errors
    assert (kept / "model" / "m").read_text() == "m"
