# SPDX-License-Identifier: Apache-2.0
"""channel_dataset: a channel gives the same records in Pipe, File and FastFile mode."""

import bisect
import gc
import gzip
import itertools
import logging
import subprocess
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest
import tensorflow as tf
from dataset_helpers import LIMIT, read, records
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipe_helpers import FORMATS, lists_of_records, stream, wait_until
from sagemaker_tensorflow import (
    PipeModeDataset,
    PipeModeDatasetException,
    channel_dataset,
)

# In the order in which S3 lists them: that of their bytes.
NAMES = ["0/part-1", "B", "a-b/part-0", "a/part-10", "a/part-2", "a0", "ä"]


def make(channel="training", record_format="TFRecord", **options):
    return channel_dataset(
        channel, record_format, **{"open_timeout": LIMIT, "read_timeout": LIMIT, **options}
    )


@pytest.fixture
def write(job):
    """Writes the objects of a channel in File mode, or in that of ``mode``."""

    def write(objects, mode="File", channel="training", **config):
        job.write_config({channel: {"TrainingInputMode": mode, **config}})
        for name, content in objects.items():
            path = job.pipe_dir / channel / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return job

    return write


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("folder-")]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
@pytest.mark.parametrize("record_format", FORMATS)
def test_the_same_records_in_both_modes(serve, make_job, monkeypatch, data, record_format):
    objects = [
        stream(records, record_format)
        for records in data.draw(st.lists(lists_of_records(record_format), max_size=len(NAMES)))
    ]
    whole = b"".join(objects)
    compress = data.draw(st.sampled_from(["no", "all", "some"]))
    for number, content in enumerate(objects):
        if compress == "all" or (compress == "some" and number % 2):
            objects[number] = gzip.compress(content)
    job = make_job()
    job.write_config({"training": {"TrainingInputMode": "File"}})
    for name, content in zip(NAMES, objects, strict=False):
        path = job.pipe_dir / "training" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (job.pipe_dir / "training").mkdir(exist_ok=True)
    make_pipeline = data.draw(
        st.sampled_from(
            [lambda ds: ds, lambda ds: ds.batch(3), lambda ds: ds.repeat(2).batch(4).prefetch(1)]
        )
    )
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(job.base_dir))

    def read_all():
        return [
            tf.reshape(element, [-1]).numpy().tolist()
            for element in make_pipeline(make("training", record_format))
        ]

    in_file_mode = read_all()
    with serve({"training": lambda _: whole}):
        assert in_file_mode == read_all()


