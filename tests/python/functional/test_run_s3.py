# SPDX-License-Identifier: Apache-2.0
"""``pipemode run`` from S3 and into S3, on a real server."""

import contextlib
import io
import itertools
import json
import signal
import tarfile

import pytest
from pipe_helpers import wait_until
from run_helpers import Command, write_script
from s3_server import BUCKET, SECRET_KEY, Proxy
from sagemaker_tensorflow.records import RecordWriter

pytestmark = pytest.mark.long

_numbers = itertools.count()


@pytest.fixture
def prefix():
    return f"run-{next(_numbers)}"


@pytest.fixture
def uri(tmp_path, s3_server, prefix):
    """Where there are two objects of 5 records each."""
    for number in range(2):
        path = tmp_path / f"{number}.tfrecord"
        with RecordWriter(path, "TFRecord") as writer:
            for _ in range(5):
                writer.write(b"record")
        s3_server.client.upload_file(str(path), BUCKET, f"{prefix}/data/{number}.tfrecord")
    return f"s3://{BUCKET}/{prefix}"


def test_from_s3_to_s3(tmp_path, s3_server, s3_variables, uri, prefix):
    script = write_script(
        tmp_path,
        """
        (model / "counts").write_text(json.dumps([read(), read()]))
        assert os.environ["AWS_ACCESS_KEY_ID"]  # the script may use S3, too
        """,
    )
    arguments = [f"--channel=training={uri}/data,shuffle-seed=1", f"--output-path={uri}/out"]
    with Command(tmp_path, script, *arguments, "--job-name=j", env=s3_variables) as command:
        ended = command.finish()
    assert ended.status == 0, ended.stderr
    assert f"wrote {uri}/out/j/output/model.tar.gz" in ended.stderr
    body = s3_server.client.get_object(Bucket=BUCKET, Key=f"{prefix}/out/j/output/model.tar.gz")
    with tarfile.open(fileobj=io.BytesIO(body["Body"].read())) as archive:
        assert json.load(archive.extractfile("counts")) == [10, 10]
    assert SECRET_KEY not in ended.stderr


def test_place_of_an_error(tmp_path, s3_server, s3_variables, uri, prefix):
    content = bytearray((tmp_path / "1.tfrecord").read_bytes())
    content[2 * 22 + 12] ^= 1
    s3_server.client.put_object(Bucket=BUCKET, Key=f"{prefix}/data/1.tfrecord", Body=bytes(content))
    script = write_script(tmp_path, "read()")
    with Command(tmp_path, script, f"--channel=training={uri}/data", env=s3_variables) as command:
        ended = command.finish()
    assert ended.status == 1
    assert ended.stderr.endswith(
        f"channel 'training' epoch 0, byte {7 * 22} of the stream is byte {2 * 22} of "
        f"{uri}/data/1.tfrecord (object 2 of 2)\n"
    )


def test_uncompressed_output(tmp_path, s3_server, s3_variables, uri, prefix):
    write_script(tmp_path, "(model / '1').mkdir(); (model / '1' / 'a').write_text('A')")
    request = {
        "TrainingJobName": "j",
        "HyperParameters": {"sagemaker_program": "train.py"},
        "OutputDataConfig": {"S3OutputPath": f"{uri}/out/", "CompressionType": "NONE"},
    }
    (tmp_path / "job.json").write_text(json.dumps(request))
    with Command(tmp_path, "--request=job.json", env=s3_variables) as command:
        ended = command.finish()
    assert ended.status == 0, ended.stderr
    body = s3_server.client.get_object(Bucket=BUCKET, Key=f"{prefix}/out/j/output/model/1/a")
    assert body["Body"].read() == b"A"


MAKES_A_MODEL = """
(model / "m").write_text("m")
Path(HERE, "made").touch()
while not Path(HERE, "go").exists():
    time.sleep(0.01)
"""


def test_killed_while_it_uploads(tmp_path, s3_server, s3_variables, uri):
    proxy = Proxy(s3_server.port)
    through = s3_variables | {"AWS_ENDPOINT_URL_S3": proxy.endpoint}
    arguments = [write_script(tmp_path, MAKES_A_MODEL), f"--output-path={uri}/out"]
    with contextlib.closing(proxy), Command(tmp_path, *arguments, env=through) as command:
        command.wait_for_file("made")
        proxy.is_hanging, proxy.faults = True, 1000
        (tmp_path / "go").touch()
        wait_until(lambda: list(command.tmp.glob("**/pipemode-output-*/model.tar.gz")))
        command.send(signal.SIGKILL)
        command.finish()


def test_model_is_kept_when_nobody_takes_it(tmp_path, s3_server, s3_variables, uri):
    proxy = Proxy(s3_server.port)
    through = s3_variables | {"AWS_ENDPOINT_URL_S3": proxy.endpoint}
    arguments = [write_script(tmp_path, MAKES_A_MODEL), f"--output-path={uri}/out"]
    with contextlib.closing(proxy), Command(tmp_path, *arguments, env=through) as command:
        command.wait_for_file("made")
        proxy.is_refusing = True
        (tmp_path / "go").touch()
        _, errors = command.process.communicate(timeout=90)
    assert command.process.returncode == 1
    assert f"cannot collect the model into {uri}/out" in errors
    [kept] = command.tmp.iterdir()
    assert (kept / "model" / "m").read_text() == "m"
    assert str(kept) in errors


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "sesame-street"}, "S3 answers SignatureDoesNotMatch"),
        ({"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1"}, "Could not connect"),
    ],
)
def test_output_is_tried_before_the_script_runs(tmp_path, s3_variables, changed, said):
    script = write_script(tmp_path, "Path(HERE, 'ran').touch()")
    output = f"--output-path=s3://{BUCKET}/none"
    with Command(tmp_path, script, output, env=s3_variables | changed) as command:
        ended = command.finish()
    assert ended.status == 1
    assert f"OutputDataConfig.S3OutputPath: 's3://{BUCKET}/none/train-" in ended.stderr
    assert said in ended.stderr
    assert "sesame" not in ended.stderr
    assert not (tmp_path / "ran").exists()


def test_trying_leaves_nothing(tmp_path, s3_server, s3_variables, uri, prefix):
    script = write_script(tmp_path, "")
    with Command(tmp_path, script, f"--output-path={uri}/out", env=s3_variables) as command:
        assert command.finish().status == 0
    found = s3_server.client.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/out")
    assert found["KeyCount"] == 0
    uploads = s3_server.client.list_multipart_uploads(Bucket=BUCKET).get("Uploads", [])
    assert not [upload for upload in uploads if upload["Key"].startswith(prefix)]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "sesame-street"}, "S3 refuses access"),
        ({}, "no object's key begins with"),
    ],
)
def test_what_cannot_be_listed(tmp_path, s3_variables, uri, changed, said):
    script = write_script(tmp_path, "Path(HERE, 'ran').touch()")
    channel = f"--channel=training={uri}/" + ("data" if changed else "nothing")
    with Command(tmp_path, script, channel, env=s3_variables | changed) as command:
        ended = command.finish()
    assert ended.status == 1
    assert "channel 'training'" in ended.stderr
    assert said in ended.stderr
    assert "sesame" not in ended.stderr
    assert not (tmp_path / "ran").exists()
