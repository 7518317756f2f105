# SPDX-License-Identifier: Apache-2.0
"""A Keras training that is killed and started again, with its model's own count of what it saw."""

import contextlib
import gzip
import json
import random
import signal
import time

import pytest
import tensorflow as tf
from dataset_helpers import make
from pipe_helpers import stream
from sagemaker_tensorflow import PipeModeCheckpoint, channel_dataset

# Several processes that start Keras, one after the other, on a machine that may be busy.
pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

RECORDS = 60
BATCH = 5
EPOCHS = 3
STREAM = stream([b"%03d" % number for number in range(RECORDS)], "TFRecord")

# The model counts how often it was trained on each record: a weight like any other.
PROGRAM = (
    """
import inspect, json, sys
import tensorflow as tf
from sagemaker_tensorflow import PipeModeCheckpoint, PipeModeDataset

keras = tf.keras
folder, compression_type, way, options = sys.argv[1:]
options = {"records": RECORDS, "batch": BATCH, "epochs": EPOCHS, **json.loads(options)}

class Count(keras.layers.Layer):
    def __init__(self, records):
        super().__init__()
        self.records = records

    def build(self, shape):
        self.seen = self.add_weight(
            name="seen", shape=(self.records,), initializer="zeros", trainable=False
        )

    def call(self, number):
        self.seen.assign_add(tf.reduce_sum(tf.one_hot(number[:, 0], self.records), 0))
        return tf.cast(number, tf.float32)

class Say(keras.callbacks.Callback):
    batches = 0

    def on_train_batch_end(self, batch, logs=None):
        self.batches += 1
        if self.batches == options.get("hang_at"):
            print("hangs", flush=True)
            time.sleep(600)
        print("batch", batch, flush=True)

def parse(records):
    numbers = tf.strings.to_number(records, tf.int32)[:, None]
    return numbers, tf.ones_like(numbers, tf.float32)

model = keras.Sequential(
    [
        keras.Input([1], dtype="int32"),
        Count(options["records"]),
        keras.layers.BatchNormalization(),
        keras.layers.Dense(1),
    ]
)
model.compile("adam", "mse", steps_per_execution=options.get("steps_per_execution", 1))

ds = PipeModeDataset("training", "TFRecord", compression_type=compression_type or None,
                     open_timeout=30, read_timeout=30)
if way == "position":
    ds = ds.repeat(None if options.get("endless") else options["epochs"])
    ds = ds.batch(options["batch"]).map(parse).prefetch(2)
    checkpoint = PipeModeCheckpoint(folder, ds, save_freq=options["save_freq"])
    model.fit(
        checkpoint.dataset, epochs=options["epochs"], initial_epoch=checkpoint.initial_epoch,
        steps_per_epoch=options["records"] // options["batch"], callbacks=[checkpoint, Say()],
        verbose=0,
    )
else:
    ds = ds.batch(options["batch"]).map(parse).prefetch(2)
    backup_class = keras.callbacks.BackupAndRestore
    can_double = "double_checkpoint" in inspect.signature(backup_class.__init__).parameters
    extra = {"double_checkpoint": True} if can_double else {}
    backup = backup_class(folder, delete_checkpoint=False, **extra)
    model.fit(ds, epochs=options["epochs"], callbacks=[backup, Say()], verbose=0)
print(json.dumps([int(count) for count in model.layers[0].seen.numpy()]), flush=True)
""".replace("RECORDS", str(RECORDS))
    .replace("BATCH", str(BATCH))
    .replace("EPOCHS", str(EPOCHS))
)


def train(server, folder, way, compression_type="", **options):
    return server.run(PROGRAM, folder, compression_type, way, json.dumps(options))


def check(program):
    assert program.wait(timeout=120) == 0, program.stderr
    assert json.loads(program.stdout.splitlines()[-1]) == [EPOCHS] * RECORDS


