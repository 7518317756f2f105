# SPDX-License-Identifier: Apache-2.0
"""The channel feeder on a real S3 server, whole and broken."""

import asyncio
import gzip
import importlib.util
import itertools
import json
import logging
import random
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
from feeder_helpers import fed
from pipe_helpers import Background, wait_until
from s3_server import ACCESS_KEY, BUCKET, SECRET_KEY, Proxy
from sagemaker_tensorflow._feed.channel import Channel, ChannelError
from sagemaker_tensorflow._feed.channel_feeder import ChannelFeeder
from sagemaker_tensorflow._storage import s3

pytestmark = [pytest.mark.long, pytest.mark.usefixtures("s3_environment")]

MIB = 1 << 20

_numbers = itertools.count()


@pytest.fixture(params=["obstore", "boto3"])
def reader(request, monkeypatch):
    """Who reads the bodies."""
    if request.param == "obstore":
        pytest.importorskip("obstore", reason="obstore needs Python 3.11")
    else:
        monkeypatch.setitem(sys.modules, "obstore", None)
    return request.param


@pytest.fixture
def folder(s3_server):
    return Folder(s3_server.client, f"test-{next(_numbers):04}")


class Folder:
    """What begins with a prefix that no other test has."""

    def __init__(self, client, prefix):
        self.client, self.prefix, self.uri = client, prefix, f"s3://{BUCKET}/{prefix}"

    def put(self, contents):
        for key, content in contents.items():
            self.client.put_object(Bucket=BUCKET, Key=f"{self.prefix}/{key}", Body=content)

    def put_many(self, contents):
        """The same for very many, by whoever is fast."""
        if importlib.util.find_spec("obstore"):
            asyncio.run(self._put_many(contents))
            return
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda item: self.put(dict([item])), contents.items()))

    async def _put_many(self, contents):
        import obstore
        from obstore.store import S3Store

        store = S3Store(
            BUCKET,
            prefix=self.prefix,
            endpoint=self.client.meta.endpoint_url,
            access_key_id=ACCESS_KEY,
            secret_access_key=SECRET_KEY,
            client_options={"allow_http": True},
        )
        places = asyncio.Semaphore(16)

        async def put(key, content):
            async with places:
                await obstore.put_async(store, key, content, use_multipart=False)

        await asyncio.gather(*itertools.starmap(put, contents.items()))

    def delete(self, key):
        self.client.delete_object(Bucket=BUCKET, Key=f"{self.prefix}/{key}")


@pytest.fixture
def pipe_dir(tmp_path):
    path = tmp_path / "pipes"
    path.mkdir()
    return path


@pytest.fixture
def proxy(monkeypatch, s3_server):
    proxy = Proxy(s3_server.port)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", proxy.endpoint)
    yield proxy
    proxy.close()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(s3, "_RETRY_SECONDS", 1.0)
    monkeypatch.setattr(s3, "_FIRST_RETRY_SECONDS", 1.0)


def fails(pipe_dir, uri, **fields):
    feeder = ChannelFeeder(Channel("c", uri, **fields), str(pipe_dir))
    try:
        with pytest.raises(ChannelError) as info:
            feeder.prepare()
    finally:
        feeder.stop()
    assert not list(pipe_dir.iterdir())
    text = "".join(traceback.format_exception(info.value))
    assert SECRET_KEY not in text
    assert ACCESS_KEY not in text
    return str(info.value)


def random_bytes(size, seed=0):
    return random.Random(seed).randbytes(size)


def test_a_prefix_is_a_string(pipe_dir, folder, reader):
    folder.put({"keys/a": b"1", "keys/a0": b"2", "keys/a/x": b"3", "keys/b": b"4", "keys": b"5"})
    for prefix, expected in {"/keys/a": b"132", "/keys/": b"1324", "": b"51324"}.items():
        with fed(pipe_dir, folder.uri + prefix) as channel:
            assert channel.read(0) == expected
            assert channel.feeder.snapshot().total_bytes == len(expected)


