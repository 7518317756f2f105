# SPDX-License-Identifier: Apache-2.0
"""PipeModeDataset as a node of graphs: definitions, optimisation, state outside of the graph."""

import ctypes
from pathlib import Path

import pytest
import tensorflow as tf
from dataset_helpers import make, records
from pipe_helpers import feed, stream
from tensorflow.core.framework import graph_pb2
from tensorflow.python.data.experimental.ops import testing

RECORDS = [b"a", b"b", b"c"]
IGNORE, FAIL = 1, 2  # external_state_policy


def graph_of(dataset, policy=IGNORE):
    return tf.raw_ops.DatasetToGraphV2(
        input_dataset=tf.data.experimental.to_variant(dataset), external_state_policy=policy
    )


def dataset_of(graph, spec=tf.TensorSpec([], tf.string)):  # noqa: B008
    return tf.data.experimental.from_variant(tf.raw_ops.DatasetFromGraph(graph_def=graph), spec)


def test_from_a_graph_definition_and_back(serve):
    with serve({"training": [RECORDS, RECORDS]}) as job:
        graph = graph_of(make())
        assert job.state() is None
        assert records(dataset_of(graph)) == RECORDS
        assert records(dataset_of(graph)) == RECORDS  # the next epoch
        assert job.state() == "2"


def test_a_whole_pipeline_from_a_graph_definition(serve):
    with serve({"training": [RECORDS] * 2}):
        graph = graph_of(make().repeat(2).batch(6))
        (batch,) = dataset_of(graph, tf.TensorSpec([None], tf.string))
        assert batch.numpy().tolist() == RECORDS * 2


def test_a_graph_definition_holds_all_attributes(job):
    options = {
        "compression_type": "GZIP",
        "recordio_parts": "dmlc",
        "open_timeout": 1.5,
        "read_timeout": 2.5,
        "max_record_bytes": 1000,
        "max_corrupted_records_to_skip": 7,
        "benchmark": True,
        "benchmark_records_interval": 9,
    }
    graph = graph_pb2.GraphDef.FromString(graph_of(make(**options)).numpy())
    (node,) = [node for node in graph.node if node.op == "PipeModeDataset"]
    options |= {
        "record_format": "TFRecord",
        "pipe_dir": str(job.pipe_dir),
        "state_dir": str(job.state_dir),
        "pipe_channels": [],
        "output_types": [tf.string.as_datatype_enum],
    }

    def value(attribute):
        kind = attribute.WhichOneof("value")
        value = getattr(attribute, kind)
        if kind == "list":
            return [*value.s, *value.type]
        return value.decode() if kind == "s" else value

    assert {name: value(node.attr[name]) for name in options} == options


def test_a_graph_definition_holds_the_channels_that_there_are(job):
    ds = tf.data.Dataset.from_tensors("training").flat_map(make)
    graph = graph_pb2.GraphDef.FromString(graph_of(ds).numpy())
    nodes = [node for f in graph.library.function for node in f.node_def]
    (node,) = [node for node in nodes if node.op == "PipeModeDataset"]
    assert list(node.attr["pipe_channels"].list.s) == [b"training", b"validation"]


def test_static_optimization_reaches_through(serve):
    options = tf.data.Options()
    options.experimental_optimization.map_and_batch_fusion = True
    options.experimental_optimization.noop_elimination = True
    with serve({"training": [RECORDS]}) as job:
        ds = make().apply(testing.assert_next(["MapAndBatch"]))
        ds = ds.take(-1).map(tf.strings.upper).batch(3).with_options(options)
        (batch,) = ds
        assert batch.numpy().tolist() == [record.upper() for record in RECORDS]
        assert job.state() == "1"


def test_equal_datasets_are_never_merged(job):
    # Both FIFOs are there from the start, for both are read at once.
    feed(job.make_fifo(0), stream([b"first"], "TFRecord"))
    feed(job.make_fifo(1), stream([b"second"], "TFRecord"))
    assert records(tf.data.Dataset.zip((make(), make()))) == [(b"first", b"second")]


def test_it_says_that_it_has_a_state_outside(job):
    with pytest.raises(tf.errors.FailedPreconditionError) as raised:
        graph_of(make().batch(2), FAIL)
    assert "(training) reads a FIFO, whose content is not part of the graph" in (
        raised.value.message
    )


def test_save_and_load_the_records(serve, tmp_path):
    with serve({"training": [RECORDS]}):
        make().save(str(tmp_path / "saved"))
    assert records(tf.data.Dataset.load(str(tmp_path / "saved"))) == RECORDS


def bytes_read():
    """The counter that tf.data's monitoring shows."""
    library = next(
        line.split()[-1]
        for line in Path("/proc/self/maps").read_text().splitlines()
        if "libtensorflow_framework.so" in line
    )

    class StdString(ctypes.Structure):  # short ones of libstdc++ are stored in place
        _fields_ = (
            ("data", ctypes.c_void_p),
            ("size", ctypes.c_size_t),
            ("in_place", ctypes.c_char * 16),
        )

    get_counter = ctypes.CDLL(library)[
        "_ZN10tensorflow7metrics25GetTFDataBytesReadCounterERKNSt7__cxx1112basic_stringIcSt11char_t"
        "raitsIcESaIcEEE"
    ]
    get_counter.argtypes = [ctypes.POINTER(StdString)]
    get_counter.restype = ctypes.POINTER(ctypes.c_int64)  # the cell is nothing but an atomic
    name = StdString(None, len(b"PipeMode"), b"PipeMode")
    name.data = ctypes.addressof(name) + StdString.in_place.offset
    return get_counter(ctypes.byref(name)).contents.value


def test_bytes_read_are_counted(serve):
    with serve({"training": [[b"abc", b"", b"defg"]]}):
        before = bytes_read()
        assert len(records(make())) == 3
        assert bytes_read() - before == 7


def test_an_exported_model_needs_no_package(serve, fork_server, tmp_path):
    class Model(tf.Module):
        def __init__(self):
            self.total = tf.Variable(0, dtype=tf.int64)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
        def __call__(self, batch):
            return tf.strings.length(batch)

    model = Model()
    with serve({"training": [RECORDS]}):
        for batch in make().batch(2):
            model.total.assign_add(tf.reduce_sum(tf.cast(model(batch), tf.int64)))
    tf.saved_model.save(model, str(tmp_path / "model"))
    content = (tmp_path / "model" / "saved_model.pb").read_bytes()
    assert b"PipeMode" not in content
    with fork_server.run(
        """
        import json, sys, tensorflow as tf
        model = tf.saved_model.load(sys.argv[1])
        ops = open("/proc/self/maps").read().count("pipemode_op_tf")
        print(json.dumps([model(tf.constant(["abc"])).numpy().tolist(), int(model.total), ops]))
        """,
        tmp_path / "model",
    ) as program:
        assert program.result() == [[3], 3, 0]
