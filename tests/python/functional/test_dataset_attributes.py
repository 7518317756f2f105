# SPDX-License-Identifier: Apache-2.0
"""attributes=: whole lines of an augmented manifest, and never a wrong pair of attributes."""

import itertools

import pytest
import tensorflow as tf
from dataset_helpers import LIMIT, make, read, records, without_autotune
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pipe_helpers import Background, stream
from sagemaker_tensorflow import PipeModeDataset, PipeModeDatasetException, channel_dataset
from tensorflow.core.framework import graph_pb2

NAMES = ("image-ref", "label", "a", "Z")  # not in the order of the alphabet
READ_AHEAD = [0, 1, 100, 1 << 22]


def make_lines(count, width=2, prefix=""):
    return [[f"{prefix}{name} {n}".encode() for name in NAMES[:width]] for n in range(count)]


LINES = make_lines(10)


def flat(lines):
    return list(itertools.chain(*lines))


def cut(lines, records=1):
    """The stream without its last records."""
    return stream(flat(lines)[:-records], "RecordIO")


def make_manifest(width=2, **options):
    return make(record_format="RecordIO", attributes=NAMES[:width], **options)


def as_dicts(lines):
    return [dict(zip(NAMES, line, strict=False)) for line in lines]


def plain(elements):
    """Elements as what compares well: lists in the place of vectors."""
    return [
        {name: value if isinstance(value, bytes) else value.tolist() for name, value in e.items()}
        for e in elements
    ]


def take(iterator, count):
    """The next elements, as ``records`` returns them."""
    elements = itertools.islice(iterator, count)
    return [{name: value.numpy() for name, value in element.items()} for element in elements]


def reference(lines, width):
    """tf.data's own dataset of the same elements."""
    columns = zip(*lines, [b""] * width, strict=True)
    components = dict(zip(NAMES, map(list, columns), strict=False))
    return tf.data.Dataset.from_tensor_slices(components).take(len(lines))


