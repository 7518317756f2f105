# SPDX-License-Identifier: Apache-2.0
"""inspect and convert on a real S3 server."""

import contextlib
import gzip
import json

import pytest
from s3_server import BUCKET
from sagemaker_tensorflow._datatools import scan
from sagemaker_tensorflow._datatools.named_objects import find
from sagemaker_tensorflow.cli import app
from sagemaker_tensorflow.records import RecordReader, encode
from typer.testing import CliRunner

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("s3_environment")]


@pytest.fixture
def put(s3_server, request):
    """Puts objects below a prefix that no other test has; returns its URI."""
    prefix = f"datatools/{request.node.name}"

    def put(contents):
        for key, content in contents.items():
            s3_server.client.put_object(Bucket=BUCKET, Key=f"{prefix}/{key}", Body=content)
        return f"s3://{BUCKET}/{prefix}/"

    return put


def run(*arguments, status=0):
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == status, result.output
    return result


def stream(*records):
    return b"".join(encode(record, "TFRecord") for record in records)


def test_a_prefix(put):
    contents = {f"{n:02}": stream(*[b"x" * n] * 100) for n in range(20)}
    contents["20"] = stream(*[b"long" * 1000] * 5000)  # in several parts
    found = json.loads(run("inspect", put(contents), "--json").stdout)
    (group,) = found["groups"]
    assert [one["name"].rpartition("/")[2] for one in group["objects"]] == sorted(contents)
    assert [one["bytes"] for one in group["objects"]] == list(map(len, contents.values()))
    assert [one["records"] for one in group["objects"]] == [100] * 20 + [5000]
    assert found["problems"] == []


def test_a_damaged_object_and_those_behind_it(put):
    good = stream(*[b"record"] * 100)
    long = stream(*[b"long" * 1000] * 5000)
    uri = put({"1": good, "2": long[:50] + b"damage" + long, "3": good, "4": gzip.compress(good)})
    found = json.loads(run("inspect", uri, "--json", status=1).stdout)
    # A payload that is not what its checksum says, and then no record where one should begin.
    assert [problem["object"] for problem in found["problems"]] == [f"{uri}2"] * 2
    plain, compressed = found["groups"]
    assert [one["records"] for one in plain["objects"]] == [100, 0, 100]
    assert [one["records"] for one in compressed["objects"]] == [100]


def test_an_object_that_vanishes_is_no_shorter_one(put, s3_server):
    good = stream(*[b"record"] * 100)
    uri = put({"1": good, "2": good, "3": good})
    with contextlib.ExitStack() as stack:
        objects = find([uri], stack)
        s3_server.client.delete_object(Bucket=BUCKET, Key=f"{uri.removeprefix(f's3://{BUCKET}/')}2")
        findings = scan.scan(objects, scan.Options(), lambda *_: None)
    (problem,) = findings.problems
    assert problem.data == f"{uri}2"
    assert "does not exist" in problem.message
    assert [one.sizes.count for one in next(iter(findings.groups.values())).objects] == [100, 100]


def test_convert(put, tmp_path):
    uri = put({"1": stream(b"one", b"two"), "2": gzip.compress(stream(b"three"))})
    run("convert", uri, tmp_path / "x.recordio")
    assert list(RecordReader(tmp_path / "x.recordio")) == [b"one", b"two", b"three"]
    result = run("convert", f"{uri}none", tmp_path / "y.recordio", status=1)
    assert "no object's key begins" in result.stderr
    assert not (tmp_path / "y.recordio").exists()


def test_csv_is_not_taken_for_lines(put, tmp_path):
    uri = put({"x.csv": b"a,b\n1,2\n"})
    stderr = run("convert", f"{uri}x.csv", tmp_path / "x.tfrecord", status=1).stderr
    assert "csv can only be read from local files: copy it here first" in stderr
    run("convert", f"{uri}x.csv", tmp_path / "x.tfrecord", "--from", "records")
    assert list(RecordReader(tmp_path / "x.tfrecord", "TFRecord")) == [b"a,b", b"1,2"]


def test_nothing_there_and_no_way_to_it(put, monkeypatch):
    assert "no object's key begins" in run("inspect", f"{put({})}none", status=2).stderr
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    stderr = run("inspect", put({"1": b"x"}), status=2).stderr
    assert "S3 refuses access" in stderr
    assert "wrong-secret" not in stderr