def damaged(record_format):
    content = bytearray(stream([b"%02d" % number for number in range(20)], record_format))
    if record_format == "TextLine":
        return bytes(content).replace(b"\n", b" ", 15)
    content[len(content) // 2 + 5] ^= 0xFF
    return bytes(content)


@pytest.mark.parametrize("record_format", FORMATS)
@pytest.mark.parametrize("cut", [0, 3])
def test_the_same_errors_in_both_modes(serve, write, record_format, cut):
    content = damaged(record_format)
    content = content[: len(content) - cut]
    options = {"record_format": record_format, "max_record_bytes": 20}
    write({"a": content[:50], "b": content[50:]})
    outcomes = [read(make(**options))]
    with serve({"training": [content]}):
        outcomes.append(read(make(**options)))
    (in_file_mode, file_error), (in_pipe_mode, pipe_error) = outcomes
    assert in_file_mode == in_pipe_mode
    assert type(file_error) is type(pipe_error)

    def what(error):
        """The message without the path of the FIFO."""
        return error and error.message.partition("), ")[2]

    assert what(file_error) == what(pipe_error)
    assert isinstance(file_error, tf.errors.DataLossError | None)


def test_options_reach_the_op(write):
    write({"a": zlib.compress(stream([b"ab", b"cd"], "RecordIO"))}, ContentType="x")
    ds = make(record_format="RecordIO", compression_type="ZLIB", read_ahead_bytes=0)
    assert isinstance(ds, PipeModeDataset)
    assert records(ds) == [b"ab", b"cd"]
    assert ds.input_data_config["training"]["ContentType"] == "x"
    with pytest.raises(TypeError, match="no_such_option"):
        make(no_such_option=1)


def test_headers_of_text_files(serve, write):
    objects = {"a": b"x,y\n1,2\n", "b": b"x,y\r\n", "c": b"x,y\n3,4\r\n"}
    options = {
        "record_format": "TextLine",
        "skip_header_lines": 1,
        "repeated_header": True,
        "strip_carriage_return": True,
    }
    write(objects)
    assert records(make(**options)) == [b"1,2", b"3,4"]
    with serve({"training": [b"".join(objects.values())]}):
        assert records(make(**options)) == [b"1,2", b"3,4"]


def test_fast_file_mode_with_links(write, tmp_path):
    job = write({"a/b": stream([b"2"], "TFRecord")}, mode="FastFile")
    (tmp_path / "object").write_bytes(stream([b"1"], "TFRecord"))
    (job.pipe_dir / "training" / "0").symlink_to(tmp_path / "object")
    assert records(make()) == [b"1", b"2"]


def test_several_epochs_and_iterators_at_once(write):
    job = write({"a": stream([b"1", b"2"], "TFRecord"), "b": stream([b"3"], "TFRecord")})
    ds = make()
    for _ in range(3):
        assert records(ds) == [b"1", b"2", b"3"]
    assert records(tf.data.Dataset.zip((ds, ds.skip(1)))) == [(b"1", b"2"), (b"2", b"3")]
    iterators = [iter(ds) for _ in range(4)]
    assert [next(iterator).numpy() for iterator in iterators] == [b"1"] * 4
    assert [next(iterator).numpy() for iterator in iterators] == [b"2"] * 4
    assert not job.state_dir.exists()
    assert sorted(path.name for path in job.pipe_dir.iterdir()) == ["training"]


def test_nothing_remains(write, recwarn):
    write({"a": stream([b"x" * 1000] * 10_000, "TFRecord")})
    ds = make()
    folder = Path(ds.pipe_dir)
    derived = ds.repeat().batch(2).map(tf.strings.length).prefetch(1)
    del ds
    iterator = iter(derived)
    next(iterator)
    del derived
    gc.collect()
    assert next(iterator).numpy().tolist() == [1000, 1000]
    assert folder.exists()
    del iterator
    gc.collect()
    wait_until(lambda: not threads())
    assert not folder.exists()
    assert not [warning for warning in recwarn if warning.category is ResourceWarning]


def test_letting_go_waits_for_no_thread(write):
    # It happens in a finalizer, that is anywhere, as in the midst of logging.
    is_logging, go_on = threading.Event(), threading.Event()

    class Handler(logging.Handler):
        def emit(self, record):
            is_logging.set()
            go_on.wait(LIMIT)

    write({"a": stream([b"1"], "TFRecord")})
    logger, handler = logging.getLogger("sagemaker_tensorflow"), Handler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        ds = make()
        assert is_logging.wait(LIMIT)  # that nobody has opened the FIFO for 10 s
        begun = time.monotonic()
        del ds
        gc.collect()
        seconds = time.monotonic() - begun
    finally:
        go_on.set()
        logger.setLevel(level)
        logger.removeHandler(handler)
    assert seconds < LIMIT / 2
    wait_until(lambda: not threads())


FORKED = """
import os, sys
from sagemaker_tensorflow import channel_dataset

ds = channel_dataset("training", "TFRecord", open_timeout=30, read_timeout=30)
child = os.fork()
if child == 0:
    sys.exit()
assert os.waitpid(child, 0)[1] == 0
print(list(ds.as_numpy_iterator()))
"""


def test_a_forked_child_that_ends_takes_nothing_away(write):
    write({"a": stream([b"1"], "TFRecord")})
    command = [sys.executable, "-c", FORKED]
    result = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=2 * LIMIT)
    assert result.stdout == b"[b'1']\n"


def test_a_position_is_found_again(write, tmp_path):
    write(
        {
            name: stream([b"%s %d" % (name.encode(), n) for n in range(5)], "TFRecord")
            for name in "ab"
        }
    )
    iterator = iter(make().repeat().batch(3))
    for _ in range(3):
        next(iterator)
    path = tf.train.Checkpoint(iterator=iterator).save(str(tmp_path / "checkpoint"))
    iterator = iter(make().repeat().batch(3))
    tf.train.Checkpoint(iterator=iterator).restore(path).assert_consumed()
    assert next(iterator).numpy().tolist() == [b"b 4", b"a 0", b"a 1"]


def test_a_length_that_looks_like_gzip(write):
    """A TFRecord of 0x088b1f bytes begins as gzip does."""
    record = b"\x00" * 0x088B1F
    content = stream([record, b"next"], "TFRecord")
    assert content.startswith(b"\x1f\x8b\x08\x00")
    write({"a": content})
    assert [len(record) for record in records(make())] == [len(record), 4]
    # By argument, nothing is guessed.
    elements, error = read(make(compression_type="GZIP"))
    assert elements == []
    assert isinstance(error, tf.errors.DataLossError)


