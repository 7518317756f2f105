# SPDX-License-Identifier: Apache-2.0
"""PipeModeDataset sent to other processes: the tf.data service, and models without it."""

from collections import Counter

import pytest
import tensorflow as tf
from dataset_helpers import make, make_any_mode, records
from pipe_helpers import stream

pytestmark = pytest.mark.long

RECORDS = [b"%d" % number for number in range(30)]

WORKER = """
import sys
import tensorflow as tf
from sagemaker_tensorflow import load_op

load_op()
service = tf.data.experimental.service
worker = service.WorkerServer(service.WorkerConfig(dispatcher_address=sys.argv[1]))
print("ready", flush=True)
worker.join()
"""


@pytest.fixture
def worker(fork_server):
    """The target of a dispatcher, and the one worker that it has: another process."""
    dispatcher = tf.data.experimental.service.DispatchServer()
    with fork_server.run(WORKER, dispatcher.target.partition("://")[2]) as program:
        program.wait_for_output("ready")
        yield dispatcher.target, program
    del dispatcher


@pytest.mark.parametrize("policy", tf.data.experimental.ExternalStatePolicy)
def test_a_worker_of_the_service_reads_it(serve, worker, policy):
    target, program = worker
    options = tf.data.Options()
    options.experimental_external_state_policy = policy
    distribute = tf.data.experimental.service.distribute("parallel_epochs", target)
    with serve({"training": [RECORDS]}) as job:
        ds = make(benchmark_records_interval=10).with_options(options).batch(4).prefetch(1)
        if policy is tf.data.experimental.ExternalStatePolicy.FAIL:
            with pytest.raises(tf.errors.FailedPreconditionError, match="reads a FIFO"):
                records(ds.apply(distribute))
            assert job.state() is None
            return
        batches = records(ds.apply(distribute))
        assert [record for batch in batches for record in batch] == RECORDS
        assert job.state() == "1"
        program.wait_for_output("Iterator records: 30")  # it was the worker that read


def test_a_worker_goes_on_from_epoch_to_epoch(serve, worker):
    target, _ = worker
    distribute = tf.data.experimental.service.distribute("parallel_epochs", target)
    with serve({"training": [RECORDS, RECORDS[:3]]}) as job:
        assert len(records(make().repeat(2).apply(distribute))) == 33
        assert job.state() == "2"


@pytest.mark.parametrize("policy", tf.data.experimental.ExternalStatePolicy)
def test_each_worker_reads_files_by_itself(write, worker, fork_server, policy):
    write({str(n): stream(RECORDS[n::3], "TFRecord") for n in range(3)})
    target, _ = worker
    options = tf.data.Options()
    options.experimental_external_state_policy = policy  # files are no state
    distribute = tf.data.experimental.service.distribute("parallel_epochs", target)
    with fork_server.run(WORKER, target.partition("://")[2]) as second:
        second.wait_for_output("ready")
        batches = records(make_any_mode().with_options(options).batch(4).apply(distribute))
    counts = Counter(record for batch in batches for record in batch)
    # A worker that joined late may have missed the epoch.
    assert set(counts) == set(RECORDS)
    assert set(counts.values()) <= {1, 2}


@pytest.mark.parametrize("policy", tf.data.experimental.ExternalStatePolicy)
def test_a_position_is_saved_whatever_the_policy(serve, tmp_path, policy):
    """An iterator saves its state itself; the policy is about what is saved without it."""
    options = tf.data.Options()
    options.experimental_external_state_policy = policy
    with serve({"training": lambda _: RECORDS}):
        ds = make().with_options(options).batch(4)
        iterator = iter(ds)
        next(iterator)
        path = tf.train.Checkpoint(iterator=iterator).save(str(tmp_path / "checkpoint"))
        del iterator
        iterator = iter(ds)
        tf.train.Checkpoint(iterator=iterator).restore(path).assert_consumed()
        assert next(iterator).numpy().tolist() == RECORDS[4:8]


TRAIN = """
import sys
import tensorflow as tf
from sagemaker_tensorflow import PipeModeDataset

def parse(records):
    numbers = tf.strings.to_number(records)[:, None] / 30
    return numbers, 3 * numbers

model = tf.keras.Sequential([tf.keras.Input([1]), tf.keras.layers.Dense(1)])
model.compile("sgd", "mse")
model.fit(PipeModeDataset("training", "TFRecord", open_timeout=30).batch(5).map(parse), verbose=0)
model.export(sys.argv[1])
print(float(model(tf.constant([[2.0]]))[0, 0]))
"""

PREDICT = """
import sys
for name in [name for name in sys.modules if name.partition(".")[0] == "sagemaker_tensorflow"]:
    del sys.modules[name]
sys.modules["sagemaker_tensorflow"] = None  # cannot be imported
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
print(float(model.signatures["serving_default"](tf.constant([[2.0]])).popitem()[1][0, 0]))
assert "pipemode_op_tf" not in open("/proc/self/maps").read()
"""


@pytest.mark.parametrize("server", ["fork_server", "keras_2_server"])
def test_an_exported_keras_model_needs_no_package(serve, request, tmp_path, server):
    server = request.getfixturevalue(server)
    path = tmp_path / "model"
    with serve({"training": [stream(RECORDS, "TFRecord")]}), server.run(TRAIN, path) as program:
        assert program.wait() == 0, program.stderr
        expected = float(program.stdout.splitlines()[-1])
    for file in path.rglob("*"):
        assert not file.is_file() or b"PipeMode" not in file.read_bytes(), file
    with server.run(PREDICT, path) as program:
        assert program.result() == expected
