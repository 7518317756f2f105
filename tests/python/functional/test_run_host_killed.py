# SPDX-License-Identifier: Apache-2.0
"""``pipemode run``: a host that is killed leaves no process, no file, no half epoch."""

import random
import signal
import socket
import time

import pytest
from pipe_helpers import stream
from run_helpers import HANGS, STUBBORN, Command, write_script

pytestmark = pytest.mark.long


def test_host_that_is_killed_takes_the_script_along(run_job):
    with run_job.start(STUBBORN + HANGS + "time.sleep(1000)") as command:
        command.wait_for_file("reads")
        assert len(command.processes()) > 2
        command.send(signal.SIGKILL)
        command.finish()


def test_host_that_is_killed_before_there_is_a_script(work_dir):
    with socket.create_server(("127.0.0.1", 0)) as server:
        variables = {
            "AWS_ENDPOINT_URL_S3": "http://{}:{}".format(*server.getsockname()),
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }
        script = write_script(work_dir, "")
        with Command(work_dir, script, "--channel=x=s3://bucket/x", env=variables) as command:
            server.settimeout(60)
            connection, _ = server.accept()  # it is listing, and will not hear of it
            with connection:
                assert len(list(command.tmp.iterdir())) == 1
                command.send(signal.SIGKILL)
                command.finish()


def test_killed_host_leaves_no_fifo_in_a_folder_that_is_kept(run_job, work_dir):
    with run_job.start(HANGS + "time.sleep(1000)", "--base-dir=ml") as command:
        command.wait_for_file("reads")
        data_dir = work_dir / "ml" / "input" / "data"
        assert "training_0" in {path.name for path in data_dir.iterdir()}
        command.send(signal.SIGKILL)
        command.finish()
    assert list(data_dir.iterdir()) == []


@pytest.mark.parametrize("compression_type", [None, "GZIP"])
@pytest.mark.parametrize(
    "kills", [4, pytest.param(200, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])]
)
def test_host_killed_at_any_moment(work_dir, kills, compression_type):
    """Nothing is left, and the script took no cut-off epoch for a whole one.

    Of plain data it may, between two records: only a compressed stream says where it ends, once it
    has begun.
    """
    rng = random.Random(kills)
    records = [rng.randbytes(100_000) for _ in range(40)]
    (work_dir / "data").write_bytes(stream(records, "TFRecord", compression_type))
    script = write_script(
        work_dir,
        f"""
        from sagemaker_tensorflow.records import ChannelReader
        with open(Path(HERE, "log"), "a") as log:
            while True:
                options = {{"compression_type": {compression_type!r}}}
                with ChannelReader("training", "TFRecord", **options) as reader:
                    print(sum(1 for _ in reader), file=log, flush=True)
        """,
    )
    whole = len(records)
    has_seen_whole = False
    for _ in range(kills):
        (work_dir / "log").write_text("")
        with Command(work_dir, script, f"--channel=training={work_dir / 'data'}") as command:
            time.sleep(rng.uniform(0, 3))
            assert command.process.poll() is None, command.process.communicate()
            command.send(signal.SIGKILL)
            command.finish()
        seen = [int(count) for count in (work_dir / "log").read_text().split()]
        assert seen[:-1] == [whole] * len(seen[:-1])
        # The host may die before it sends the first byte. No bytes are an epoch without objects.
        may_be_last = {0, whole} if compression_type is not None else range(whole + 1)
        assert set(seen[-1:]) <= set(may_be_last)
        has_seen_whole = has_seen_whole or whole in seen
    assert has_seen_whole or kills < 10
