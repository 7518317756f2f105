# SPDX-License-Identifier: Apache-2.0
"""A channel in File mode: each file is read as a file, and nothing is lost between two of them."""

import bisect
import contextlib
import gzip
import itertools
import json
import os
import subprocess
import sys
import time

import pytest
import tensorflow as tf
from dataset_helpers import LIMIT, read, records
from dataset_helpers import make_any_mode as make
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipe_helpers import FORMATS, lists_of_records, stream
from sagemaker_tensorflow import channel_stats
from sagemaker_tensorflow.records import DataLossError, RecordReader

pytestmark = pytest.mark.long

property_test = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def numbered(count, prefix=b""):
    return [b"%s%d" % (prefix, number) for number in range(count)]


def read_on(dataset):
    """All that can be read, and the message of each error in between."""
    elements, messages = [], []
    iterator = iter(dataset)
    while True:
        try:
            elements.append(next(iterator).numpy())
        except StopIteration:
            return elements, messages
        except tf.errors.OpError as error:
            messages.append(error.message)


def path_of(job, name, channel="training"):
    return job.pipe_dir / channel / name


# The seams between files.


@pytest.mark.parametrize("missing", [1, 10, 30, "the length of the next file"])
def test_recordio_that_is_cut_does_not_go_on_in_the_next_file(write, missing):
    files = {name: numbered(5, name.encode()) for name in "abc"}
    contents = {name: stream(content, "RecordIO") for name, content in files.items()}
    # The last record of the cut file is as long as all of the next one, and more.
    files["b"].append(b"x" * 1000)
    contents["b"] = stream(files["b"], "RecordIO")
    if isinstance(missing, str):
        missing = len(contents["c"])
    contents["b"] = contents["b"][:-missing]
    job = write(contents)
    ds = make(record_format="RecordIO")
    elements, error = read(ds)
    assert elements == files["a"] + files["b"][:-1]
    assert isinstance(error, tf.errors.DataLossError)
    at = len(stream(files["b"][:-1], "RecordIO"))
    where = f"channel 'training' file '{path_of(job, 'b')}': record 5 at byte {at}: the stream ends"
    assert where in error.message
    assert read_on(ds) == (files["a"] + files["b"][:-1] + files["c"], [error.message])
    assert records(ds.ignore_errors()) == files["a"] + files["b"][:-1] + files["c"]


def test_text_without_a_final_newline(write):
    write({"a": b"1,a", "b": b"h,x\n", "c": b"2,b\n3,c"})
    assert records(make(record_format="TextLine")) == [b"1,a", b"h,x", b"2,b", b"3,c"]


@pytest.mark.parametrize("skip", [0, 5])
def test_a_tfrecord_that_is_cut_costs_nothing_of_the_next_file(write, skip):
    files = {name: numbered(5, name.encode()) for name in "abc"}
    contents = {name: stream(content, "TFRecord") for name, content in files.items()}
    contents["a"] = contents["a"][:-3]
    job = write(contents)
    ds = make(max_corrupted_records_to_skip=skip)
    elements, messages = read_on(ds)
    assert elements == files["a"][:-1] + files["b"] + files["c"]
    (message,) = messages
    assert f"file '{path_of(job, 'a')}': record 4 at byte 72: the stream ends inside" in message


def test_corrupt_records_in_a_row_go_on_from_file_to_file(write):
    bad = bytearray(stream([b"bad"], "TFRecord"))
    bad[-1] ^= 1
    good = stream([b"good"], "TFRecord")
    write({"a": good, "b": bytes(bad), "c": bytes(bad), "d": bytes(bad), "e": good})
    elements, messages = read_on(make(max_corrupted_records_to_skip=3))
    assert (elements, messages) == ([b"good", b"good"], [])
    elements, messages = read_on(make(max_corrupted_records_to_skip=2))
    assert elements == [b"good", b"good"]
    assert len(messages) == 1
    assert "/d': record 0 at byte 0: payload CRC mismatch" in messages[0]


@pytest.mark.parametrize("compression_type", [None, "GZIP"])
def test_a_gzip_file_that_is_cut(write, compression_type):
    files = {name: numbered(4, name.encode()) for name in "abc"}
    contents = {name: gzip.compress(stream(content, "TFRecord")) for name, content in files.items()}
    contents["b"] = contents["b"][:-5]
    job = write(contents)
    alone = []
    for name in "abc":
        reader = RecordReader(path_of(job, name), "TFRecord", compression_type="GZIP")
        with contextlib.suppress(DataLossError):
            alone.extend(reader)
    elements, messages = read_on(make(compression_type=compression_type))
    assert elements == alone
    (message,) = messages
    assert f"file '{path_of(job, 'b')}': record" in message
    assert "the stream ends inside a member" in message


