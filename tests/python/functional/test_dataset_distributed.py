# SPDX-License-Identifier: Apache-2.0
"""Training by several devices and workers: how often each record is trained on, all in all."""

import contextlib
import json
import socket

import pytest
import tensorflow as tf
from dataset_helpers import make, records
from pipe_helpers import feed, stream
from sagemaker_tensorflow import PipeModeDataset

# Several processes that train, on a machine that may be busy.
pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

RECORDS = 40
BATCH = 8  # of all replicas together
EPOCHS = 8

# What all workers do: fit a line, and count in every replica what it is given.
PROGRAM = (
    """
import json, os, sys
import tensorflow as tf
from sagemaker_tensorflow import PipeModeDataset

options = json.loads(sys.argv[1])
cpus = tf.config.list_physical_devices("CPU")
devices = options.get("devices", 1)
tf.config.set_logical_device_configuration(
    cpus[0], [tf.config.LogicalDeviceConfiguration()] * devices
)
if options["strategy"] == "mirrored":
    strategy = tf.distribute.MirroredStrategy([f"CPU:{n}" for n in range(devices)])
else:
    strategy = tf.distribute.MultiWorkerMirroredStrategy()

class Count(tf.keras.layers.Layer):
    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def call(self, numbers):
        if tf.distribute.get_replica_context() is not None:  # and not while the model is built
            one_hot = tf.one_hot(tf.cast(numbers[:, 0], tf.int32), RECORDS)
            self.seen.assign_add(tf.reduce_sum(one_hot, 0))
        return numbers / RECORDS

def parse(records):
    numbers = tf.strings.to_number(records)[:, None]
    return numbers, 2 * numbers / RECORDS - 1

with strategy.scope():
    seen = tf.Variable(
        tf.zeros([RECORDS]), trainable=False, aggregation=tf.VariableAggregation.SUM,
        synchronization=tf.VariableSynchronization.ON_READ,
    )
    model = tf.keras.Sequential([tf.keras.Input([1]), Count(seen), tf.keras.layers.Dense(1)])
    model.compile(tf.keras.optimizers.SGD(0.5), "mse")

ds = PipeModeDataset("training", "TFRecord", open_timeout=30, read_timeout=30)
if options["steps"]:
    ds = ds.repeat()
ds = ds.batch(BATCH).map(parse).prefetch(1)
history = model.fit(
    ds, epochs=EPOCHS, steps_per_epoch=options["steps"], verbose=0,
)
here = [local.numpy().tolist() for local in strategy.experimental_local_results(seen)]
print(json.dumps([here, history.history["loss"]]), flush=True)
os._exit(0)  # the other worker may have ended first
""".replace("RECORDS", str(RECORDS))
    .replace("BATCH", str(BATCH))
    .replace("EPOCHS", str(EPOCHS))
)


def numbers(part=slice(None)):
    return [b"%d" % number for number in range(RECORDS)][part]


