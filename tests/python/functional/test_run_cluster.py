# SPDX-License-Identifier: Apache-2.0
"""``pipemode run`` with hosts that work together, and beside SageMaker's own toolkit."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from run_helpers import Command, model_of, write_script
from sagemaker_tensorflow._local.show import wording
from sagemaker_tensorflow.records import RecordWriter

pytestmark = pytest.mark.long

ROOT = Path(__file__).parents[3]
RECORDS = 64
EPOCHS = 3
needs_mpirun = pytest.mark.skipif(shutil.which("mpirun") is None, reason="no mpirun")

# How two hosts may work together.
FORMS = [
    pytest.param([], id="plain hosts"),
    pytest.param(["-psagemaker_parameter_server_enabled=true"], id="parameter servers"),
    pytest.param(["-psagemaker_multi_worker_mirrored_strategy_enabled=true"], id="mirrored"),
    pytest.param(["-psagemaker_mpi_enabled=true"], id="MPI", marks=needs_mpirun),
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for number in range(4):
        with RecordWriter(folder / f"{number}.tfrecord", "TFRecord") as writer:
            for record in range(RECORDS // 4):
                writer.write(b"%d" % (number * 16 + record))
    return folder


def train(folder, data, text, *arguments, timeout=90):
    """Runs a script's text on two hosts; returns the files of the model, by name.

    Table and report tell of so many whole epochs on each host, and of no failure.
    """
    given = [f"--channel=training={data}", "--instance-count=2", "--report=r.html", *arguments]
    with Command(folder, write_script(folder, text), *given) as command:
        ended = command.finish(timeout)
    assert ended.status == 0, ended.stderr
    assert "completed in" in ended.stderr
    sent = wording.size(EPOCHS * sum(path.stat().st_size for path in data.iterdir()))
    page = (folder / "r.html").read_text()
    assert "Completed in" in page
    for host in ("algo-1", "algo-2"):
        assert re.search(rf"^ {host} training +{EPOCHS} +{sent} ", ended.stderr, re.MULTILINE)
        assert f"<td>{host} training</td><td>{EPOCHS}</td><td>{sent}</td>" in page
    return model_of(folder)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("base", [[], ["--base-dir=ml"]], ids=["temporary", "kept"])
def test_two_hosts_read_and_save(tmp_path, data, form, base):
    """Whatever runs beside the scripts ends after them, and takes nothing of theirs along."""
    model = train(
        tmp_path,
        data,
        f"""
        host = os.environ["SM_CURRENT_HOST"]
        counts = [read() for _ in range({EPOCHS})]
        (model / host).write_text(json.dumps(counts))
        Path(os.environ["SM_OUTPUT_DATA_DIR"], host).write_text(host)
        """,
        *form,
        *base,
    )
    found = {host: json.loads(text) for host, text in model.items()}
    assert found == {"algo-1": [RECORDS] * EPOCHS, "algo-2": [RECORDS] * EPOCHS}
    shutil.unpack_archive(next(tmp_path.glob("*/output/output.tar.gz")), tmp_path / "output")
    assert sorted(path.name for path in (tmp_path / "output").iterdir()) == ["algo-1", "algo-2"]
    assert (tmp_path / "ml").exists() == bool(base)
    for host in (tmp_path / "ml").glob("algo-*"):
        assert (host / "output" / "success").exists()
        assert (host / "model" / host.name).exists()
        assert list((host / "input" / "data").iterdir()) == []


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("base", [[], ["--base-dir=ml"]], ids=["temporary", "kept"])
def test_two_hosts_that_are_killed(tmp_path, data, form, base):
    """Nothing is left, but for a folder that the user has named, and in it no FIFO."""
    script = write_script(
        tmp_path,
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        subprocess.Popen(["setsid", "sleep", "1000"])
        read()
        read(limit=1)
        Path(HERE, os.environ["SM_CURRENT_HOST"]).write_text("")
        time.sleep(1000)
        """,
    )
    arguments = ["--instance-count=2", *form, *base]
    with Command(tmp_path, script, f"--channel=training={data}", *arguments) as command:
        command.wait_for_file("algo-1")
        command.wait_for_file("algo-2")
        command.send(signal.SIGKILL)
        command.finish()
    assert (tmp_path / "ml").exists() == bool(base)
    assert list(tmp_path.glob("ml/*/input/data/*")) == []