def test_told_that_nothing_is_compressed(write):
    write({"a": gzip.compress(b"text\n")})
    assert records(make(record_format="TextLine")) == [b"text"]
    elements, error = read(make(record_format="TextLine", compression_type=""))
    assert elements == []
    assert isinstance(error, tf.errors.DataLossError)
    assert "pass compression_type='GZIP'" in error.message


def test_objects_that_the_service_would_wrap(serve, write):
    """RecordWrapperType makes a RecordIO record of each object, but in Pipe mode only."""
    objects = {"a": b"image", "b": b"", "c": b"\x00" * 70_000}
    write(objects, RecordWrapperType="RecordIO")
    assert records(make(record_format="RecordIO")) == list(objects.values())
    write({name: stream([content], "RecordIO") for name, content in objects.items()})
    assert records(make(record_format="RecordIO")) == list(objects.values())


def test_a_folder_without_files(write):
    job = write({}, S3DistributionType="ShardedByS3Key")
    (job.pipe_dir / "training" / "sub").mkdir(parents=True)
    ds = make()
    assert records(ds) == []
    policy = ds.options().experimental_distribute.auto_shard_policy
    assert policy == tf.data.experimental.AutoShardPolicy.OFF


def test_no_folder(write):
    job = write({})
    with pytest.raises(PipeModeDatasetException, match="'File', but there is no folder") as raised:
        make()
    assert str(job.pipe_dir / "training") in str(raised.value)


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        ("tests", "channel 'tests' is not in the job's"),
        ("../training", "is no channel name"),
        (b"training", "is no channel name"),
        (tf.constant("training"), "is no channel name"),
        ("strange", "TrainingInputMode 'Mail', which is none of 'Pipe', 'File' and 'FastFile'"),
        ("silent", "TrainingInputMode None, which is none of"),
    ],
)
def test_a_channel_that_cannot_be_read(job, channel, message):
    job.write_config({"strange": {"TrainingInputMode": "Mail"}, "silent": {}})
    before = len(threads())
    with pytest.raises(PipeModeDatasetException, match=message):
        make(channel)
    assert len(threads()) <= before


@pytest.mark.parametrize("record_format", ["TFRecord", "RecordIO"])
def test_a_file_that_vanishes_is_data_loss(write, caplog, record_format):
    job = write({name: stream([name.encode()], record_format) for name in "abc"})
    ds = make(record_format=record_format)
    (job.pipe_dir / "training" / "b").unlink()
    elements, error = read(ds)
    assert elements == [b"a"]
    assert isinstance(error, tf.errors.DataLossError)
    path = job.pipe_dir / "training" / "b"
    assert f"channel 'training': cannot read '{path}' to its end" in caplog.text


def test_a_text_file_that_vanishes_is_no_end(write, caplog):
    job = write({name: name.encode() + b"\n" for name in "abc"})
    ds = make(record_format="TextLine", read_timeout=0.5)
    (job.pipe_dir / "training" / "b").unlink()
    elements, error = read(ds)
    assert elements == [b"a"]
    assert isinstance(error, tf.errors.DeadlineExceededError)
    assert "to its end" in caplog.text


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
@pytest.mark.parametrize("record_format", ["TFRecord", "RecordIO"])
def test_a_file_that_is_cut_off(write, caplog, data, record_format):
    """All records before the cut, data loss, and the name of the file."""
    sent = [b"%03d" % number * data.draw(st.integers(1, 4)) for number in range(20)]
    content = stream(sent, record_format)
    packed = gzip.compress(content, compresslevel=0, mtime=0)
    # Stored in one piece, from behind the header of the only block; at least a byte is missing.
    kept = data.draw(st.integers(0, len(content) - 1))
    start = packed.index(content)
    job = write({"a": content, "b": packed[: start + kept], "c": content})
    caplog.clear()
    elements, error = read(make(record_format=record_format))
    ends = list(itertools.accumulate(len(stream([record], record_format)) for record in sent))
    assert elements == sent + sent[: bisect.bisect_right(ends, kept)]
    assert isinstance(error, tf.errors.DataLossError)
    assert f"cannot read '{job.pipe_dir / 'training' / 'b'}' to its end" in caplog.text
    assert "EOFError" in caplog.text