def test_sizes_and_epochs(pipe_dir, folder, reader):
    sizes = [0, 1, 3, 70_000, 5 * MIB + 1, 17 * MIB]
    contents = {f"{i}": random_bytes(size, i) for i, size in enumerate(sizes)}
    folder.put(contents)
    with fed(pipe_dir, folder.uri) as channel:
        for epoch in range(3):
            assert channel.read(epoch) == b"".join(contents.values())
    # Parts much smaller than the objects.
    with fed(pipe_dir, folder.uri, options={"read_ahead_bytes": MIB}) as channel:
        assert channel.read(0) == b"".join(contents.values())
    with fed(pipe_dir, folder.uri, record_wrapper="RecordIO") as channel:
        assert channel.read_records(0) == list(contents.values())


def test_gzip(pipe_dir, folder, reader):
    content = random_bytes(2 * MIB) + bytes(5 * MIB)
    folder.put(
        {"a": gzip.compress(content) + gzip.compress(b"second"), "b": gzip.compress(b"third")}
    )
    with fed(
        pipe_dir, folder.uri, compression="Gzip", options={"read_ahead_bytes": MIB}
    ) as channel:
        assert channel.read(0) == content + b"secondthird"


def test_ten_thousand_small_objects(pipe_dir, folder):
    contents = {f"{i:05}": random_bytes(i % 300, i) for i in range(10_000)}
    folder.put_many(contents)
    with fed(pipe_dir, folder.uri, record_wrapper="RecordIO", shuffle_seed=1) as channel:
        records = channel.read_records(0)
        assert sorted(records) == sorted(contents.values())
        assert records != list(contents.values())
        assert channel.feeder.snapshot().objects_finished == 10_000


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_gigabytes(pipe_dir, folder, reader, tmp_path):
    block = random_bytes(64 * MIB)
    path = tmp_path / "large"
    with path.open("wb") as file:
        for _ in range(32):
            file.write(block)
    folder.client.upload_file(str(path), BUCKET, f"{folder.prefix}/large")
    path.unlink()
    with fed(pipe_dir, folder.uri) as channel, channel.open(0) as fifo:
        fifo_reader = Background(read_in_blocks, fifo, len(block))
        blocks = fifo_reader.result(300)
    assert len(blocks) == 32
    assert set(blocks) == {hash(block)}


def read_in_blocks(fifo, size):
    """Hashes of the blocks of a stream."""
    hashes = []
    block = bytearray(size)
    while True:
        filled = 0
        while filled < size and (count := fifo.readinto(memoryview(block)[filled:])):
            filled += count
        if filled == 0:
            return hashes
        hashes.append(hash(bytes(block[:filled])))


def test_manifests(pipe_dir, folder, reader):
    folder.put({"data/1": b"1", "data/2": b"22", "data/sub/3": b"333", "empty": b""})
    entries = [{"prefix": f"{folder.uri}/data/"}, "sub/3", "1", "2"]
    lines = [
        json.dumps({"image-ref": f"{folder.uri}/{key}", "label": label})
        for key, label in (("data/2", 2), ("empty", 0), ("data/1", 1))
    ]
    folder.put({"manifest": json.dumps(entries), "lines": "\n".join(lines)})
    with fed(pipe_dir, f"{folder.uri}/manifest", data_type="ManifestFile") as channel:
        assert [channel.read(epoch) for epoch in range(2)] == [b"333122"] * 2
    fields = {
        "data_type": "AugmentedManifestFile",
        "attribute_names": ("label", "image-ref"),
        "record_wrapper": "RecordIO",
    }
    with fed(pipe_dir, f"{folder.uri}/lines", **fields) as channel:
        assert channel.read_records(0) == [b"2", b"22", b"0", b"", b"1", b"1"]


