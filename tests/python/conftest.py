# SPDX-License-Identifier: Apache-2.0
"""What all Python tests share: the folders and the environment of a training job."""

import contextlib
import dataclasses
import gc
import json
import os
import signal
import sys
from pathlib import Path

import pytest

# A shell that starts the tests in the background lets them ignore Ctrl-C, nohup the end of the
# terminal; and their children, too, whose reaction to these is tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Keras imports scikit-learn wherever it is: a fifth of what the import of TensorFlow costs, and the
# tests start many processes that import it. Only the examples need scikit-learn.
WITHOUT_SKLEARN = str(Path(__file__).with_name("without_sklearn"))
if WITHOUT_SKLEARN not in sys.path:  # workers of pytest-xdist get the path of their parent
    sys.path.insert(0, WITHOUT_SKLEARN)
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(None, [WITHOUT_SKLEARN, os.environ.get("PYTHONPATH")])
    )

JOB_VARIABLES = ["SAGEMAKER_BASE_DIR", "SM_INPUT_DIR", "SM_INPUT_CONFIG_DIR"]


@pytest.fixture(autouse=True)
def _no_job(monkeypatch):
    """Whatever job the tests run in, they are not to see it."""
    for variable in JOB_VARIABLES:
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture(autouse=True)
def _no_iterator_left():
    """Lets no test wait for what an earlier one left.

    An iterator in a cycle of garbage, as an exception's traceback makes one, is dropped some time
    later, in another test. TensorFlow then waits until autotuning's thread, which has slept ever
    longer, looks again: up to a minute. Right after its own test that is a moment.
    """
    yield
    if "tensorflow" in sys.modules:
        gc.collect()
        if gc.get_freeze_count() == 0:
            gc.freeze()  # what imports have made; to look at all of it each time takes too long


@pytest.fixture
def scikit_learn(monkeypatch):
    """Has scikit-learn as users have it, here and in processes that are started."""
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != WITHOUT_SKLEARN])
    paths = os.environ["PYTHONPATH"].split(os.pathsep)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(p for p in paths if p != WITHOUT_SKLEARN))


@dataclasses.dataclass(frozen=True)
class Job:
    """The folders of a training job."""

    base_dir: Path

    @property
    def pipe_dir(self):
        return self.base_dir / "input" / "data"

    @property
    def config_dir(self):
        return self.base_dir / "input" / "config"

    @property
    def state_dir(self):
        return self.base_dir / "pipe_state"

    def write_config(self, config):
        """Writes ``inputdataconfig.json``: an object, or any text in its place."""
        text = config if isinstance(config, str) else json.dumps(config)
        (self.config_dir / "inputdataconfig.json").write_text(text)

    def pipe(self, epoch=0, channel="training"):
        """The path of an epoch's FIFO."""
        return self.pipe_dir / f"{channel}_{epoch}"

    def make_fifo(self, epoch=0, channel="training"):
        path = self.pipe(epoch, channel)
        os.mkfifo(path)
        return path

    def state_file(self, channel="training"):
        return self.state_dir / f".{channel}-pipe_mode-state"

    def state(self, channel="training"):
        """What the state file holds; ``None`` if there is none."""
        path = self.state_file(channel)
        return path.read_text() if path.exists() else None


@pytest.fixture
def make_job(tmp_path_factory):
    """Makes folders of a job whose two channels come in Pipe mode, without any FIFO."""

    def make():
        job = Job(tmp_path_factory.mktemp("ml"))
        job.pipe_dir.mkdir(parents=True)
        job.config_dir.mkdir()
        job.write_config(
            {name: {"TrainingInputMode": "Pipe"} for name in ("training", "validation")}
        )
        return job

    return make


@pytest.fixture
def job(make_job, monkeypatch):
    """Such a job, which the environment points at."""
    job = make_job()
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(job.base_dir))
    return job


@pytest.fixture
def no_home(monkeypatch):
    """As in a container that runs under a user id without a name."""

    def getpwuid(uid):
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for variable in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr("pwd.getpwuid", getpwuid)


@pytest.fixture
def serve(tmp_path_factory, monkeypatch):
    """``testing.serve`` for the job that the environment points at; yields that job's folders.

    The host itself, with its reports, is the job's ``host``.
    """
    from sagemaker_tensorflow import testing

    @dataclasses.dataclass(frozen=True)
    class ServedJob(Job):
        host: testing.PipeModeHost

    @contextlib.contextmanager
    def serve(channels, record_format="TFRecord", **options):
        base_dir = tmp_path_factory.mktemp("ml")
        with testing.serve(channels, record_format, base_dir=base_dir, **options) as host:
            monkeypatch.setenv("SAGEMAKER_BASE_DIR", host.base_dir)
            yield ServedJob(base_dir, host)

    return serve
