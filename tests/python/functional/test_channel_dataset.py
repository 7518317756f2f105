# SPDX-License-Identifier: Apache-2.0
"""channel_dataset: a channel gives the same records in Pipe, File and FastFile mode."""

import gzip
import itertools
import logging
import zlib

import pytest
import tensorflow as tf
from dataset_helpers import make_any_mode as make
from dataset_helpers import read, records
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipe_helpers import FORMATS, lists_of_records, stream
from sagemaker_tensorflow import (
    PipeModeDataset,
    PipeModeDatasetException,
)

pytestmark = pytest.mark.long

# In the order in which S3 lists them: that of their bytes.
NAMES = ["0/part-1", "B", "a-b/part-0", "a/part-10", "a/part-2", "a0", "ä"]


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
    # In a pipe, one thing after the other, no more than some objects can be compressed.
    sent = whole if compress == "some" else b"".join(objects)
    with serve({"training": lambda _: sent}):
        assert in_file_mode == read_all()


def test_options_reach_the_op(write):
    write({"a": zlib.compress(stream([b"ab", b"cd"], "RecordIO"))}, ContentType="x")
    ds = make(record_format="RecordIO", compression_type="ZLIB", read_ahead_bytes=0)
    assert isinstance(ds, PipeModeDataset)
    assert records(ds) == [b"ab", b"cd"]
    assert ds.input_data_config["training"]["ContentType"] == "x"
    with pytest.raises(TypeError, match="no_such_option"):
        make(no_such_option=1)


MARK = "\ufeff".encode()


@pytest.mark.parametrize("lines", [1, 2])
def test_a_header_in_each_file(serve, write, lines):
    header = b"x,y\n" if lines == 1 else b"a,b\nx,y\n"
    objects = {
        "a": header + b"1,2\n",
        "b": b"",
        "c": header.replace(b"\n", b"\r\n"),
        "d": MARK + header + b"3,4\r\n",
        "e": b"5,6\n",  # split off, without one: nothing is dropped
        "f": header + b"7,8\n",
    }
    options = {
        "record_format": "TextLine",
        "skip_header_lines": lines,
        "repeated_header": True,
        "strip_carriage_return": True,
    }
    expected = [b"1,2", b"3,4", b"5,6", b"7,8"]
    write(objects)
    assert records(make(**options)) == expected
    # Those that do not begin with the first file know its header, too.
    shards = [records(make(shard_files=(3, index), **options)) for index in range(3)]
    assert sorted(itertools.chain(*shards)) == expected
    for sent in (b"".join(objects.values()), MARK + b"".join(objects.values())):
        with serve({"training": [sent]}):
            assert records(make(**options)) == expected


def test_lines_that_only_begin_like_a_header(write):
    write({"a": b"x\ny\n1\n", "b": MARK + b"x\n2\n", "c": b"x\n"})
    options = {"record_format": "TextLine", "skip_header_lines": 2, "repeated_header": True}
    assert records(make(**options)) == [b"1", MARK + b"x", b"2", b"x"]


def test_lines_skipped_in_each_file(write):
    write({"a": b"x\n1\n", "b": b"y\n2\n", "c": b"", "d": b"z"})
    assert records(make(record_format="TextLine", skip_header_lines=1)) == [b"1", b"2"]


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
    (job.pipe_dir / "training").rmdir()
    with pytest.raises(PipeModeDatasetException, match="'File', but there is no folder") as raised:
        make()
    assert str(job.pipe_dir / "training") in str(raised.value)


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        ("tests", "channel 'tests' is not in the job's"),
        ("../training", "is not a valid channel name"),
        (b"training", "is not a valid channel name"),
        (tf.constant("training"), "is not a valid channel name"),
        ("strange", "TrainingInputMode 'Mail', which is none of 'Pipe', 'File' and 'FastFile'"),
        ("silent", "TrainingInputMode None, which is none of"),
    ],
)
def test_a_channel_that_cannot_be_read(job, channel, message):
    job.write_config({"strange": {"TrainingInputMode": "Mail"}, "silent": {}})
    with pytest.raises(PipeModeDatasetException, match=message):
        make(channel)


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
    with pytest.raises(PipeModeDatasetException, match="circle' is a symbolic link to a folder"):
        make()
    circle.unlink()
    (folder / "b" / "nothing").symlink_to(tmp_path / "nothing")
    with pytest.raises(PipeModeDatasetException, match=r"channel 'training': '.*nothing': No such"):
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