def test_a_local_manifest_of_objects_in_s3(pipe_dir, folder, tmp_path, reader):
    folder.put({"image": b"image"})
    (tmp_path / "here").write_bytes(b"here")
    manifest = tmp_path / "manifest"
    lines = [{"x-ref": f"{folder.uri}/image"}, {"x-ref": "here"}, {"x-ref": f"{folder.uri}/image"}]
    manifest.write_text("\n".join(map(json.dumps, lines)))
    with fed(
        pipe_dir, manifest, data_type="AugmentedManifestFile", attribute_names=("x-ref",)
    ) as channel:
        assert channel.read(0) == b"imagehereimage"


def test_what_a_manifest_names_wrongly(pipe_dir, folder, impatient):
    folder.put(
        {
            "one": b"1",
            "first": json.dumps([{"prefix": f"{folder.uri}/"}, "none"]),
            "later": json.dumps([{"prefix": f"{folder.uri}/"}, "one", "none"]),
            "local": json.dumps([{"prefix": "/tmp/"}, "one"]),
        }
    )
    manifest = {"data_type": "ManifestFile"}
    assert f"'{folder.uri}/none' does not exist" in fails(
        pipe_dir, f"{folder.uri}/first", **manifest
    )
    assert "full s3:// URIs are needed" in fails(pipe_dir, f"{folder.uri}/local", **manifest)
    with fed(pipe_dir, f"{folder.uri}/later", **manifest) as channel, channel.open(0):
        message = channel.wait_until_failed()
        assert message.startswith(f"channel 'c': '{folder.uri}/none' does not exist")


def test_nothing_there(pipe_dir, folder, s3_server):
    folder.put({"folder/": b"", "x": b"x"})
    assert f"no object's key begins with '{folder.uri}/y'" in fails(pipe_dir, f"{folder.uri}/y")
    # A console's "folder" is no object.
    assert "no object's key begins" in fails(pipe_dir, f"{folder.uri}/folder/")
    message = fails(pipe_dir, "s3://there-is-none/x")
    assert f"there is no bucket 'there-is-none' at {s3_server.endpoint}" in message
    assert "does not exist" in fails(pipe_dir, f"{folder.uri}/y", data_type="ManifestFile")
    assert "is a bucket and no object" in fails(
        pipe_dir, f"s3://{BUCKET}", data_type="ManifestFile"
    )
    assert "nvalid bucket name" in fails(pipe_dir, "s3://not a bucket/x")


@pytest.mark.parametrize(
    ("variable", "value", "code"),
    [
        ("AWS_SECRET_ACCESS_KEY", "wrong-secret", "SignatureDoesNotMatch"),
        ("AWS_ACCESS_KEY_ID", "unknown-key", "InvalidAccessKeyId"),
    ],
)
def test_bad_credentials(pipe_dir, folder, monkeypatch, caplog, variable, value, code):
    caplog.set_level(logging.DEBUG, "sagemaker_tensorflow")
    folder.put({"x": b"x"})
    monkeypatch.setenv(variable, value)
    message = fails(pipe_dir, folder.uri)
    assert f"S3 refuses access ({code}). Check the credentials in use" in message
    for secret in (value, SECRET_KEY, ACCESS_KEY):
        assert secret not in message
        assert secret not in caplog.text


