# SPDX-License-Identifier: Apache-2.0
"""Fixtures that several functional tests share: servers, files, and jobs of ``pipemode run``."""

import os
from importlib import metadata

import pytest
from fork_server import ForkServer
from run_helpers import FILES, RECORD, RECORDS, Command, write_script
from sagemaker_tensorflow.records import RecordWriter


@pytest.fixture(scope="session")
def fork_server():
    """Runs programs that have TensorFlow imported already; see fork_server.py."""
    with ForkServer() as server:
        yield server


@pytest.fixture(scope="session")
def keras_2_server(fork_server):
    """The same with Keras 2 as ``tf.keras``, which is TensorFlow's own before 2.16."""
    if metadata.version("keras").startswith("2."):
        yield fork_server
        return
    pytest.importorskip("tf_keras")
    with ForkServer(TF_USE_LEGACY_KERAS="1") as server:
        yield server


@pytest.fixture
def fifo(tmp_path):
    """A FIFO that belongs to no channel."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


@pytest.fixture
def file_of(tmp_path):
    """Makes a file of the given bytes."""

    def make(data):
        path = tmp_path / "file"
        path.write_bytes(data)
        return path

    return make


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    """A real S3 server; see s3_server.py."""
    from s3_server import S3Server

    server = S3Server(tmp_path_factory.mktemp("s3"))
    yield server
    server.close()


@pytest.fixture
def s3_variables(tmp_path, s3_server):
    """By which S3 clients find ``s3_server``, and nothing of the environment of the tests."""
    from s3_server import ACCESS_KEY, SECRET_KEY

    return {
        "AWS_CONFIG_FILE": str(tmp_path / "no-config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no-credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_ENDPOINT_URL_S3": s3_server.endpoint,
    }


@pytest.fixture
def s3_environment(monkeypatch, s3_variables):
    """Has this process find ``s3_server``."""
    for variable in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(variable)
    for variable, value in s3_variables.items():
        monkeypatch.setenv(variable, value)


@pytest.fixture
def write(job):
    """Writes the objects of a channel in File mode, or in that of ``mode``."""

    def write(objects, mode="File", channel="training", **config):
        job.write_config({channel: {"TrainingInputMode": mode, **config}})
        (job.pipe_dir / channel).mkdir(exist_ok=True)
        for name, content in objects.items():
            path = job.pipe_dir / channel / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return job

    return write


@pytest.fixture(scope="session")
def training_data(tmp_path_factory):
    """A folder of ``RECORDS`` TFRecords in ``FILES`` files."""
    folder = tmp_path_factory.mktemp("data")
    for number in range(FILES):
        with RecordWriter(folder / f"{number}.tfrecord", "TFRecord") as writer:
            for _ in range(RECORDS // FILES):
                writer.write(RECORD)
    return folder


@pytest.fixture
def work_dir(tmp_path):
    """Where commands are started; what jobs write goes into its ``out``."""
    (tmp_path / "out").mkdir()
    return tmp_path


@pytest.fixture
def run_job(work_dir, training_data):
    """Runs a script's text as a job with one channel, and sees that nothing is left of it."""

    def run(text, *arguments, channels=("training",), timeout=90, **options):
        with start(text, *arguments, channels=channels, **options) as command:
            return command.finish(timeout)

    def start(text, *arguments, channels=("training",), **options):
        script = write_script(work_dir, text)
        given = [f"--channel={channel}={training_data}" for channel in channels]
        return Command(work_dir, script, *given, "--output-path=out", *arguments, **options)

    run.start = start
    return run