def kill_and_check(serve, server, folder, way, compression_type="", kills=3, **options):
    """Kills the training at random points, and lets it end at last."""
    epoch = gzip.compress(STREAM) if compression_type else STREAM
    seed = random.randrange(1 << 32)
    print("seed", seed)
    chance = random.Random(seed)
    steps = RECORDS // BATCH // options.get("steps_per_execution", 1)  # of an epoch
    # Slowly: about 6 ms a batch.
    rate = len(epoch) * BATCH / RECORDS / 0.006

    def start():
        """A new job, whose FIFOs begin at 0 again."""
        stack = contextlib.ExitStack()
        stack.enter_context(
            serve({"training": lambda _: epoch}, chunk_bytes=50, bytes_per_second=rate)
        )
        stack.enter_context(program := train(server, folder, way, compression_type, **options))
        return stack, program

    for kill in range(kills):
        # It gets no further than that, so that there is something left after all kills.
        batches = chance.randint(1, steps - 3)
        options["hang_at"] = batches + 2
        if way == "backup" and kill == 0:
            options["hang_at"] += steps  # one epoch to keep
        stack, program = start()
        with stack:
            if way == "backup":
                # Keras writes its file in place: killed at that moment, it could not go on.
                program.wait_for_output("hangs", timeout=120)
            else:
                program.wait_for_output("batch", times=batches, timeout=120)
                time.sleep(chance.uniform(0, 0.01))
            program.send(signal.SIGKILL)
            program.wait()
    del options["hang_at"]
    stack, program = start()
    with stack:
        check(program)


@pytest.mark.parametrize(
    ("compression_type", "options"),
    [("", {"steps_per_execution": 3}), ("GZIP", {"endless": True})],
    ids=["plain", "gzip"],
)
def test_killed_in_mid_epoch(serve, fork_server, tmp_path, compression_type, options):
    kill_and_check(
        serve, fork_server, tmp_path, "position", compression_type, save_freq=2, **options
    )


def test_killed_in_mid_epoch_with_keras_2(serve, keras_2_server, tmp_path):
    kill_and_check(serve, keras_2_server, tmp_path, "position", kills=2, save_freq=3, endless=True)


def test_killed_and_begun_again_with_the_last_epoch(serve, fork_server, tmp_path):
    kill_and_check(serve, fork_server, tmp_path, "backup")


def test_killed_and_begun_again_with_the_last_epoch_with_keras_2(serve, keras_2_server, tmp_path):
    kill_and_check(serve, keras_2_server, tmp_path, "backup", kills=2)


class InterruptionError(Exception):
    pass


class InterruptAt(tf.keras.callbacks.Callback):
    """Ends ``fit`` after so many batches."""

    def __init__(self, batches):
        super().__init__()
        self.batches = batches

    def on_train_batch_end(self, batch, logs=None):
        self.batches -= 1
        if self.batches == 0:
            raise InterruptionError


def parse(records):
    numbers = tf.strings.to_number(records)[:, None] / RECORDS
    return numbers, 3 * numbers


def make_dataset():
    return make().repeat().shuffle(8, seed=5).batch(BATCH).map(parse).prefetch(1)


def make_model(units=3):
    tf.keras.utils.set_random_seed(3)
    layers = tf.keras.layers
    model = tf.keras.Sequential(
        [
            tf.keras.Input([1]),
            layers.Dense(units, activation="relu"),
            layers.BatchNormalization(),
            layers.Dense(1),
        ]
    )
    model.compile("adam", "mse")
    return model


def fit(folder, *callbacks, save_freq=1, model=None, **options):
    model = model or make_model()
    checkpoint = PipeModeCheckpoint(folder, make_dataset(), save_freq)
    options = {
        "epochs": EPOCHS,
        "steps_per_epoch": RECORDS // BATCH,
        "initial_epoch": checkpoint.initial_epoch,
        **options,
    }
    history = model.fit(
        checkpoint.dataset, callbacks=[checkpoint, *callbacks], verbose=0, **options
    )
    return model, history


@pytest.fixture
def endless(serve):
    with serve({"training": lambda _: STREAM}) as job:
        yield job


def test_trains_the_same_model_as_without_interruption(endless, tmp_path):
    expected, _ = fit(tmp_path / "a")
    for batches in 3, 17:  # it saved these, and reads them no more
        with pytest.raises(InterruptionError):
            fit(tmp_path / "b", InterruptAt(batches))
    model, history = fit(tmp_path / "b")
    assert history.epoch == [1, 2]
    for weight, other in zip(model.get_weights(), expected.get_weights(), strict=True):
        tf.debugging.assert_near(weight, other, rtol=1e-5)
    assert int(model.optimizer.iterations) == EPOCHS * RECORDS // BATCH


