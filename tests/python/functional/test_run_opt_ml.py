# SPDX-License-Identifier: Apache-2.0
"""``pipemode run``: ``--opt-ml``, for scripts that know no other folder than /opt/ml."""

import signal
import subprocess
import sys

import pytest
from run_helpers import HANGS, RECORDS, STUBBORN, model_of
from sagemaker_tensorflow._local.script import opt_ml

pytestmark = pytest.mark.long


@pytest.fixture
def opt_ml_can_be_mounted(tmp_path):
    (tmp_path / "code").mkdir()
    command = [sys.executable, opt_ml.__file__, str(tmp_path), "/bin/sh", "-c", ":"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(done.stderr)


@pytest.mark.usefixtures("opt_ml_can_be_mounted")
def test_script_that_knows_only_opt_ml(run_job, work_dir):
    ended = run_job(
        """
        assert Path.cwd() == Path("/opt/ml/code")
        told = [os.environ[name] for name in os.environ if name.startswith("SM_")]
        assert not [text for text in told if "pipemode-job" in text]
        assert os.environ["SM_CHANNEL_TRAINING"] == "/opt/ml/input/data/training"
        names = json.loads(Path("/opt/ml/input/config/hyperparameters.json").read_text())
        assert names["sagemaker_submit_directory"] == '"/opt/ml/code"'
        subprocess.Popen(["setsid", "sleep", "1000"])
        Path("/opt/ml/model", os.environ["SM_CURRENT_HOST"]).write_text(str(read()))
        """,
        "--opt-ml",
        "--instance-count=2",
    )
    assert ended.status == 0, ended.stderr
    assert model_of(work_dir / "out") == {"algo-1": str(RECORDS), "algo-2": str(RECORDS)}


@pytest.mark.usefixtures("opt_ml_can_be_mounted")
def test_script_at_opt_ml_is_ended_like_any_other(run_job):
    with run_job.start(STUBBORN + HANGS + "time.sleep(1000)", "--opt-ml") as command:
        command.wait_for_file("reads")
        command.send(signal.SIGKILL)
        command.finish()
