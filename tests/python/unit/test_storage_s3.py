# SPDX-License-Identifier: Apache-2.0
"""How objects in S3 are listed and read, and what is said when they cannot be (moto)."""

import concurrent.futures
import json
import os
import random
import sys

import pytest
from sagemaker_tensorflow._storage import s3
from sagemaker_tensorflow._storage.bodies import Bodies
from sagemaker_tensorflow._storage.objects import DataObject, SourceError
from sagemaker_tensorflow._storage.store import Store

# Keys that S3 allows, whatever they look like.
KEYS = ["a b#c%20+é?&=", "a//b", "a/../b", "a/./b", "/a", "~!@$^*()[]{}'\"<>|`\\", "x" * 900, "…"]


@pytest.fixture(scope="module")
def endpoint():
    server = pytest.importorskip("moto.server").ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture(autouse=True)
def _environment(monkeypatch, endpoint, tmp_path):
    for variable in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "no-config"))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    monkeypatch.setattr(s3, "_RETRY_SECONDS", 0.5)
    monkeypatch.setattr(s3, "_FIRST_RETRY_SECONDS", 0.5)


@pytest.fixture(params=["obstore", "boto3"])
def reader(request, monkeypatch):
    """Who reads the bodies."""
    if request.param == "obstore":
        pytest.importorskip("obstore", reason="obstore needs Python 3.11")
    else:
        monkeypatch.setitem(sys.modules, "obstore", None)
    return request.param


@pytest.fixture
def store():
    return s3.S3(connections=4)


@pytest.fixture
def bucket(store, request):
    name = f"bucket-{random.Random(request.node.name).randrange(1 << 40)}"
    store._client.create_bucket(Bucket=name)

    def put(key, body):
        store._client.put_object(Bucket=name, Key=key, Body=body)

    put.name = name
    return put


def test_any_key(store, bucket, reader):
    contents = {key: f"<{key}>".encode() for key in KEYS}
    for key, content in contents.items():
        bucket(key, content)
    objects = store.list_objects(f"s3://{bucket.name}")
    assert {found.uri for found in objects} == {f"s3://{bucket.name}/{key}" for key in KEYS}
    for found in objects:
        content = contents[s3.split_uri(found.uri)[1]]
        assert found.size == len(content)
        assert bytes(store.read(found, 0, found.size)) == content
        assert store.stat_object(found.uri, found.name) == found


def test_ranges(store, bucket, reader):
    content = random.Random(0).randbytes(100_000)
    bucket("x", content)
    (found,) = store.list_objects(f"s3://{bucket.name}/x")
    for start, end in [(0, 1), (0, 100_000), (99_999, 100_000), (12_345, 54_321)]:
        assert bytes(store.read(found, start, end)) == content[start:end]


def test_changed_and_missing(store, bucket, reader):
    bucket("x", b"old")
    (found,) = store.list_objects(f"s3://{bucket.name}/x")
    bucket("x", b"new")
    with pytest.raises(SourceError, match=f"'{found.uri}' has changed since the job began"):
        store.read(found, 0, 3)
    store._client.delete_object(Bucket=bucket.name, Key="x")
    with pytest.raises(SourceError, match=f"'{found.uri}' does not exist at http://127.0.0.1"):
        store.read(found, 0, 3)
    with pytest.raises(SourceError, match="does not exist"):
        store.stat_object(found.uri, "x")
    with pytest.raises(SourceError, match="there is no bucket 'nowhere' at"):
        store.list_objects("s3://nowhere/x")
    with pytest.raises(SourceError, match="there is no bucket 'nowhere' at"):
        store.read(DataObject("s3://nowhere/x", 3, '"etag"', "x"), 0, 3)


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        ("", "train/sub/a"),
        ("train", "sub/a"),
        ("train/", "sub/a"),
        ("train/s", "sub/a"),
        ("train/sub", "a"),
        ("train/sub/a", "a"),
        ("tr", "train/sub/a"),
    ],
)
def test_names_in_a_folder(store, bucket, prefix, name):
    bucket("train/sub/a", b"x")
    (found,) = store.list_objects(f"s3://{bucket.name}/{prefix}")
    assert found.name == name


def test_configuration_that_is_wrong(monkeypatch, tmp_path):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "not a url")
    with pytest.raises(SourceError, match="cannot use S3: Invalid endpoint: not a url"):
        s3.S3(connections=4)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(SourceError, match=r"no usable AWS credentials \(ProfileNotFound\)"):
        s3.S3(connections=4)


def test_what_a_credential_process_prints_stays_there(monkeypatch, tmp_path):
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    config = tmp_path / "config"
    config.write_text("[default]\ncredential_process = sh -c 'echo hidden >&2; exit 1'\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    with pytest.raises(SourceError, match="no usable AWS credentials") as info:
        s3.S3(connections=4).list_objects("s3://bucket/x")
    assert "hidden" not in str(info.value)


def test_amazon_is_known_by_its_name():
    assert s3._is_amazon("https://s3.eu-west-1.amazonaws.com")
    assert s3._is_amazon("https://s3.cn-north-1.amazonaws.com.cn")
    assert not s3._is_amazon("http://127.0.0.1:9000")
    assert not s3._is_amazon("https://amazonaws.com.example.org/amazonaws.com")


def test_what_a_manifest_names_stays_the_same_for_a_job(bucket, reader):
    uri = f"s3://{bucket.name}"
    lines = [json.dumps({"x-ref": f"{uri}/{key}"}) for key in ("first", "second")]
    bucket("manifest", "\n".join(lines))
    bucket("first", b"1")
    bucket("second", b"2")
    store = Store("test")
    items = store.items(f"{uri}/manifest", "AugmentedManifestFile", ("x-ref",))

    def epoch():
        bodies = Bodies(items, store, 1 << 20, lambda future: concurrent.futures.wait([future]))
        return [b"".join(map(bytes, body.pieces)) for body in bodies]

    try:
        assert epoch() == [b"1", b"2"]
        bucket("second", b"3")
        with pytest.raises(SourceError, match=f"'{uri}/second' has changed since the job began"):
            epoch()
    finally:
        store.close()


def test_an_upload_is_tried(store, bucket):
    store.try_upload(f"s3://{bucket.name}/x")
    assert store._client.list_objects_v2(Bucket=bucket.name)["KeyCount"] == 0
    assert "Uploads" not in store._client.list_multipart_uploads(Bucket=bucket.name)
    with pytest.raises(SourceError, match="'s3://no-bucket/x' cannot be written: S3 answers NoSu"):
        store.try_upload("s3://no-bucket/x")