def test_no_credentials(pipe_dir, folder, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert "no usable AWS credentials (NoCredentialsError). Set" in fails(pipe_dir, folder.uri)
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert "no usable AWS credentials (ProfileNotFound). Set" in fails(pipe_dir, folder.uri)


def test_a_profile(pipe_dir, folder, monkeypatch, tmp_path, reader, s3_server):
    folder.put({"x": b"x"})
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(variable)
    config = tmp_path / "config"
    config.write_text(
        f"[profile me]\naws_access_key_id = {ACCESS_KEY}\n"
        f"aws_secret_access_key = {SECRET_KEY}\nendpoint_url = {s3_server.endpoint}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(config))
    monkeypatch.setenv("AWS_PROFILE", "me")
    with fed(pipe_dir, folder.uri) as channel:
        assert channel.read(0) == b"x"


def test_no_boto3(pipe_dir, monkeypatch):
    monkeypatch.setitem(sys.modules, "boto3", None)
    message = fails(pipe_dir, "s3://bucket/x")
    assert message == (
        "channel 'c': reading s3:// needs boto3: pip install 'sagemaker_tensorflow[s3]'"
    )


def test_nobody_answers(pipe_dir, folder, proxy, impatient):
    proxy.is_refusing = True
    message = fails(pipe_dir, folder.uri)
    assert "cannot be read, tried for 1 s" in message
    assert proxy.endpoint in message
    proxy.close()
    assert "EndpointConnectionError" in fails(pipe_dir, folder.uri)


@pytest.mark.parametrize("cut_at_byte", [0, 100, 1000, 300_000, 5 * MIB])
def test_cut_connections(pipe_dir, folder, proxy, reader, cut_at_byte):
    contents = {f"{i}": random_bytes(size, i) for i, size in enumerate([10, 12 * MIB, 2000])}
    folder.put(contents)
    with fed(pipe_dir, folder.uri) as channel:
        proxy.cut_at_byte, proxy.faults = cut_at_byte, 4
        for epoch in range(2):
            assert channel.read(epoch, timeout=60) == b"".join(contents.values())
        assert proxy.faults < 4


def test_a_connection_that_hangs(pipe_dir, folder, proxy, reader, monkeypatch):
    monkeypatch.setattr(s3, "_READ_SECONDS", 1)
    content = random_bytes(9 * MIB)
    folder.put({"x": content})
    with fed(pipe_dir, folder.uri) as channel:
        proxy.is_hanging, proxy.cut_at_byte, proxy.faults = True, 300_000, 2
        assert channel.read(0) == content
        assert proxy.faults == 0


def test_a_server_that_goes_away(pipe_dir, folder, proxy, reader, impatient):
    content = random_bytes(12 * MIB)
    folder.put({"some/object": content})
    options = {"read_ahead_bytes": MIB}
    with fed(pipe_dir, folder.uri, options=options) as channel, channel.open(0) as fifo:
        received = Background(fifo.read, 1000).result()
        proxy.is_refusing = True
        rest = Background(fifo.readall)
        message = channel.wait_until_failed()
        assert f"'{folder.uri}/some/object' cannot be read, tried for 1 s" in message
        assert rest.is_alive()  # no end of file
        channel.feeder.stop()
        received += rest.result()
    assert content.startswith(received)
    assert len(received) < len(content)


@pytest.mark.parametrize("removed", [False, True])
def test_an_object_that_changes(pipe_dir, folder, reader, removed):
    old, new = random_bytes(12 * MIB, 1), random_bytes(12 * MIB, 2)
    folder.put({"x": old})
    options = {"read_ahead_bytes": MIB}
    with fed(pipe_dir, folder.uri, options=options) as channel, channel.open(0) as fifo:
        received = Background(fifo.read, 1000).result()
        if removed:
            folder.delete("x")
        else:
            folder.put({"x": new})
        rest = Background(fifo.readall)
        message = channel.wait_until_failed()
        problem = "does not exist" if removed else "has changed since the job began"
        assert f"'{folder.uri}/x' {problem}" in message
        assert rest.is_alive()  # no end of file
        channel.feeder.stop()
        received += rest.result()
    assert old.startswith(received)


def test_an_object_that_changes_between_epochs(pipe_dir, folder, reader):
    folder.put({"x": b"old"})
    with fed(pipe_dir, folder.uri) as channel:
        wait_until(channel.fifo(0).exists)
        assert channel.read(0) == b"old"
        folder.put({"x": b"new"})
        wait_until(channel.fifo(1).exists)
        content = None
        with channel.open(1) as fifo:
            # It may have been fetched ahead, before it changed.
            wait_until(
                lambda: channel.feeder.error or channel.feeder.snapshot().epochs_finished == 2
            )
            if channel.feeder.error is None:
                content = Background(fifo.readall).result()
        assert content in (None, b"old")


def test_never_opened(pipe_dir, folder, proxy, reader):
    folder.put({"x": random_bytes(30 * MIB)})
    options = {"read_ahead_bytes": 2 * MIB}
    with fed(pipe_dir, folder.uri, options=options) as channel:
        wait_until(lambda: proxy.bytes_sent > MIB)
        wait_until(lambda: channel.feeder.snapshot().seconds_waiting_for_reader > 0.3)
    # What was fetched ahead keeps within the budget.
    assert proxy.bytes_sent < 3 * MIB


def test_half_read_and_opened_late(pipe_dir, folder, reader):
    content = random_bytes(20 * MIB)
    folder.put({"x": content})
    with fed(pipe_dir, folder.uri) as channel:
        with channel.open(0) as fifo:
            assert Background(fifo.read, 1000).result()
        wait_until(channel.fifo(1).exists)
        wait_until(lambda: channel.feeder.snapshot().seconds_waiting_for_reader > 0.3)
        assert channel.read(1) == content
        wait_until(channel.fifo(2).exists)
        progress = channel.feeder.snapshot()
        assert (progress.epochs_closed_early, progress.epochs_finished) == (1, 1)


def test_stop_while_the_server_is_away(pipe_dir, folder, proxy, reader):
    folder.put({"x": random_bytes(12 * MIB)})
    options = {"read_ahead_bytes": MIB}
    with fed(pipe_dir, folder.uri, options=options) as channel, channel.open(0) as fifo:
        Background(fifo.read, 1000).result()
        proxy.is_refusing = True
        rest = Background(fifo.readall)
        wait_until(lambda: channel.feeder.snapshot().state == "waiting for the source")
        Background(channel.feeder.stop).result(5)
        rest.result()
    assert channel.feeder.error is None


def test_two_feeders_at_once(pipe_dir, folder, reader):
    contents = {f"{i}": random_bytes(3 * MIB, i) for i in range(4)}
    folder.put(contents)
    sharded = {"distribution": "ShardedByS3Key", "shuffle_seed": 5}
    hosts = []
    for host in range(2):
        (pipe_dir / str(host)).mkdir()
        hosts.append({"host_index": host, "host_count": 2})
    with (
        fed(pipe_dir / "0", folder.uri, name="a", options=hosts[0], **sharded) as first,
        fed(pipe_dir / "1", folder.uri, name="b", options=hosts[1], **sharded) as second,
    ):
        for epoch in range(3):
            readers = [Background(channel.read, epoch) for channel in (first, second)]
            shares = [background.result() for background in readers]
            pieces = [
                share[at : at + 3 * MIB] for share in shares for at in range(0, len(share), 3 * MIB)
            ]
            assert sorted(pieces) == sorted(contents.values())


@pytest.mark.parametrize("mode", ["File", "FastFile"])
def test_a_folder_of_objects(pipe_dir, folder, reader, mode):
    contents = {"train/a": b"1", "train/sub/b": random_bytes(9 * MIB), "train0": b"", "other": b"4"}
    folder.put(contents)
    expected = {
        "/train/": {"a": "train/a", "sub/b": "train/sub/b"},
        "/train": {"a": "train/a", "sub/b": "train/sub/b", "train0": "train0"},
        "/train/s": {"sub/b": "train/sub/b"},
        "/train/a": {"a": "train/a"},
        "": {key: key for key in contents},
    }
    for number, (prefix, names) in enumerate(expected.items()):
        channel = Channel(f"c{number}", folder.uri + prefix, mode=mode)
        feeder = ChannelFeeder(channel, str(pipe_dir))
        feeder.prepare()
        feeder.stop()
        made = pipe_dir / channel.name
        found = {str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()}
        assert found == set(names)
        for name, key in names.items():
            assert (made / name).read_bytes() == contents[key]