def test_compressed_text_that_vanishes_is_data_loss(write):
    job = write({name: gzip.compress(name.encode() + b"\n") for name in "abc"})
    ds = make(record_format="TextLine")
    (job.pipe_dir / "training" / "b").unlink()
    elements, error = read(ds)
    assert elements == [b"a"]
    assert isinstance(error, tf.errors.DataLossError)


def test_without_a_further_thread_epochs_wait_for_each_other(write, monkeypatch, caplog):
    write({"a": stream([b"1", b"2"], "TFRecord")})
    ds = make()
    start = threading.Thread.start

    def refuse(thread):
        if thread.name.startswith("folder-"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    for _ in range(3):
        assert records(ds) == [b"1", b"2"]
    assert "channel 'training': can't start new thread; its next epoch has to wait" in caplog.text
    monkeypatch.undo()
    assert [records(ds) for _ in range(3)] == [[b"1", b"2"]] * 3


def test_links_to_folders(write, tmp_path):
    job = write({"b/part": stream([b"2"], "TFRecord")})
    folder = job.pipe_dir / "training"
    (tmp_path / "far" / "sub").mkdir(parents=True)
    (tmp_path / "far" / "sub" / "part").write_bytes(stream([b"1"], "TFRecord"))
    for name in "a", "c":
        (folder / name).symlink_to(tmp_path / "far")
    assert records(make()) == [b"1", b"2", b"1"]
    circle = folder / "b" / "circle"
    circle.symlink_to(folder)
    with pytest.raises(PipeModeDatasetException, match="circle' is a link to a folder that it is"):
        make()
    circle.unlink()
    (folder / "b" / "nothing").symlink_to(tmp_path / "nothing")
    with pytest.raises(PipeModeDatasetException, match=r"cannot read '.*nothing': No such file"):
        make()


IN_GRAPHS = """
import gc, json
import tensorflow as tf
from sagemaker_tensorflow import channel_dataset

def make():
    return channel_dataset("training", "TFRecord", open_timeout=30, read_timeout=30)

@tf.function
def count():
    return make().reduce(0, lambda count, _: count + 1)

ds = tf.data.Dataset.range(3).interleave(lambda _: make(), cycle_length=2, num_parallel_calls=2)
gc.collect()
counts = [int(count()), int(count()), len(list(ds)), len(list(ds.repeat(2)))]

with tf.Graph().as_default(), tf.compat.v1.Session() as session:
    element = tf.compat.v1.data.make_one_shot_iterator(make()).get_next()
    gc.collect()
    counts.append(session.run(element).decode())

strategy = tf.distribute.MirroredStrategy(["CPU:0"])
iterator = iter(strategy.experimental_distribute_dataset(make().repeat(2).batch(2)))
gc.collect()
counts.append([batch.numpy().tolist() for batch in iterator][1][0].decode())
print(json.dumps(counts), flush=True)
raise SystemExit
"""


@pytest.mark.parametrize("mode", ["File", "Pipe"])
def test_made_in_a_graph(serve, write, fork_server, mode):
    expected = [3, 3, 9, 18, "0", "2"]
    content = [b"0", b"1", b"2"]
    if mode == "File":
        write({"a": stream(content, "TFRecord")})
        with fork_server.run(IN_GRAPHS) as program:
            assert program.result() == expected
    else:
        with serve({"training": lambda _: content}), fork_server.run(IN_GRAPHS) as program:
            assert program.result() == expected


def test_the_folders_are_arguments(write, monkeypatch):
    job = write({"a": stream([b"1"], "TFRecord")})
    monkeypatch.delenv("SAGEMAKER_BASE_DIR")
    ds = make(pipe_dir=job.pipe_dir, config_dir=str(job.config_dir), state_dir=job.base_dir / "no")
    assert records(ds) == [b"1"]
    assert not (job.base_dir / "no").exists()


SCRIPT = """
import json
from sagemaker_tensorflow import channel_dataset

ds = channel_dataset("training", "TFRecord", open_timeout=30, read_timeout=30)
print(json.dumps([r.numpy().decode() for r in ds.repeat(2)]), flush=True)
raise SystemExit  # threads and all
"""


def test_one_script_for_both_modes(serve, write, fork_server):
    epoch = [b"one", b"two"]
    write({"a": gzip.compress(stream(epoch, "TFRecord"))})
    with fork_server.run(SCRIPT) as program:
        assert program.result() == ["one", "two"] * 2
    with serve({"training": [epoch, epoch]}), fork_server.run(SCRIPT) as program:
        assert program.result() == ["one", "two"] * 2
