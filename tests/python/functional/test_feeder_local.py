# SPDX-License-Identifier: Apache-2.0
"""The channel feeder on local files, read through real FIFOs."""

import gzip
import itertools
import json
import os
import random
import re
import threading
from pathlib import Path

import pytest
from feeder_helpers import fed, open_descriptors, write_files
from hypothesis import given, settings
from hypothesis import strategies as st
from pipe_helpers import Background, wait_until
from sagemaker_tensorflow._feed.channel import Channel, ChannelError
from sagemaker_tensorflow._feed.channel_feeder import ChannelFeeder

# Around the size from which a file is handed on by splice, and more than a pipe holds.
SIZES = [0, 1, 65_535, 65_536, 65_537, 3_000_001]


@pytest.fixture
def pipe_dir(tmp_path):
    path = tmp_path / "pipes"
    path.mkdir()
    return path


@pytest.fixture
def data(tmp_path):
    rng = random.Random(1)
    contents = {f"part-{i}": rng.randbytes(size) for i, size in enumerate(SIZES)}
    return write_files(tmp_path / "data", contents), contents


def test_epoch_after_epoch(pipe_dir, data):
    folder, contents = data
    expected = b"".join(contents.values())
    before = open_descriptors()
    with fed(pipe_dir, folder) as channel:
        for epoch in range(5):
            assert channel.read(epoch) == expected
        # The next FIFO is there, and no other.
        wait_until(channel.fifo(5).exists)
        assert not channel.fifo(6).exists()
        progress = channel.feeder.snapshot()
        assert (progress.epochs_finished, progress.epochs_closed_early) == (5, 0)
        assert progress.bytes_written == 5 * len(expected)
        assert progress.objects_finished == 5 * len(SIZES)
        assert progress.total_bytes == len(expected)
        wait_until(lambda: channel.feeder.snapshot().state == "waiting for the script")
    assert channel.feeder.snapshot().state == "stopped"
    assert channel.feeder.error is None
    assert open_descriptors() == before


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a/one.rec", b"1"),
        ("a", b"1x2"),
        ("*/one.rec", b"14"),
        ("[ab]/*.rec", b"124"),
        ("**/*.rec", b"1x24"),
        ("a*", b"1x23"),
    ],
)
def test_what_a_path_means(pipe_dir, tmp_path, pattern, expected):
    contents = {"a/one.rec": b"1", "a/sub/x.rec": b"x", "a/two.rec": b"2", "ab": b"3"}
    folder = write_files(tmp_path / "data", contents | {"b/one.rec": b"4"})
    for uri in (folder / pattern, f"file://{folder / pattern}", os.path.relpath(folder / pattern)):
        with fed(pipe_dir, uri) as channel:
            assert channel.read(0) == expected


def test_a_path_that_looks_like_a_glob(pipe_dir, tmp_path):
    folder = write_files(tmp_path / "run[1]", {"x": b"x"})
    with fed(pipe_dir, folder) as channel:
        assert channel.read(0) == b"x"


def test_symbolic_links_are_followed(pipe_dir, tmp_path):
    write_files(tmp_path, {"elsewhere/b": b"2", "data/a": b"1"})
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "elsewhere")
    with fed(pipe_dir, tmp_path / "data") as channel:
        assert channel.read(0) == b"12"


def fails(pipe_dir, uri, **fields):
    feeder = ChannelFeeder(Channel("c", str(uri), **fields), str(pipe_dir))
    with pytest.raises(ChannelError) as info:
        feeder.prepare()
    feeder.stop()
    assert not list(pipe_dir.iterdir())
    assert str(info.value).startswith("channel 'c': ")
    return str(info.value)


def test_nothing_to_feed(pipe_dir, tmp_path):
    write_files(tmp_path, {"train-0": b"", "train-1": b""})
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "link").symlink_to("nowhere")
    (tmp_path / "loop").mkdir()
    (tmp_path / "loop" / "again").symlink_to(tmp_path / "loop")
    (tmp_path / "odd").mkdir()
    os.mkfifo(tmp_path / "odd" / "fifo")
    assert "missing' does not exist" in fails(pipe_dir, tmp_path / "missing")
    assert "write the glob" in fails(pipe_dir, tmp_path / "train")
    assert "no files in" in fails(pipe_dir, tmp_path / "empty")
    assert "no files in" in fails(pipe_dir, tmp_path / "*.rec")
    assert "broken/link': No such file" in fails(pipe_dir, tmp_path / "broken")
    assert "a folder that holds it" in fails(pipe_dir, tmp_path / "loop")
    assert "odd/fifo' is no regular file" in fails(pipe_dir, tmp_path / "odd")