STEPS = st.lists(
    st.tuples(st.just("shard"), st.sampled_from([(2, 0), (2, 1), (3, 1), (5, 4)]))
    | st.tuples(st.just("repeat"), st.tuples(st.integers(1, 3)))
    | st.tuples(st.just("skip"), st.tuples(st.integers(0, 4))),
    max_size=3,
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    width=st.integers(1, len(NAMES)),
    # Some longer than a group of scalars, and than the buffer.
    sizes=st.lists(st.sampled_from([0, 1, 7, 5000, 300_000]), max_size=40),
    before=STEPS,
    batch=st.none() | st.tuples(st.integers(1, 5), st.booleans()),
    after=STEPS,
    chunk_bytes=st.sampled_from([50, 1000, 1 << 20]),
    read_ahead_bytes=st.sampled_from(READ_AHEAD),
)
# The buffer ends within a line of the other shard, and a group of elements before it.
@example(
    width=3,
    sizes=[0] * 8 + [300_000, 0, 0, 0],
    before=[],
    batch=None,
    after=[("shard", (2, 1))],
    chunk_bytes=1000,
    read_ahead_bytes=1,
)
def test_same_elements_as_tf_data(
    serve, width, sizes, before, batch, after, chunk_bytes, read_ahead_bytes
):
    if chunk_bytes < 1000:
        sizes = [min(size, 5000) for size in sizes]
    records_ = [b"%d " % n + bytes(size) for n, size in enumerate(sizes)]
    lines = [records_[n : n + width] for n in range(0, len(sizes) // width * width, width)]
    steps = [*before, *([("batch", batch)] if batch else []), *after]
    with serve({"training": lambda _: flat(lines)}, "RecordIO", chunk_bytes=chunk_bytes):
        ds = make_manifest(width, read_ahead_bytes=read_ahead_bytes)
        expected = reference(lines, width)
        for name, arguments in steps:
            ds = getattr(ds, name)(*arguments)
            expected = getattr(expected, name)(*arguments)
        assert ds.element_spec == expected.element_spec
        assert plain(records(without_autotune(ds))) == plain(records(expected))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    width=st.integers(1, len(NAMES)),
    length=st.integers(0, 12),
    size=st.integers(0, 4),
    shard=st.sampled_from([None, (3, 1), (2, 0)]),
    across=st.booleans(),
    count=st.integers(0, 20),
    read_ahead_bytes=st.sampled_from(READ_AHEAD),
)
def test_goes_on_in_mid_epoch(
    serve, tmp_path_factory, width, length, size, shard, across, count, read_ahead_bytes
):
    lines = make_lines(length, width)
    with serve({"training": lambda _: flat(lines)}, "RecordIO"):
        ds = make_manifest(width, read_ahead_bytes=read_ahead_bytes)
        ds = ds.repeat(3) if across or not shard else ds.shard(*shard).repeat(3)
        ds = ds.shard(*shard) if across and shard else ds
        ds = without_autotune(ds.batch(size) if size else ds)
        iterator = iter(ds)
        for _ in range(count):
            next(iterator, None)
        folder = tmp_path_factory.mktemp("checkpoint")
        path = tf.train.Checkpoint(iterator=iterator).save(str(folder / "checkpoint"))
        expected = [str(element) for element in iterator]
        del iterator
        iterator = iter(ds)
        tf.train.Checkpoint(iterator=iterator).restore(path).assert_consumed()
        assert [str(element) for element in iterator] == expected


@pytest.mark.parametrize("read_ahead_bytes", [0, 1 << 22])
@pytest.mark.parametrize("size", [0, 2])
@pytest.mark.parametrize("missing", [1, 2])
def test_no_line_is_made_of_two_epochs(serve, read_ahead_bytes, size, missing):
    """The first one ends between attributes: an error for it, and the next one begins anew."""
    epochs = [cut(make_lines(3, 3, "first "), missing), flat(make_lines(4, 3, "second "))]
    with serve({"training": epochs}, "RecordIO") as job:
        ds = make_manifest(3, read_ahead_bytes=read_ahead_bytes).repeat(2)
        iterator = iter(without_autotune(ds.batch(size) if size else ds.batch(1)))
        got, errors = [], []
        for _ in range(20):
            try:
                element = next(iterator, None)
            except tf.errors.DataLossError as error:
                errors.append(error.message)
                continue
            if element is None:
                break
            rows = zip(*(element[name].numpy().tolist() for name in NAMES[:3]), strict=True)
            got += [list(row) for row in rows]
        assert got == make_lines(2, 3, "first ") + make_lines(4, 3, "second ")
        (message,) = errors
        after, before = NAMES[2 - missing], NAMES[3 - missing]
        assert "channel 'training' epoch 0 (" in message
        assert f"record {9 - missing} at byte " in message
        assert f"the stream ends between the attributes of line 2, after '{after}' and before " in (
            message
        )
        assert f"before '{before}'; are these the AttributeNames of the job" in message
        assert job.state() == "2"


@pytest.mark.parametrize("read_ahead_bytes", [0, 1 << 22])
@pytest.mark.parametrize("repeated", [False, True])
def test_an_epoch_that_ends_within_a_record(serve, read_ahead_bytes, repeated):
    """One error, and not another one for the line."""
    with serve({"training": [stream(flat(LINES), "RecordIO")[:-1], flat(LINES)]}, "RecordIO"):
        ds = make_manifest(read_ahead_bytes=read_ahead_bytes)
        ds = without_autotune(ds.repeat(2) if repeated else ds)
        iterator = iter(ds)
        assert [next(iterator)["label"].numpy() for _ in range(9)] == [b[1] for b in LINES[:9]]
        with pytest.raises(
            tf.errors.DataLossError, match=r"record 19 at byte .* ends inside a Rec"
        ):
            next(iterator)
        rest = [{name: value.numpy() for name, value in line.items()} for line in iterator]
        assert rest == (as_dicts(LINES) if repeated else [])


def test_a_cut_epoch_that_is_skipped(serve):
    with serve({"training": [cut(LINES), flat(LINES)]}, "RecordIO"):
        elements, error = read(make_manifest(read_ahead_bytes=0).repeat(2).skip(15))
        assert elements == []
        assert "ends between the attributes of line 9" in error.message


@pytest.mark.parametrize("read_ahead_bytes", [0, 1 << 22])
def test_a_cut_epoch_before_the_saved_position(serve, tmp_path, read_ahead_bytes):
    epochs = [flat(LINES), cut(LINES[:5]), flat(LINES[:2])]
    with serve({"training": epochs}, "RecordIO"):
        ds = without_autotune(make_manifest(read_ahead_bytes=read_ahead_bytes).repeat(2))
        iterator = iter(ds)
        for _ in range(7):
            next(iterator)
        path = tf.train.Checkpoint(iterator=iterator).save(str(tmp_path / "checkpoint"))
        del iterator
        iterator = iter(ds)
        tf.train.Checkpoint(iterator=iterator).restore(path)
        with pytest.raises(tf.errors.DataLossError, match="between the attributes of line 4"):
            next(iterator)
        assert [line["label"].numpy() for line in iterator] == [line[1] for line in LINES[:2]]


@pytest.mark.parametrize("read_ahead_bytes", READ_AHEAD)
@pytest.mark.parametrize("index", [0, 1])
def test_each_position_of_a_shard(serve, tmp_path, index, read_ahead_bytes):
    """Also those where the buffer ends within a line of the other shard."""
    lines = make_lines(9, width=3)
    for number in (2, 5):
        lines[number][2] = bytes(300_000)
    expected = as_dicts(lines)[index::2]
    with serve({"training": lambda _: flat(lines)}, "RecordIO", chunk_bytes=1000):
        ds = without_autotune(make_manifest(3, read_ahead_bytes=read_ahead_bytes).shard(2, index))
        for taken in range(len(expected) + 1):
            iterator = iter(ds)
            assert plain(take(iterator, taken)) == expected[:taken]
            path = tf.train.Checkpoint(iterator=iterator).save(str(tmp_path / f"{taken}"))
            del iterator
            iterator = iter(ds)
            tf.train.Checkpoint(iterator=iterator).restore(path).assert_consumed()
            assert plain(take(iterator, len(lines))) == expected[taken:]


@pytest.mark.parametrize("read_ahead_bytes", [0, 1 << 22])
def test_a_line_comes_as_soon_as_it_is_whole(job, read_ahead_bytes):
    path = job.make_fifo()
    iterator = iter(make_manifest(read_ahead_bytes=read_ahead_bytes))
    writer = Background(lambda: path.open("wb", buffering=0))
    line = Background(lambda: next(iterator))
    with writer.result() as fifo:
        for image, label in LINES[:3]:
            # The end of one line and the beginning of the next come at once.
            fifo.write(stream([label] if image != LINES[0][0] else [image, label], "RecordIO"))
            fifo.write(stream([LINES[1 + int(label.split()[1])][0]], "RecordIO"))
            got = line.result()
            assert (got["image-ref"].numpy(), got["label"].numpy()) == (image, label)
            line = Background(lambda: next(iterator))
        fifo.write(stream([LINES[3][1]], "RecordIO"))
    assert line.result()["label"].numpy() == LINES[3][1]


def test_large_batches_keep_arrays_of_each_attribute(serve):
    """Memory goes round by attribute: what has held a label never holds an image."""
    epoch = flat([bytes([n]) * 50_000, b"label %d" % n] for n in range(200))
    with serve({"training": lambda _: epoch}, "RecordIO"):
        seen = set()
        for batch in make_manifest().repeat(2).batch(8).prefetch(2):
            images, labels = batch["image-ref"].numpy(), batch["label"].numpy()
            for image, label in zip(images, labels, strict=True):
                assert label == b"label %d" % image[0]
                assert image == bytes([image[0]]) * 50_000
                seen.add(image[0])
        assert len(seen) == 200


def test_shards_count_lines(serve):
    with serve({"training": lambda _: flat(LINES)}, "RecordIO"):
        for index in range(3):
            assert records(make_manifest().shard(3, index)) == as_dicts(LINES[index::3])


def test_stats_count_each_attribute(serve):
    with serve({"training": [flat(LINES)]}, "RecordIO"):
        ds = make_manifest()
        records(ds.batch(4))
        stats = ds.stats()
    assert (stats.records, stats.epochs, stats.queued_records) == (20, 1, 0)
    assert stats.bytes == sum(map(len, flat(LINES)))


def test_cardinality_and_what_stays_in_the_op(job):
    ds = make_manifest().shard(2, 0).repeat().batch(4, drop_remainder=True)
    assert isinstance(ds, PipeModeDataset)
    assert ds.attributes == NAMES[:2]
    assert ds.cardinality() == tf.data.INFINITE_CARDINALITY
    assert ds.element_spec == dict.fromkeys(NAMES[:2], tf.TensorSpec([4], tf.string))


def test_through_a_graph_definition(serve):
    with serve({"training": [flat(LINES)]}, "RecordIO"):
        ds = make_manifest().batch(4)
        graph = tf.raw_ops.DatasetToGraphV2(
            input_dataset=tf.data.experimental.to_variant(ds), external_state_policy=1
        )
        (node,) = [n for n in graph_pb2.GraphDef.FromString(graph.numpy()).node if "Pipe" in n.op]
        assert list(node.attr["manifest_attributes"].list.s) == [b"image-ref", b"label"]
        copy = tf.data.experimental.from_variant(
            tf.raw_ops.DatasetFromGraph(graph_def=graph), ds.element_spec
        )
        assert plain(records(copy.unbatch())) == as_dicts(LINES)


def test_a_checkpoint_of_another_number_of_attributes(serve, tmp_path):
    with serve({"training": lambda _: flat(make_lines(12))}, "RecordIO") as job:
        iterator = iter(without_autotune(make_manifest()))
        for _ in range(3):
            next(iterator)
        path = tf.train.Checkpoint(iterator=iterator).save(str(tmp_path / "checkpoint"))
        state = job.state()
        for other, number in [(make_manifest(3), 3), (make(record_format="RecordIO"), 0)]:
            with pytest.raises(tf.errors.InvalidArgumentError) as raised:
                tf.train.Checkpoint(iterator=iter(without_autotune(other))).restore(path)
            message = f"with the number of attributes '2', and this one has '{number}'"
            assert message in raised.value.message
        assert job.state() == state


def settings_of(**settings):
    return {"training": {"TrainingInputMode": "Pipe", **settings}}


def test_names_from_the_configuration(serve):
    with serve({"training": lambda _: flat(LINES)}, "RecordIO") as job:
        job.write_config(settings_of(AttributeNames=["image-ref", "label"]))
        for attributes in [True, NAMES[:2], ["image-ref", "label"], ("image-ref", "class")]:
            ds = make(record_format="RecordIO", attributes=attributes)
            second = "class" if "class" in ds.attributes else "label"
            assert ds.attributes == ("image-ref", second)
            assert [line[second] for line in records(ds)] == [line[1] for line in LINES]
        # Scripts of the predecessor go on to get records.
        for attributes in [None, False]:
            ds = make(record_format="RecordIO", attributes=attributes)
            assert ds.attributes is None
            assert records(ds) == flat(LINES)


@pytest.mark.parametrize(
    "attributes", [("label", "image-ref"), ("label",), ("image-ref", "label", "a"), ("label", "x")]
)
def test_names_that_the_job_does_not_send(job, attributes):
    job.write_config(settings_of(AttributeNames=["image-ref", "label"]))
    with pytest.raises(PipeModeDatasetException) as raised:
        make(record_format="RecordIO", attributes=attributes)
    assert "but the job sends AttributeNames ('image-ref', 'label')" in str(raised.value)
    assert not job.state_dir.exists()


@pytest.mark.parametrize("sent", [None, [], "label", [3], {"a": 1}])
def test_no_names_in_the_configuration(job, sent):
    job.write_config(settings_of(AttributeNames=sent))
    with pytest.raises(PipeModeDatasetException, match="has no AttributeNames for channel 'train"):
        make(record_format="RecordIO", attributes=True)
    assert not job.state_dir.exists()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"attributes": "label"}, TypeError, "must be a sequence of names or True, not 'label'"),
        ({"attributes": 3}, TypeError, "must be a sequence of names or True, not 3"),
        ({"attributes": {"a", "b"}}, TypeError, "must be a sequence of names or True"),
        ({"attributes": ("a", 3)}, TypeError, "and not all are of type str: ('a', 3)"),
        ({"attributes": (b"a",)}, TypeError, "and not all are of type str"),
        ({"attributes": ()}, tf.errors.InvalidArgumentError, "must have at least one name"),
        ({"attributes": ("a", "")}, tf.errors.InvalidArgumentError, "must not have an empty name"),
        (
            {"attributes": ("a", "b", "a")},
            tf.errors.InvalidArgumentError,
            "attributes must not name 'a' twice",
        ),
        (
            {"attributes": [f"a{n}" for n in range(17)]},
            tf.errors.InvalidArgumentError,
            "attributes are 17 names, and the service sends 16 at most",
        ),
        (
            {"record_format": "TFRecord"},
            tf.errors.InvalidArgumentError,
            "comes as record_format 'RecordIO', and this one is 'TFRecord'",
        ),
        (
            {"record_format": "textline"},
            tf.errors.InvalidArgumentError,
            "and this one is 'TextLine'",
        ),
    ],
)
def test_arguments_that_mean_nothing(job, options, error, message):
    with pytest.raises(error) as raised:
        make(**{"record_format": "RecordIO", "attributes": ("a",), **options})
    assert message in str(raised.value)
    assert job.state() is None


