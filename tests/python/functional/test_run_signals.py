# SPDX-License-Identifier: Apache-2.0
"""``pipemode run``: Ctrl-C and other signals, which the script gets, too."""

import os
import signal
import tempfile
import time
from types import SimpleNamespace

import pytest
from run_helpers import HANGS, SIGINT_EXIT, SIGTERM_EXIT, STUBBORN, model_of, write_script
from sagemaker_tensorflow._base.shutdown_signals import Interrupted
from sagemaker_tensorflow._local.feed.job_feeders import Feeders
from sagemaker_tensorflow._local.request import command_line
from sagemaker_tensorflow._local.request import job as jobs
from sagemaker_tensorflow._local.request.settings import Settings
from sagemaker_tensorflow._local.run import runner

pytestmark = pytest.mark.long


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, SIGINT_EXIT), (signal.SIGTERM, SIGTERM_EXIT)]
)
def test_signals_reach_the_script(run_job, number, status):
    with run_job.start(HANGS + "time.sleep(1000)") as command:
        command.wait_for_file("reads")
        command.send(number)
        ended = command.finish()
    assert ended.status == status
    assert "failed after" in ended.stderr
    assert f"stopped by {signal.Signals(number).name}" in ended.stderr


def test_script_that_ends_well_when_told_to(run_job, work_dir):
    text = """
    def save(*_):
        (model / "saved").write_text("yes")
        sys.exit(0)
    signal.signal(signal.SIGTERM, save)
    """
    with run_job.start(text + HANGS.replace("\n", "\n    ") + "time.sleep(1000)") as command:
        command.wait_for_file("reads")
        command.send(signal.SIGTERM)
        ended = command.finish()
    assert ended.status == 0, ended.stderr
    assert model_of(work_dir / "out") == {"saved": "yes"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_ignored_signals_stay_ignored(run_job, number):
    """As nohup, and the ``&`` of a shell without job control, ask for."""
    text = HANGS + "while not Path(HERE, 'go').exists(): time.sleep(0.01)"
    ignored = {"preexec_fn": lambda: signal.signal(number, signal.SIG_IGN)}
    with run_job.start(text, **ignored) as command:
        command.wait_for_file("reads")
        command.send(number)
        (command.folder / "go").write_text("")
        ended = command.finish()
    assert ended.status == 0, ended.stderr
    assert signal.Signals(number).name not in ended.stderr


def test_signal_between_the_script_and_its_model(work_dir, monkeypatch):
    """The moment after the scripts' end, in which no signal is waited for."""
    job = jobs.from_request(
        command_line.apply(
            command_line.Options(
                script=write_script(work_dir, "(model / 'm').write_text('m')"),
                output_path=str(work_dir / "out"),
            ),
            None,
        ),
        work_dir,
    )
    monkeypatch.setattr(tempfile, "tempdir", str(work_dir))

    class Impatient(Feeders):
        def stop(self):
            os.kill(os.getpid(), signal.SIGINT)
            super().stop()

    monkeypatch.setattr(runner, "Feeders", Impatient)
    said = []
    observer = SimpleNamespace(output=(None, None), say=said.append, show=lambda *_: None)
    with pytest.raises(Interrupted):
        runner.run(job, Settings(), observer)
    [kept] = work_dir.glob("pipemode-job-*")
    assert (kept / "model" / "m").read_text() == "m"
    assert said == [f"model and output are still in {kept}"]


def test_grace_period(run_job):
    with run_job.start(STUBBORN + HANGS + "time.sleep(1000)", "--grace=0.5") as command:
        command.wait_for_file("reads")
        begun = time.monotonic()
        command.send(signal.SIGTERM)
        ended = command.finish()
    assert ended.status == 128 + signal.SIGKILL
    assert 0.5 <= time.monotonic() - begun < 25  # and not 30, the default


def test_second_interrupt_kills(run_job):
    with run_job.start(STUBBORN + HANGS + "time.sleep(1000)") as command:
        command.wait_for_file("reads")
        command.send(signal.SIGINT)
        for line in command.process.stderr:
            if "waiting up to 30 s" in line:
                break
        command.send(signal.SIGINT)
        ended = command.finish(timeout=25)
    assert ended.status == 128 + signal.SIGKILL
    assert "killing the script" in ended.stderr