gzip_members = st.lists(st.binary(max_size=300) | st.sampled_from([bytes(3_000_000)]), max_size=4)


@settings(deadline=None, max_examples=20)
@given(st.lists(gzip_members, min_size=1, max_size=3), st.booleans())
def test_gzip(tmp_path_factory, objects, padded):
    base = tmp_path_factory.mktemp("gzip")
    pipe_dir = base / "pipes"
    pipe_dir.mkdir()
    padding = bytes(512) if padded else b""
    contents = {
        str(i): b"".join(map(gzip.compress, members)) + (padding if members else b"")
        for i, members in enumerate(objects)
    }
    folder = write_files(base / "data", contents)
    with fed(pipe_dir, folder, compression="Gzip") as channel:
        assert channel.read(0) == b"".join(member for members in objects for member in members)
        assert channel.feeder.snapshot().total_bytes is None
    with fed(pipe_dir, folder, compression="Gzip", record_wrapper="RecordIO") as channel:
        assert channel.read_records(0) == [b"".join(members) for members in objects]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"not gzip", "is not gzip, or damaged"),
        (bytes(100), "is not gzip, or damaged"),
        (gzip.compress(b"a" * 1000, mtime=0)[:-1], "truncated"),
        (
            gzip.compress(b"a" * 1000, mtime=0) + gzip.compress(b"b" * 1000, mtime=0)[:-5],
            "truncated",
        ),
        (gzip.compress(b"a" * 1000, mtime=0) + b"garbage", "is not gzip, or damaged"),
        (gzip.compress(b"a" * 1000, mtime=0)[:-8] + bytes(8), "is not gzip, or damaged"),
    ],
)
def test_a_bad_gzip_object_never_ends_the_epoch(pipe_dir, tmp_path, content, problem):
    folder = write_files(tmp_path / "data", {"good": gzip.compress(b"x", mtime=0), "hurt": content})
    with fed(pipe_dir, folder, compression="Gzip") as channel, channel.open(0) as fifo:
        message = channel.wait_until_failed()
        assert message.startswith("channel 'c': ")
        assert problem in message
        assert str(folder / "hurt") in message
        assert channel.feeder.snapshot().object == str(folder / "hurt")
        os.set_blocking(fifo.fileno(), False)
        while (piece := fifo.read(1 << 16)) != b"" and piece is not None:
            pass
        assert piece is None  # the writer is still there


def test_record_wrapper(pipe_dir, data):
    folder, contents = data
    with fed(pipe_dir, folder, record_wrapper="RecordIO") as channel:
        assert channel.read_records(0) == list(contents.values())
        wait_until(channel.fifo(1).exists)
        progress = channel.feeder.snapshot()
        assert progress.bytes_written == progress.total_bytes


def test_an_object_too_large_for_a_record(pipe_dir, tmp_path):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(1 << 29)
    message = fails(pipe_dir, tmp_path / "large", record_wrapper="RecordIO")
    assert "has 536,870,912 bytes, and a RecordIO record holds less than 2^29" in message


def test_shuffling_and_sharding(pipe_dir, tmp_path):
    contents = {f"{i:02}": bytes([i]) for i in range(20)}
    folder = write_files(tmp_path / "data", contents)
    every = sorted(contents.values())

    def epochs(count=3, host_index=0, host_count=1, **fields):
        options = {"host_index": host_index, "host_count": host_count}
        with fed(pipe_dir, folder, options=options, **fields) as channel:
            return [[bytes([byte]) for byte in channel.read(epoch)] for epoch in range(count)]

    shuffled = epochs(shuffle_seed=7)
    assert all(sorted(epoch) == every for epoch in shuffled)
    assert len({tuple(epoch) for epoch in shuffled}) == 3
    assert epochs(shuffle_seed=7) == shuffled
    assert epochs(shuffle_seed=8) != shuffled
    assert epochs(shuffle_seed=7, host_index=1, host_count=3) == shuffled
    assert epochs() == [every] * 3

    for seed in (None, 7):
        shares = [
            epochs(
                host_index=host,
                host_count=3,
                shuffle_seed=seed,
                distribution="ShardedByS3Key",
            )
            for host in range(3)
        ]
        for epoch in range(3):
            assert sorted(itertools.chain(*(share[epoch] for share in shares))) == every
            assert {len(share[epoch]) for share in shares} == {6, 7}
        # With shuffling, another share each epoch; without, always the same.
        assert (len({frozenset(epoch) for epoch in shares[0]}) > 1) == (seed is not None)