def header_checksum_broken(content):
    packed = bytearray(gzip.compress(content))
    packed[3] |= 2
    return bytes(packed[:10]) + b"\x00\x00" + bytes(packed[10:])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: gzip.compress(content) + bytes(512), "garbage follows"),
        (header_checksum_broken, "header checksum mismatch"),
        (lambda content: gzip.compress(content)[:-4] + b"abcd", "length mismatch"),
    ],
)
@pytest.mark.parametrize("beside", ["plain", "gzip"])
def test_one_inflater_for_all(write, damage, message, beside):
    content = stream([b"1"], "TFRecord")
    other = content if beside == "plain" else gzip.compress(content)
    job = write({"a": damage(content), "b": other})
    elements, messages = read_on(make())
    assert elements in ([b"1"], [b"1", b"1"])
    assert len(messages) == 1
    assert message in messages[0]
    assert str(path_of(job, "a")) in messages[0]


@property_test
@given(data=st.data())
@pytest.mark.parametrize("record_format", FORMATS)
def test_files_are_as_if_each_were_read_alone(write, job, data, record_format):
    contents = []
    for _ in range(data.draw(st.integers(0, 5))):
        content = stream(data.draw(lists_of_records(record_format)), record_format)
        content = content[: data.draw(st.integers(0, len(content)))]
        contents.append(gzip.compress(content) if data.draw(st.booleans()) else content)
    for path in (job.pipe_dir / "training").glob("*"):
        path.unlink()
    write({str(number): content for number, content in enumerate(contents)})
    expected, errors = [], 0
    for number in range(len(contents)):
        reader = RecordReader(path_of(job, str(number)), record_format, compression_type="AUTO")
        try:
            expected.extend(reader)
        except DataLossError:
            errors += 1
    options = data.draw(st.sampled_from([{}, {"read_ahead_bytes": 0}, {"num_parallel_reads": 3}]))
    elements, messages = read_on(make(record_format=record_format, **options))
    assert elements == expected
    assert len(messages) == errors


@property_test
@given(data=st.data())
@pytest.mark.parametrize("record_format", ["TFRecord", "RecordIO"])
def test_all_records_before_a_cut(write, data, record_format):
    sent = [b"%03d" % number * data.draw(st.integers(1, 4)) for number in range(20)]
    content = stream(sent, record_format)
    kept = data.draw(st.integers(0, len(content) - 1))
    job = write({"a": content, "b": content[:kept], "c": content})
    elements, messages = read_on(make(record_format=record_format))
    ends = list(itertools.accumulate(len(stream([record], record_format)) for record in sent))
    before = sent[: bisect.bisect_right(ends, kept)]
    assert elements == sent + before + sent
    at = len(stream(before, record_format))
    if at == kept:  # between two records nothing tells
        assert messages == []
    else:
        where = f"file '{path_of(job, 'b')}': record {len(before)} at byte {at}: "
        assert [where in message for message in messages] == [True]


# Files that are not what they were when they were listed.


@pytest.mark.parametrize("record_format", FORMATS)
@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_that_has_gone(write, record_format, compressed):
    pack = gzip.compress if compressed else bytes
    job = write({name: pack(stream([name.encode()], record_format)) for name in "abc"})
    ds = make(record_format=record_format)
    path_of(job, "b").unlink()
    begun = time.monotonic()
    elements, error = read(ds)
    assert time.monotonic() - begun < LIMIT / 2
    assert elements == [b"a"]
    assert isinstance(error, tf.errors.NotFoundError)
    assert f"file '{path_of(job, 'b')}': cannot open the file: No such file" in error.message
    assert records(ds.ignore_errors()) == [b"a", b"c"]


@pytest.mark.parametrize("record_format", FORMATS)
@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_whose_size_has_changed(write, record_format, change):
    contents = {name: stream([name.encode()] * 2, record_format) for name in "abc"}
    job = write(contents)
    ds = make(record_format=record_format)
    # At the end of a record: only the size tells.
    lines = contents["b"] * 2 if change > 0 else stream([b"b"], record_format)
    path_of(job, "b").write_bytes(lines)
    elements, error = read(ds)
    assert elements == [b"a"] * 2
    assert isinstance(error, tf.errors.DataLossError)
    assert f"file '{path_of(job, 'b')}': the file has {len(lines)} bytes now" in error.message
    assert f"had {len(contents['b'])} when it was listed" in error.message
    assert records(ds.ignore_errors()) == [b"a"] * 2 + [b"c"] * 2