@needs_mpirun
def test_mpi(tmp_path, data):
    script = write_script(
        tmp_path,
        """
        rank = os.environ["OMPI_COMM_WORLD_RANK"]
        assert os.environ["OMPI_COMM_WORLD_SIZE"] == "4"
        base = Path(os.environ["SAGEMAKER_BASE_DIR"])
        assert base.name == os.environ["SM_CURRENT_HOST"] and Path.cwd() == base / "code"
        count = read() if int(rank) % 2 == 0 else None
        (model / rank).write_text(json.dumps([base.name, count, sys.argv[1:]]))
        """,
    )
    arguments = [
        "--instance-count=2",
        "-psagemaker_mpi_enabled=true",
        "-psagemaker_mpi_num_of_processes_per_host=2",
        "-pa=b",
    ]
    with Command(tmp_path, script, f"--channel=training={data}", *arguments) as command:
        ended = command.finish()
    assert ended.status == 0, ended.stderr
    found = {rank: json.loads(text) for rank, text in model_of(tmp_path).items()}
    args = ["-a", "b"]
    assert found == {
        "0": ["algo-1", RECORDS, args],
        "1": ["algo-1", None, args],
        "2": ["algo-2", RECORDS, args],
        "3": ["algo-2", None, args],
    }


@needs_mpirun
def test_mpi_that_fails(tmp_path):
    script = write_script(tmp_path, "sys.exit(3)")
    with Command(tmp_path, script, "-psagemaker_mpi_enabled=true") as command:
        assert command.finish().status == 3


def test_mpi_with_a_host_that_is_killed(tmp_path):
    """The variables of the ranks, which may hold secrets, are in no file that stays."""
    mpirun = tmp_path / "mpirun"
    mpirun.write_text(f"#!/bin/sh\ntouch {tmp_path}/runs; exec sleep 1000\n")
    mpirun.chmod(0o755)
    script = write_script(tmp_path, "")
    with Command(
        tmp_path,
        script,
        "-psagemaker_mpi_enabled=true",
        env={"PATH": os.pathsep.join([str(tmp_path), os.environ["PATH"]])},
    ) as command:
        command.wait_for_file("runs")
        [ranks] = command.tmp.glob("pipemode-scratch-*/ranks.json")
        assert ranks.parent.stat().st_mode & 0o777 == 0o700
        command.send(signal.SIGKILL)
        command.finish()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_multi_worker_mirrored_training(tmp_path, data):
    model = train(
        tmp_path,
        data,
        f"""
        import tensorflow as tf
        from sagemaker_tensorflow import PipeModeDataset
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
        assert strategy.num_replicas_in_sync == 2
        ds = PipeModeDataset("training", "TFRecord").batch(8)
        mine = 0
        for batch in ds.repeat({EPOCHS}):
            numbers = tf.strings.to_number(batch, tf.int64)
            mine += int(tf.reduce_sum(numbers))
        reduced = strategy.run(
            lambda: tf.distribute.get_replica_context().all_reduce("SUM", tf.constant(mine))
        )
        (model / os.environ["SM_CURRENT_HOST"]).write_text(str([mine, int(reduced)]))
        """,
        "-psagemaker_multi_worker_mirrored_strategy_enabled=true",
        timeout=280,
    )
    total = EPOCHS * sum(range(RECORDS))
    found = {host: json.loads(text) for host, text in model.items()}
    assert found == {"algo-1": [total, 2 * total], "algo-2": [total, 2 * total]}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_parameter_servers(tmp_path, data):
    """They serve from the first epoch to the last, and the folder is there after their end."""
    model = train(
        tmp_path,
        data,
        f"""
        host = os.environ["SM_CURRENT_HOST"]
        config = json.loads(os.environ["TF_CONFIG"])
        assert config["task"]["type"] == {{"algo-1": "master", "algo-2": "worker"}}[host]
        import tensorflow as tf
        from sagemaker_tensorflow import PipeModeDataset
        address = config["cluster"]["ps"][config["task"]["index"]]
        tf.config.experimental_connect_to_host(f"grpc://{{address}}", job_name="ps")
        total = 0
        for epoch in range({EPOCHS}):
            for record in PipeModeDataset("training", "TFRecord"):
                number = int(record.numpy())
                with tf.device("/job:ps/task:0/device:CPU:0"):
                    total = total + tf.constant(number)
        (model / host).write_text(str(int(total)))
        """,
        "-psagemaker_parameter_server_enabled=true",
        timeout=280,
    )
    total = str(EPOCHS * sum(range(RECORDS)))
    assert model == {"algo-1": total, "algo-2": total}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_toolkit_tells_a_script_the_same():
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "compare_toolkit.py")],
        capture_output=True,
        text=True,
        timeout=580,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.endswith("0 differences that are not expected\n")