def test_the_position_is_that_of_the_last_epoch(endless, tmp_path):
    with pytest.raises(InterruptionError):
        fit(tmp_path, InterruptAt(15), save_freq="epoch")
    model, history = fit(tmp_path, save_freq="epoch")
    assert history.epoch == [1, 2]
    assert int(model.optimizer.iterations) == EPOCHS * RECORDS // BATCH


def test_after_its_end_there_is_nothing_to_go_on_with(endless, tmp_path):
    trained, _ = fit(tmp_path)
    state = endless.state()
    model, history = fit(tmp_path)
    assert history.epoch == []
    assert endless.state() == state
    assert int(model.optimizer.iterations) == int(trained.optimizer.iterations)


def test_a_further_fit_with_the_same_callback(endless, tmp_path):
    model = make_model()
    checkpoint = PipeModeCheckpoint(tmp_path, make_dataset())
    for epochs in range(1, 4):
        assert checkpoint.initial_epoch == epochs - 1
        history = model.fit(
            checkpoint.dataset,
            epochs=epochs,
            steps_per_epoch=RECORDS // BATCH,
            initial_epoch=checkpoint.initial_epoch,
            callbacks=[checkpoint],
            verbose=0,
        )
        assert history.epoch == [epochs - 1]
    assert int(model.optimizer.iterations) == EPOCHS * RECORDS // BATCH


@pytest.mark.parametrize("steps", [6, 24])
def test_other_steps_than_those_of_the_checkpoint(endless, tmp_path, steps):
    with pytest.raises(InterruptionError):
        fit(tmp_path, InterruptAt(15))
    state = endless.state()
    with pytest.raises(ValueError, match=f"with steps_per_epoch=12, and .*, not {steps}, or"):
        fit(tmp_path, steps_per_epoch=steps)
    assert endless.state() == state


class EvaluateAt(tf.keras.callbacks.Callback):
    """Evaluates ``dataset`` when ``fit`` is at ``hook``."""

    def __init__(self, dataset, hook):
        super().__init__()
        self.dataset = dataset
        setattr(self, hook, self.evaluate)

    def evaluate(self, *_, **__):
        self.model.evaluate(self.dataset, steps=1, verbose=0)


@pytest.mark.parametrize(
    "hook", ["on_train_begin", "on_epoch_begin", "on_train_batch_end", "on_epoch_end", "validation"]
)
def test_the_dataset_is_for_training_alone(endless, tmp_path, hook):
    checkpoint = PipeModeCheckpoint(tmp_path, make_dataset(), save_freq=1)
    options = {"callbacks": [checkpoint]}
    if hook == "validation":
        options.update(validation_data=checkpoint.dataset, validation_steps=1)
    else:
        options["callbacks"].append(EvaluateAt(checkpoint.dataset, hook))
    message = "checkpoint.dataset is read a second time during fit"
    with pytest.raises(ValueError, match=message):
        make_model().fit(checkpoint.dataset, epochs=2, steps_per_epoch=3, verbose=0, **options)
    # Neither before nor after it.
    make_model().evaluate(make_dataset(), steps=1, verbose=0)
    fit(tmp_path, steps_per_epoch=3, epochs=2, validation_data=make_dataset(), validation_steps=1)


def test_data_that_runs_out(endless, tmp_path):
    """Keras warns; Keras 3 goes on with another iterator, Keras 2 ends."""
    ends = []
    count = tf.keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(len(batches)))
    batches = []
    count.on_train_batch_end = lambda batch, logs=None: batches.append(batch)
    checkpoint = PipeModeCheckpoint(tmp_path, make().repeat(2).batch(BATCH).map(parse))
    make_model().fit(
        checkpoint.dataset, epochs=3, steps_per_epoch=16, callbacks=[checkpoint, count], verbose=0
    )
    assert ends in ([16, 24, 40], [16, 24])
    assert endless.state() == ("4" if len(ends) == 3 else "2")


def test_class_weight(endless, tmp_path):
    with pytest.raises(ValueError, match="no class_weight, with which Keras makes another"):
        fit(tmp_path, class_weight={0: 1.0})


def test_a_wrong_epoch(endless, tmp_path):
    with pytest.raises(InterruptionError):
        fit(tmp_path, InterruptAt(15))
    with pytest.raises(ValueError, match=r"in epoch 1, but fit\(\) begins with 0: pass"):
        fit(tmp_path, initial_epoch=0)