@pytest.mark.parametrize("change", [-(1 << 20), 1 << 10])
def test_a_file_whose_size_changes_while_it_is_read(write, change):
    """Longer than all buffers, so that most of it is still to be read when it changes."""
    line = b"x" * 1023
    size = 16 << 20
    job = write({"a": (line + b"\n") * (size // 1024), "b": b"next\n"})
    iterator = iter(make(record_format="TextLine", read_ahead_bytes=1 << 16))
    assert next(iterator).numpy() == line
    os.truncate(path_of(job, "a"), size + change)
    elements, messages = read_on(iterator)
    assert elements[-1] == b"next"
    assert set(elements[:-1]) == {line}
    assert len(elements) <= (size + min(change, 0)) // 1024
    (message,) = messages
    assert f"file '{path_of(job, 'a')}': record" in message
    assert f"has {size + change} bytes now" in message


@pytest.mark.parametrize("kind", ["folder", "FIFO"])
def test_something_else_in_the_place_of_a_file(write, kind):
    job = write({name: stream([name.encode()], "TFRecord") for name in "abc"})
    ds = make()
    path_of(job, "b").unlink()
    path_of(job, "b").mkdir() if kind == "folder" else os.mkfifo(path_of(job, "b"))
    elements, error = read(ds)
    assert elements == [b"a"]
    assert isinstance(error, tf.errors.FailedPreconditionError)
    assert f"file '{path_of(job, 'b')}': this is not a regular file" in error.message


# As a PipeModeDataset.


def positions(pipeline):
    """For each number of elements, what comes behind them when they are taken by a checkpoint."""
    whole = [tf.reshape(element, [-1]).numpy().tolist() for element in pipeline()]
    return whole, range(len(whole) + 1)


@pytest.mark.parametrize("read_ahead_bytes", [0, 1 << 22])
@pytest.mark.parametrize(
    "make_pipeline",
    [
        lambda ds: ds,
        lambda ds: ds.repeat(2).batch(3),
        lambda ds: ds.shard(2, 1).repeat(2),
        lambda ds: ds.repeat(2).shard(3, 0).batch(2),
    ],
    ids=["records", "repeated batches", "shards", "shards across epochs"],
)
def test_every_position_is_found_again(write, tmp_path, make_pipeline, read_ahead_bytes):
    write(
        {
            "a": stream(numbered(3, b"a"), "TFRecord"),
            "b": b"",
            "c": gzip.compress(stream(numbered(4, b"c"), "TFRecord")),
            "d": stream(numbered(1, b"d"), "TFRecord"),
        }
    )

    def pipeline():
        return make_pipeline(make(read_ahead_bytes=read_ahead_bytes))

    whole, counts = positions(pipeline)
    for count in counts:
        iterator = iter(pipeline())
        for _ in range(count):
            next(iterator)
        path = tf.train.Checkpoint(iterator=iterator).write(str(tmp_path / str(count)))
        iterator = iter(pipeline())
        tf.train.Checkpoint(iterator=iterator).read(path).assert_consumed()
        assert [tf.reshape(rest, [-1]).numpy().tolist() for rest in iterator] == whole[count:]


def test_files_before_a_position_are_not_read(write, tmp_path):
    job = write({name: stream(numbered(3, name.encode()), "TFRecord") for name in "abc"})
    iterator = iter(make())
    for _ in range(7):
        next(iterator)
    path = tf.train.Checkpoint(iterator=iterator).write(str(tmp_path / "checkpoint"))
    path_of(job, "a").write_bytes(b"x" * path_of(job, "a").stat().st_size)
    iterator = iter(make())
    tf.train.Checkpoint(iterator=iterator).read(path).assert_consumed()
    assert [record.numpy() for record in iterator] == [b"c1", b"c2"]


@pytest.mark.parametrize("change", ["added", "removed", "longer", "another shard"])
def test_a_position_among_other_files(write, tmp_path, change):
    job = write({name: stream(numbered(3, name.encode()), "TFRecord") for name in "abc"})
    iterator = iter(make())
    for _ in range(8):
        next(iterator)
    path = tf.train.Checkpoint(iterator=iterator).write(str(tmp_path / "checkpoint"))
    options = {}
    if change == "added":
        path_of(job, "0").write_bytes(stream([b"0"], "TFRecord"))
    elif change == "removed":
        path_of(job, "a").unlink()
    elif change == "longer":
        path_of(job, "c").write_bytes(stream(numbered(30), "TFRecord"))
    else:
        options["shard_files"] = (2, 1)
    iterator = iter(make(**options))
    with pytest.raises(tf.errors.InvalidArgumentError, match="cannot go on where the checkpoint"):
        tf.train.Checkpoint(iterator=iterator).read(path)


@pytest.mark.parametrize("saved_in", ["File", "Pipe"])
def test_a_position_of_the_other_mode(write, serve, tmp_path, saved_in):
    files = {name: stream(numbered(3, name.encode()), "TFRecord") for name in "abc"}
    sent = b"".join(files.values())

    def save():
        iterator = iter(make())
        for _ in range(5):
            next(iterator)
        tf.train.Checkpoint(iterator=iterator).write(str(tmp_path / "checkpoint"))

    def restore():
        iterator = iter(make())
        tf.train.Checkpoint(iterator=iterator).read(str(tmp_path / "checkpoint"))
        return [record.numpy() for record in iterator]

    if saved_in == "File":
        write(files)
        save()
        with serve({"training": lambda _: sent}):
            assert restore() == [b"b2", b"c0", b"c1", b"c2"]
    else:
        with serve({"training": lambda _: sent}) as served:
            save()
            del served
        job = write(files)
        os.environ["SAGEMAKER_BASE_DIR"] = str(job.base_dir)
        assert restore() == [b"b2", b"c0", b"c1", b"c2"]


def test_statistics(write):
    job = write({name: stream([b"12345"] * 10, "TFRecord") for name in "abc"}, channel="counted")
    ds = make("counted").repeat(2).batch(7)
    assert len(records(ds)) == 9
    stats = ds.stats()
    assert stats == channel_stats("counted")
    assert (stats.records, stats.bytes, stats.epochs) == (60, 300, 2)
    assert stats.pipe_dir == str(job.pipe_dir)
    assert (stats.queued_records, stats.corrupt_records, stats.lost_epochs) == (0, 0, 0)
    assert stats.pipe_wait_seconds > 0


def test_empty_files_and_no_files(write):
    write({"a": b"", "b": gzip.compress(b""), "c": b""})
    assert records(make()) == []
    assert records(make().batch(2)) == []
    assert records(make().repeat(3).batch(2)) == []


def test_long_records_and_many_files(write):
    long = [bytes([number]) * (3 << 20) for number in range(3)]
    files = {f"{number:04d}": stream([b"%d" % number], "TFRecord") for number in range(2000)}
    write({**files, "a": stream(long, "TFRecord"), "b": gzip.compress(stream(long, "TFRecord"))})
    elements = records(make())
    assert elements == [b"%d" % number for number in range(2000)] + long * 2
    assert records(make().skip(1990).take(11))[-1] == long[0]


@pytest.mark.parametrize("num_parallel_reads", [1, 2, 5])
def test_the_order_is_kept(write, num_parallel_reads):
    files = {f"{n:02d}": stream(numbered(n * 50, b"%d-" % n), "TFRecord") for n in range(20)}
    write({name: gzip.compress(content) for name, content in files.items()})
    expected = [record for n in range(20) for record in numbered(n * 50, b"%d-" % n)]
    assert records(make(num_parallel_reads=num_parallel_reads)) == expected
    assert records(make(num_parallel_reads=num_parallel_reads).repeat(2)) == expected * 2
    iterator = iter(make(num_parallel_reads=num_parallel_reads))
    assert next(iterator).numpy() == expected[0]
    del iterator  # with files still being read


OTHER_PROCESS = """
import json, sys
from sagemaker_tensorflow import channel_dataset

ds = channel_dataset("training", "TFRecord", shard_files=(2, int(sys.argv[1])))
print(json.dumps([record.decode() for record in ds.repeat(2).as_numpy_iterator()]), flush=True)
"""


def test_several_processes_share_the_files(write):
    write({name: stream(numbered(3, name.encode()), "TFRecord") for name in "abcd"})
    processes = [
        subprocess.Popen([sys.executable, "-c", OTHER_PROCESS, str(index)], stdout=subprocess.PIPE)
        for index in range(2)
    ]
    outputs = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    for names, output in zip(("ac", "bd"), outputs, strict=True):
        assert output == [f"{name}{number}" for name in names for number in range(3)] * 2