class TestWhichFiles:
    OBJECTS = ("_SUCCESS", ".part-0.crc", "_temporary/0/part-9", "a/part-1.tfrecord", "part-0.rec")

    def objects(self):
        return {name: stream([name.encode()], "TFRecord") for name in self.OBJECTS}

    def test_names_of_spark_and_hadoop_are_no_data(self, write, caplog):
        write(self.objects(), channel="hidden")
        for _ in range(2):
            assert records(make("hidden")) == [b"a/part-1.tfrecord", b"part-0.rec"]
        said = [record for record in caplog.records if "left out 3 files" in record.message]
        assert len(said) == 1
        assert said[0].levelno == logging.WARNING
        for name in self.OBJECTS[:3]:
            assert name in said[0].message

    def test_empty_markers_are_not_worth_a_warning(self, write, caplog):
        write({"_SUCCESS": b"", "part-0": stream([b"1"], "TFRecord")}, channel="marked")
        assert records(make("marked")) == [b"1"]
        assert not [record for record in caplog.records if record.levelno >= logging.WARNING]

    @pytest.mark.parametrize(
        ("files", "expected"),
        [
            ("*.tfrecord", [b"a/part-1.tfrecord"]),
            ("a/*", [b"a/part-1.tfrecord"]),
            ([".rec"], [b"part-0.rec"]),
            (("*-1*", ".rec"), [b"a/part-1.tfrecord", b"part-0.rec"]),
            ("part-?.rec", [b"part-0.rec"]),
            (lambda name: name.startswith("_temp"), [b"_temporary/0/part-9"]),
            (lambda name: True, sorted(name.encode() for name in OBJECTS)),
        ],
    )
    def test_chosen_by_argument(self, write, files, expected):
        write(self.objects())
        assert records(make(files=files)) == expected

    @pytest.mark.parametrize("files", ["*.csv", "_SUCCESS", [".csv", "*.txt"], lambda name: False])
    def test_none_that_matches(self, write, files):
        write(self.objects())
        with pytest.raises(PipeModeDatasetException, match=r"matches none of the \d files"):
            make(files=files)

    @pytest.mark.parametrize("files", [1, [], [b".csv"], {"a": 1}.items()])
    def test_of_a_wrong_type(self, write, files):
        write(self.objects())
        with pytest.raises(TypeError, match="files must be a glob"):
            make(files=files)

    def test_nothing_to_choose_from_in_pipe_mode(self, serve):
        with (
            serve({"training": [[b"1"]]}),
            pytest.raises(PipeModeDatasetException, match="the service sends all of its objects"),
        ):
            make(files="*.tfrecord")

    @pytest.mark.parametrize(
        ("name", "content"),
        [("a.idx", b"0 1042\n1042 2084\n"), ("a.json", b'{"rows": 3}'), ("a.idx", b"0 9\n")],
    )
    def test_what_is_no_record_names_the_file_and_the_argument(self, write, name, content):
        job = write({name: content, "a.tfrecord": stream([b"1"], "TFRecord")})
        elements, error = read(make())
        assert elements == []
        assert isinstance(error, tf.errors.DataLossError)
        assert f"file '{job.pipe_dir / 'training' / name}': record 0 at byte 0: " in error.message
        assert "begins like text" in error.message
        assert "choose the files that are with files=" in error.message
        assert "compression announced" not in error.message
        assert records(make(files=".tfrecord")) == [b"1"]


class TestShards:
    def test_each_file_is_read_by_one(self, write):
        write({str(n): stream([b"%d %d" % (n, i) for i in range(n)], "TFRecord") for n in range(7)})
        whole = records(make())
        for count in (1, 2, 3, 7, 9):
            shards = [records(make(shard_files=(count, index))) for index in range(count)]
            assert sorted(itertools.chain(*shards)) == whole
            for index, shard in enumerate(shards):
                assert {int(record.split()[0]) % count for record in shard} <= {index}

    def test_in_pipe_mode_each_record(self, serve):
        content = [b"%d" % number for number in range(10)]
        with serve({"training": lambda _: content}):
            shards = [records(make(shard_files=(3, index))) for index in range(3)]
        assert shards == [content[index::3] for index in range(3)]

    @pytest.mark.parametrize("mode", ["File", "Pipe"])
    def test_what_the_service_has_sharded(self, write, mode):
        write({}, mode=mode, S3DistributionType="ShardedByS3Key")
        with pytest.raises(
            PipeModeDatasetException, match="ShardedByS3Key: each host gets its own"
        ):
            make(shard_files=(2, 0))

    @pytest.mark.parametrize("shard_files", [2, (2,), (2, 0.5), (2, True), "20", (2, 0, 1)])
    def test_of_a_wrong_type(self, write, shard_files):
        write({})
        with pytest.raises(TypeError, match="shard_files must be two ints"):
            make(shard_files=shard_files)

    @pytest.mark.parametrize("num_parallel_reads", [1.5, "2", True])
    def test_a_number_of_reads_of_a_wrong_type(self, write, num_parallel_reads):
        write({})
        with pytest.raises(TypeError, match="num_parallel_reads must be an int or None"):
            make(num_parallel_reads=num_parallel_reads)

    def test_no_reads(self, write):
        write({})
        with pytest.raises(ValueError, match="num_parallel_reads must be at least 1"):
            make(num_parallel_reads=0)

    @pytest.mark.parametrize("shard_files", [(0, 0), (2, 2), (2, -1), (-1, 0)])
    def test_out_of_range(self, write, shard_files):
        write({})
        with pytest.raises(ValueError, match="shard_files must be"):
            make(shard_files=shard_files)