def test_the_checkpoint_of_another_model(endless, tmp_path):
    fit(tmp_path, epochs=1)
    with pytest.raises((AssertionError, ValueError), match=r"[Ss]hape"):
        fit(tmp_path, model=make_model(units=4))


def test_no_steps_per_epoch(endless, tmp_path):
    # Keras 2 looks itself.
    message = (
        r"needs fit\(steps_per_epoch=...\), and a dataset with|must specify the number of steps"
    )
    with pytest.raises(ValueError, match=message):
        fit(tmp_path, steps_per_epoch=None)
    assert endless.state() is None


def test_a_model_that_is_not_built(endless, tmp_path):
    model = tf.keras.Sequential([tf.keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="needs a model that is built before fit"):
        fit(tmp_path, model=model)
    assert endless.state() is None


def test_another_dataset_than_that_of_the_checkpoint(endless, tmp_path):
    checkpoint = PipeModeCheckpoint(tmp_path, make_dataset())
    with pytest.raises(ValueError, match=r"does not read from checkpoint.dataset: pass that"):
        make_model().fit(make_dataset(), steps_per_epoch=1, callbacks=[checkpoint], verbose=0)


def test_under_a_strategy(endless, tmp_path):
    with tf.distribute.MirroredStrategy(["CPU:0"]).scope():
        model = make_model()
    with pytest.raises(ValueError, match=r"and no tf.distribute strategy, whose iterators cannot"):
        fit(tmp_path, model=model)
    assert tf.train.latest_checkpoint(str(tmp_path)) is None


@pytest.mark.parametrize("save_freq", [0, -1, "batch", 1.5, None, True])
def test_save_freq(job, tmp_path, save_freq):
    with pytest.raises(ValueError, match="save_freq must be a number of batches or 'epoch'"):
        PipeModeCheckpoint(tmp_path, make_dataset(), save_freq)


def test_a_channel_that_is_reshuffled(job, tmp_path, recwarn):
    PipeModeCheckpoint(tmp_path, make_dataset())
    assert not recwarn
    job.write_config(
        {
            "training": {"TrainingInputMode": "Pipe", "ShuffleConfig": {"Seed": 1}},
            "validation": {"TrainingInputMode": "Pipe"},
        }
    )
    both = tf.data.Dataset.zip((make().batch(2), make("validation").batch(2)))
    with pytest.warns(UserWarning, match="channel 'training' has a ShuffleConfig") as warned:
        PipeModeCheckpoint(tmp_path, both)
    assert len(warned) == 1
    assert warned[0].filename == __file__


@pytest.mark.parametrize("mode", ["File", "FastFile"])
def test_files_come_in_the_same_order_in_each_epoch(job, tmp_path, recwarn, mode):
    job.write_config({"training": {"TrainingInputMode": mode, "ShuffleConfig": {"Seed": 1}}})
    (job.pipe_dir / "training").mkdir()
    (job.pipe_dir / "training" / "part").write_bytes(STREAM)
    PipeModeCheckpoint(tmp_path, channel_dataset("training", "TFRecord").batch(2))
    assert not recwarn


def test_a_folder_with_other_checkpoints(job, tmp_path):
    tf.train.Checkpoint(step=tf.Variable(1)).save(str(tmp_path / "mine"))
    with pytest.raises(ValueError, match="mine-1' is no checkpoint of PipeModeCheckpoint"):
        PipeModeCheckpoint(tmp_path, make_dataset())


def test_a_reshuffled_channel_is_warned_of_once(endless, tmp_path, recwarn, capfd):
    """At the first start by the callback, at each further one by the op that goes on."""
    shuffled = {"TrainingInputMode": "Pipe", "ShuffleConfig": {"Seed": 1}}
    endless.write_config({"training": shuffled})

    def warned():
        said = [*map(str, (w.message for w in recwarn)), capfd.readouterr().err]
        recwarn.clear()
        return sum(text.count("channel 'training' has a ShuffleConfig") for text in said)

    with pytest.raises(InterruptionError):
        fit(tmp_path, InterruptAt(3))
    assert warned() == 1
    fit(tmp_path)
    assert warned() == 1