def test_as_many_attributes_as_the_service_sends(serve):
    names = [f"attribute {n}" for n in range(16)]
    values = [f"value {n}".encode() for n in range(16)]
    with serve({"training": [values * 3]}, "RecordIO"):
        ds = make(record_format="RecordIO", attributes=names)
        assert records(ds) == [dict(zip(names, values, strict=True))] * 3


def test_a_channel_that_is_known_later(serve):
    with serve({"training": [flat(LINES)]}, "RecordIO"):
        ds = tf.data.Dataset.from_tensors("training").interleave(make_manifest_of)
        assert records(ds) == as_dicts(LINES)
        with pytest.raises(PipeModeDatasetException, match="pass attributes="):
            tf.data.Dataset.from_tensors("training").interleave(
                lambda channel: make(channel, "RecordIO", attributes=True)
            )


def make_manifest_of(channel):
    return make(channel, "RecordIO", attributes=NAMES[:2])


@pytest.mark.parametrize("mode", ["Pipe", "File"])
def test_channel_dataset_passes_them_on(serve, job, monkeypatch, mode):
    config = {"TrainingInputMode": mode, "AttributeNames": list(NAMES[:2])}
    options = {"attributes": True, "open_timeout": LIMIT, "read_timeout": LIMIT}
    if mode == "File":
        (job.pipe_dir / "training").mkdir()
        (job.pipe_dir / "training" / "part").write_bytes(stream(flat(LINES), "RecordIO"))
        job.write_config({"training": config})
        assert records(channel_dataset("training", **options)) == as_dicts(LINES)
        return
    with serve({"training": [flat(LINES)]}, "RecordIO") as served:
        served.write_config({"training": config})
        assert records(channel_dataset("training", **options)) == as_dicts(LINES)