def test_more_hosts_than_objects(pipe_dir, tmp_path):
    folder = write_files(tmp_path / "data", {"only": b"x"})
    options = {"host_index": 1, "host_count": 2}
    with fed(pipe_dir, folder, options=options, distribution="ShardedByS3Key") as channel:
        assert [channel.read(epoch) for epoch in range(3)] == [b"", b"", b""]


def test_manifest(pipe_dir, tmp_path):
    folder = write_files(tmp_path / "data", {"x-1": b"1", "x-2": b"2", "sub/x-3": b"3"})
    for prefix in (f"{folder}/", f"file://{folder}/", "data/", "file://data/"):
        manifest = tmp_path / "manifest.json"
        manifest.write_text(json.dumps([{"prefix": prefix}, "x-2", "sub/x-3", "x-1", "x-2"]))
        with fed(pipe_dir, manifest, data_type="ManifestFile") as channel:
            assert channel.read(0) == b"2312"
            assert channel.feeder.snapshot().total_bytes == 4


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is not valid JSON"),
        ("{}", "must be a JSON array"),
        ("[]", "must be a JSON array"),
        ('["a"]', "must be a JSON array"),
        ('[{"prefix": 1}, "a"]', "must be a JSON array"),
        ('[{"prefix": "p"}, 1]', "must be a JSON array"),
        ('[{"prefix": "p"}]', "lists no objects"),
        ('[{"prefix": "no/"}, "such"]', "no/such': No such file"),
        ('[{"prefix": "\xff"}]', "is not valid JSON"),
        ("[" * 100_000, "is nested too deeply"),
        ('[{"prefix": ""}, "../" ]', "names '../', which is outside of"),
        ('[{"prefix": "../../../../../../"}, "etc/passwd"]', "which is outside of"),
        ('[{"prefix": ""}, "data/../../pipes/x"]', "which is outside of"),
        ('[{"prefix": "/etc/"}, "passwd"]', "names '/etc/passwd', which is outside of"),
        ('[{"prefix": "file:///etc/"}, "passwd"]', "names 'file:///etc/passwd', which is outside"),
        ('[{"prefix": "link/"}, "passwd"]', "names 'link/passwd', which is outside of"),
        ('[{"prefix": "circle"}, "/x"]', "circle"),
        (r'[{"prefix": "\u0000"}, "x"]', r"names '\x00x', which is no path"),
        (r'[{"prefix": "\ud800"}, "x"]', r"names '\ud800x', which is no path"),
        ('[{"prefix": "/etc/"}, "' + 1000 * "x" + '"]', 50 * "x" + "…, which is outside of"),
    ],
)
def test_a_bad_manifest(pipe_dir, tmp_path, text, problem):
    manifest = tmp_path / "data" / "manifest.json"
    manifest.parent.mkdir()
    (manifest.parent / "link").symlink_to("/etc")
    (manifest.parent / "circle").symlink_to("circle")
    manifest.write_bytes(text.encode("latin-1"))
    assert problem in fails(pipe_dir, manifest, data_type="ManifestFile")


def augmented(tmp_path, lines):
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("\n".join(lines), encoding="utf-8")
    return manifest


AUGMENTED = {"data_type": "AugmentedManifestFile", "record_wrapper": "RecordIO"}