@pytest.mark.parametrize(
    ("devices", "steps"), [(1, None), (2, None), (2, RECORDS // BATCH)], ids=["1", "2", "2 steps"]
)
def test_mirrored_strategy(serve, fork_server, devices, steps):
    options = {"strategy": "mirrored", "devices": devices, "steps": steps}
    with (
        serve({"training": lambda _: numbers()}) as job,
        fork_server.run(PROGRAM, json.dumps(options)) as program,
    ):
        here, loss = program.result(timeout=200)
        epochs = int(job.state())
    # One for a look at its elements, which Keras 3 takes beforehand; one that is read ahead.
    assert EPOCHS <= epochs <= EPOCHS + (1 if steps is None else 4)
    assert [sum(counts) for counts in zip(*here, strict=True)] == [EPOCHS] * RECORDS
    assert loss[-1] < 0.1 * loss[0]


def free_ports(count):
    """Ports of loopback that nobody listened on a moment ago."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture
def train_on_two_workers(serve, keras_2_server, monkeypatch):
    """Runs ``PROGRAM`` in two processes, each with its own job; returns what each one printed.

    By Keras 2, for that of Keras 3 fails under MultiWorkerMirroredStrategy with any dataset.
    """

    def train(shares, distribution, **options):
        ports = free_ports(2)
        cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
        options = {"strategy": "workers", "steps": RECORDS // BATCH, **options}
        with contextlib.ExitStack() as stack:
            programs = []
            for index, share in enumerate(shares):
                job = stack.enter_context(serve({"training": share}))
                config = {"TrainingInputMode": "Pipe", "S3DistributionType": distribution}
                job.write_config({"training": config})
                task = {"type": "worker", "index": index}
                monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": task}))
                programs.append(
                    stack.enter_context(keras_2_server.run(PROGRAM, json.dumps(options)))
                )
            return [program.result(timeout=200) for program in programs]

    return train


def check_two_workers(results):
    counts = [sum(local) for here, _ in results for local in zip(*here, strict=True)]
    total = [sum(pair) for pair in zip(counts[:RECORDS], counts[RECORDS:], strict=True)]
    assert total == [EPOCHS] * RECORDS
    for _, loss in results:
        assert loss[-1] < 0.1 * max(loss)
    return counts[:RECORDS], counts[RECORDS:]


def test_workers_that_each_get_everything(train_on_two_workers):
    results = train_on_two_workers([lambda _: numbers()] * 2, "FullyReplicated")
    first, second = check_two_workers(results)
    assert sum(first) == sum(second)


def test_workers_that_each_get_a_share(train_on_two_workers):
    half = RECORDS // 2
    shares = [lambda _: numbers(slice(0, half)), lambda _: numbers(slice(half, None))]
    first, _ = check_two_workers(train_on_two_workers(shares, "ShardedByS3Key"))
    assert first == [EPOCHS] * half + [0] * half


def policy(dataset):
    return dataset.options().experimental_distribute.auto_shard_policy


POLICY = tf.data.experimental.AutoShardPolicy


@pytest.mark.parametrize(
    ("distribution", "expected"),
    [
        ({"S3DistributionType": "ShardedByS3Key"}, POLICY.OFF),
        ({"S3DistributionType": "FullyReplicated"}, POLICY.DATA),
        ({"S3DistributionType": "fullyreplicated"}, POLICY.DATA),
        ({"S3DistributionType": "NoSuchThing"}, POLICY.AUTO),
        ({}, POLICY.AUTO),
    ],
)
def test_the_service_tells_how_to_shard(job, distribution, expected):
    job.write_config({"training": {"TrainingInputMode": "Pipe", **distribution}})
    ds = make()
    assert policy(ds) == expected
    assert policy(ds.repeat().batch(2).map(tf.identity).prefetch(1)) == expected


@pytest.mark.parametrize("mine", [POLICY.OFF, POLICY.FILE, POLICY.DATA])
@pytest.mark.parametrize("distribution", ["ShardedByS3Key", "FullyReplicated"])
def test_what_the_user_sets_later_counts(job, distribution, mine):
    job.write_config(
        {"training": {"TrainingInputMode": "Pipe", "S3DistributionType": distribution}}
    )
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = mine
    assert policy(make().with_options(options)) == mine
    assert policy(make().with_options(options).repeat(2).batch(2)) == mine
    assert policy(make().batch(2).map(tf.identity).with_options(options)) == mine


def test_options_leave_batch_and_repeat_in_the_op(serve):
    options = tf.data.Options()
    options.threading.private_threadpool_size = 3
    options.deterministic = False
    with serve({"training": [[b"a"], [], [b"b", b"c"]]}) as job:
        ds = make().with_options(options).repeat(3).batch(2)
        assert isinstance(ds, PipeModeDataset)
        assert ds.element_spec == tf.TensorSpec([None], tf.string)
        assert ds.options().threading.private_threadpool_size == 3
        assert ds.options().deterministic is False
        assert policy(ds) == POLICY.DATA
        assert [batch.tolist() for batch in records(ds)] == [[b"a", b"b"], [b"c"]]
        assert job.state() == "3"


WORKER = """
import json, os, sys
from sagemaker_tensorflow import PipeModeDataset, PipeModeDatasetException

cluster = {"chief": ["127.0.0.1:1"], "worker": ["127.0.0.1:2"], "ps": ["127.0.0.1:3"]}
kind, channel = sys.argv[1:]
os.environ["TF_CONFIG"] = json.dumps({"cluster": cluster, "task": {"type": kind, "index": 0}})
try:
    state_dir = os.path.relpath(os.path.join(os.environ["SAGEMAKER_BASE_DIR"], "pipe_state"))
    again = PipeModeDataset(channel, "TFRecord", state_dir)  # the same folder
    ds = PipeModeDataset(channel, "TFRecord", open_timeout=30)
    print("made", flush=True)
    print([record.numpy().decode() for record in ds], flush=True)
except PipeModeDatasetException as error:
    print(error)
"""


def test_two_workers_on_one_base_folder(job, fork_server):
    path = job.make_fifo()
    with fork_server.run(WORKER, "worker", "training") as first:
        first.wait_for_output("made")
        with fork_server.run(WORKER, "chief", "training") as second:
            assert second.wait() == 0, second.stderr
            assert f"chief 0 (process {second.pid}) cannot read channel 'training'" in second.stdout
            assert f"worker 0 (process {first.pid}) does" in second.stdout
            assert "a SAGEMAKER_BASE_DIR of its own" in second.stdout
        # What is not one of those that train, and what has another channel, is not concerned.
        with fork_server.run(WORKER, "ps", "training") as other:
            other.wait_for_output("made")
        with fork_server.run(WORKER, "chief", "validation") as other:
            other.wait_for_output("made")
        feed(path, stream([b"a", b"b"], "TFRecord"))
        assert first.wait() == 0, first.stderr
        assert "['a', 'b']" in first.stdout
        assert job.state() == "1"
    with fork_server.run(WORKER, "chief", "training") as later:
        later.wait_for_output("made")


@pytest.mark.parametrize(
    "tf_config", ["", "{}", "[]", "no JSON", '{"cluster": 1, "task": {}}', '{"cluster": {}}']
)
def test_no_cluster(job, monkeypatch, tf_config):
    monkeypatch.setenv("TF_CONFIG", tf_config)
    make()
    assert [path.name for path in job.state_dir.iterdir()] == []


RANK = """
import json, os
from sagemaker_tensorflow import PipeModeDataset

rank = int(os.environ["OMPI_COMM_WORLD_LOCAL_RANK"])  # hvd.local_rank()
ds = PipeModeDataset(f"training_{rank}", "TFRecord", open_timeout=30, read_timeout=30)
print(json.dumps([batch.numpy().astype(str).tolist() for batch in ds.repeat(2).batch(2)]))
"""


def test_one_channel_for_each_rank(serve, fork_server, monkeypatch):
    channels = {f"training_{rank}": lambda _, rank=rank: numbers()[rank::2] for rank in range(2)}
    with contextlib.ExitStack() as stack:
        job = stack.enter_context(serve(channels))
        programs = []
        for rank in range(2):
            monkeypatch.setenv("OMPI_COMM_WORLD_LOCAL_RANK", str(rank))
            programs.append(stack.enter_context(fork_server.run(RANK)))
        for rank, program in enumerate(programs):
            batches = program.result()
            assert [int(number) for batch in batches for number in batch] == [
                *range(rank, RECORDS, 2)
            ] * 2
            assert job.state(f"training_{rank}") == "2"