def test_augmented_manifest(pipe_dir, tmp_path):
    images = {f"{i}.png": random.Random(i).randbytes(50_000 * i) for i in range(4)}
    write_files(tmp_path / "images", images)
    refs = ["images/0.png", f"{tmp_path}/images/1.png", f"file://{tmp_path}/images/2.png"]
    refs.append("images/3.png")
    labels = [0, "très bon", {"boxes": [1, 2.5], "who": "ü"}, None]
    lines = [
        json.dumps({"label": label, "unused": 1, "image-ref": ref})
        for label, ref in zip(labels, refs, strict=True)
    ]
    manifest = augmented(tmp_path, [*lines[:2], "", *lines[2:]])
    values = [b"0", "très bon".encode(), '{"boxes":[1,2.5],"who":"ü"}'.encode(), b"null"]
    expected = [record for pair in zip(images.values(), values, strict=True) for record in pair]
    fields = AUGMENTED | {"attribute_names": ("image-ref", "label")}
    with fed(pipe_dir, manifest, **fields) as channel:
        assert channel.read_records(0) == expected
        assert channel.feeder.snapshot().total_bytes is not None
    # Without the wrapper nothing is between them, as in the service.
    with fed(pipe_dir, manifest, **fields | {"record_wrapper": "None"}) as channel:
        assert channel.read(0) == b"".join(expected)
    # Shuffling keeps the attributes of a line together.
    with fed(pipe_dir, manifest, **fields, shuffle_seed=3) as channel:
        orders = []
        for epoch in range(4):
            records = channel.read_records(epoch)
            pairs = list(zip(records[::2], records[1::2], strict=True))
            assert set(pairs) == set(zip(images.values(), values, strict=True))
            orders.append(tuple(pairs))
        assert len(set(orders)) > 1


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "line 2 of manifest .* is not valid JSON"),
        ("[1]", "line 2 of manifest .* is no JSON object"),
        ('{"label": 1}', "line 2 of manifest .* has no attribute 'image-ref'; it has: 'label'"),
        ('{"image-ref": 7, "label": 1}', "'image-ref' must be the URI of an object, not 7"),
        ('{"image-ref": "nowhere.png", "label": 1}', "nowhere.png': No such file"),
        ('{"image-ref": "/etc/passwd", "label": 1}', "names '/etc/passwd', which is outside of"),
        (r'{"image-ref": "a.png", "label": "\ud800"}', "'label' holds half a character"),
        ('{"image-ref": "a.png", "label": ' + "[" * 100_000, "line 2 .* is nested too deeply"),
        (json.dumps({"image-ref": ["x" * 100], "label": 1}), "not \\['x{40,60}…$"),
        (json.dumps({f"{i:02}" * 50: 1 for i in range(30)}), "it has: '0+…, .*'[19]+…, …$"),
    ],
)
def test_a_bad_line(pipe_dir, tmp_path, line, problem):
    write_files(tmp_path, {"a.png": b"a"})
    manifest = augmented(tmp_path, ['{"image-ref": "a.png", "label": 1}', line])
    fields = AUGMENTED | {"attribute_names": ("image-ref", "label")}
    assert re.search(problem, fails(pipe_dir, manifest, **fields))


def test_a_reader_that_closes_early(pipe_dir, data):
    folder, contents = data
    expected = b"".join(contents.values())
    with fed(pipe_dir, folder) as channel:
        for epoch in range(0, 6, 2):
            with channel.open(epoch) as fifo:
                assert Background(fifo.read, 1000).result()
            assert channel.read(epoch + 1) == expected
        wait_until(lambda: channel.feeder.snapshot().epochs_finished == 3)
        assert channel.feeder.snapshot().epochs_closed_early == 3
        assert channel.feeder.error is None


def test_never_opened_and_opened_late(pipe_dir, data):
    folder, contents = data
    with fed(pipe_dir, folder) as channel:
        wait_until(channel.fifo(0).exists)
    with fed(pipe_dir, folder) as channel:
        wait_until(lambda: channel.feeder.snapshot().seconds_waiting_for_reader > 0.3)
        assert channel.read(0) == b"".join(contents.values())


def test_stop_in_the_midst(pipe_dir, data):
    folder, _ = data
    with fed(pipe_dir, folder) as channel, channel.open(0) as fifo:
        Background(fifo.read, 1000).result()
        wait_until(lambda: channel.feeder.snapshot().state == "waiting for the script")
        stopped = Background(channel.feeder.stop)
        stopped.result(5)
        channel.feeder.stop()  # again, as often as one likes
    assert channel.feeder.error is None


def test_stop_without_start(pipe_dir, data):
    feeder = ChannelFeeder(Channel("c", str(data[0])), str(pipe_dir))
    with pytest.raises(RuntimeError):
        feeder.start()
    feeder.prepare()
    feeder.stop()


def test_a_file_that_changes(pipe_dir, tmp_path):
    folder = write_files(tmp_path / "data", {"a": bytes(5_000_000), "b": b"b"})

    def read_while_changing(change):
        with fed(pipe_dir, folder) as channel:
            with channel.open(0) as fifo:
                Background(fifo.read, 1000).result()
                change()
                reader = Background(fifo.readall)
                message = channel.wait_until_failed()
                assert reader.is_alive()  # no end of file
                channel.feeder.stop()
                reader.result()
            assert f"'{folder / 'a'}' has changed since the job began" in message

    def append():
        with (folder / "a").open("ab") as file:
            file.write(b"more")

    read_while_changing(append)
    read_while_changing(lambda: os.truncate(folder / "a", 10))

    # Between two epochs, too, and where a file is new under the old name.
    write_files(folder, {"a": b"old"})
    with fed(pipe_dir, folder) as channel:
        assert channel.read(0) == b"oldb"
        wait_until(channel.fifo(1).exists)
        write_files(tmp_path, {"new": b"new"})
        (tmp_path / "new").rename(folder / "a")
        with channel.open(1):
            assert "has changed since the job began" in channel.wait_until_failed()


def test_a_file_that_changes_in_the_pipe(pipe_dir, tmp_path):
    """All of it is sent, and none is read: what the pipe has is the file's own memory."""
    folder = write_files(tmp_path / "data", {"a": bytes(500_000)})

    def overwrite():
        with (folder / "a").open("r+b") as file:
            file.write(b"new")

    def sent(channel):
        wait_until(lambda: channel.feeder.snapshot().epochs_finished == 1)

    with fed(pipe_dir, folder) as channel:
        with channel.open(0) as fifo:
            sent(channel)
            overwrite()
            Background(fifo.readall).result()
        assert f"'{folder / 'a'}' has changed since the job began" in channel.wait_until_failed()
    # And where the script, and with it the job, has ended by then.
    with fed(pipe_dir, folder) as channel, channel.open(0):
        sent(channel)
        overwrite()
        assert channel.feeder.error is None
        channel.feeder.stop()
        assert "has changed since the job began" in str(channel.feeder.error)
    # Another file under its name is no fault: not a byte of it was sent.
    with fed(pipe_dir, folder) as channel, channel.open(0):
        sent(channel)
        write_files(tmp_path, {"new": b"new"})
        (tmp_path / "new").rename(folder / "a")
        channel.feeder.stop()
        assert channel.feeder.error is None


def test_a_file_that_is_removed(pipe_dir, tmp_path):
    folder = write_files(tmp_path / "data", {"a": b"a"})
    with fed(pipe_dir, folder) as channel:
        wait_until(channel.fifo(0).exists)
        (folder / "a").unlink()
        with channel.open(0):
            assert "data/a': No such file" in channel.wait_until_failed()


def test_what_an_earlier_job_left(pipe_dir, data):
    folder, _ = data
    for name in ("c_0", "c_7", "c_0_0", "d_0"):
        os.mkfifo(pipe_dir / name)
    channel = Channel("c", str(folder))
    feeder = ChannelFeeder(channel, str(pipe_dir))
    feeder.prepare()
    assert sorted(path.name for path in pipe_dir.iterdir()) == ["c_0_0", "d_0"]
    (pipe_dir / "c_3").write_bytes(b"somebody's data")
    with pytest.raises(ChannelError, match="c_3"):
        feeder.prepare()
    feeder.stop()
    assert (pipe_dir / "c_3").read_bytes() == b"somebody's data"


def test_channels_at_once(pipe_dir, data):
    folder, contents = data
    expected = b"".join(contents.values())
    with fed(pipe_dir, folder, name="a") as first, fed(pipe_dir, folder, name="a_0") as second:
        readers = [
            Background(lambda channel=channel: [channel.read(epoch) for epoch in range(5)])
            for channel in (first, second)
        ]
        for reader in readers:
            assert reader.result() == [expected] * 5


def test_progress_while_it_runs(pipe_dir, data):
    folder, contents = data
    total = sum(map(len, contents.values()))
    with fed(pipe_dir, folder) as channel, channel.open(0) as fifo:
        seen = [channel.feeder.snapshot()]
        while Background(fifo.read, 100_000).result():
            seen.append(channel.feeder.snapshot())
        wait_until(lambda: channel.feeder.snapshot().epochs_finished == 1)
        seen.append(channel.feeder.snapshot())
    for before, after in itertools.pairwise(seen):
        for field in ("bytes_written", "objects_finished", "seconds_waiting_for_reader"):
            assert getattr(before, field) <= getattr(after, field)
    assert seen[-1].bytes_written == total
    assert str(folder / "part-5") in {progress.object for progress in seen}


@pytest.mark.parametrize("mode", ["File", "FastFile"])
def test_a_folder_of_files(pipe_dir, tmp_path, mode):
    contents = {"a": b"1", "sub/b": b"22", "sub/deep/c": bytes(3_000_000)}
    folder = write_files(tmp_path / "data", contents)
    feeder = ChannelFeeder(Channel("c", str(folder), mode=mode), str(pipe_dir))
    feeder.prepare()
    feeder.start()
    laid_out = pipe_dir / "c"
    assert {
        str(path.relative_to(laid_out)): path.read_bytes()
        for path in laid_out.rglob("*")
        if path.is_file()
    } == contents
    assert (laid_out / "a").is_symlink() == (mode == "FastFile")
    progress = feeder.snapshot()
    assert (progress.state, progress.objects_finished) == ("stopped", 3)
    feeder.stop()
    assert laid_out.is_dir()  # it goes with the job's folder
    assert [path.name for path in pipe_dir.iterdir()] == ["c"]

    again = ChannelFeeder(Channel("c", str(folder), mode=mode), str(pipe_dir))
    with pytest.raises(ChannelError, match="is not empty: remove it"):
        again.prepare()


def test_a_folder_of_one_file_and_of_a_share(pipe_dir, tmp_path):
    folder = write_files(tmp_path / "data", {f"{i}.rec": b"x" for i in range(5)})
    feeder = ChannelFeeder(Channel("one", str(folder / "3.rec"), mode="File"), str(pipe_dir))
    feeder.prepare()
    assert [path.name for path in (pipe_dir / "one").iterdir()] == ["3.rec"]
    shares = []
    for host in range(2):
        channel = Channel(
            f"s{host}", str(folder / "*.rec"), mode="FastFile", distribution="ShardedByS3Key"
        )
        ChannelFeeder(channel, str(pipe_dir), host_index=host, host_count=2).prepare()
        shares.append({path.name for path in (pipe_dir / f"s{host}").iterdir()})
    assert not shares[0] & shares[1]
    assert shares[0] | shares[1] == {f"{i}.rec" for i in range(5)}


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["a", "../b"], "'../b' is no path within a folder"),
        (["a", "a"], "another object is in its way"),
    ],
)
def test_what_cannot_be_files(pipe_dir, tmp_path, names, problem):
    write_files(tmp_path, {"data/a": b"a", "b": b"b"})
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps([{"prefix": f"{tmp_path}/data/"}, *names]))
    assert problem in fails(pipe_dir, manifest, data_type="ManifestFile", mode="File")


def test_a_folder_that_fails_is_removed(pipe_dir, tmp_path):
    folder = write_files(tmp_path / "data", {"a": b"a", "b": b"b"})
    feeder = ChannelFeeder(Channel("c", str(folder), mode="File"), str(pipe_dir))
    # The second file goes between listing and copying.
    store_items = feeder._store.items

    def items(*source):
        found = store_items(*source)
        (folder / "b").unlink()
        return found

    feeder._store.items = items
    with pytest.raises(ChannelError, match="data/b': No such file"):
        feeder.prepare()
    assert not list(pipe_dir.iterdir())


def test_the_threads_end(pipe_dir, data):
    before = threading.active_count()
    with fed(pipe_dir, data[0]) as channel:
        channel.read(0)
    assert threading.active_count() == before
    assert not Path(channel.fifo(0)).exists()


def test_filling_a_folder_can_be_watched(pipe_dir, tmp_path):
    """What runs while a channel is prepared sees how far that is."""
    folder = write_files(tmp_path / "data", {f"{i}": bytes(3_000_000) for i in range(3)})
    feeder = ChannelFeeder(Channel("c", str(folder), mode="File"), str(pipe_dir))
    seen = []
    add_bytes = feeder._meter.add_bytes

    def watched(count):
        add_bytes(count)
        seen.append(feeder.snapshot())

    feeder._meter.add_bytes = watched
    feeder.prepare()
    assert {progress.state for progress in seen} == {"waiting for the source"}
    assert {progress.total_bytes for progress in seen} == {9_000_000}
    assert seen[-1].epoch_bytes_written == 9_000_000
    assert feeder.snapshot().state == "stopped"
    feeder.stop()
