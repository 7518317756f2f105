# SPDX-License-Identifier: Apache-2.0
"""PipeModeMetrics: what a user sees of a training that waits for its input, or does not."""

import time
import warnings

import pytest
import tensorflow as tf
from dataset_helpers import make
from pipe_helpers import stream, wait_until
from sagemaker_tensorflow import PipeModeMetrics, channel_dataset, channel_stats

RECORDS = [b"%04d" % number for number in range(100)]
NAMES = {
    "records_per_second",
    "megabytes_per_second",
    "starved",
    "pipe_wait",
    "backpressure",
    "corrupt_records",
    "epochs",
    "queued_records",
}


def parse(records):
    numbers = tf.strings.to_number(records)[:, None] / 100
    return numbers, numbers


def make_model():
    model = tf.keras.Sequential([tf.keras.Input([1]), tf.keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    # The first step compiles, for longer than the rest takes.
    model.fit(*parse(tf.constant(RECORDS[:10])), verbose=0)
    model.evaluate(*parse(tf.constant(RECORDS[:10])), verbose=0)
    return model


class Slow(tf.keras.callbacks.Callback):
    """A model that needs time."""

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(0.03)


def scalars(folder):
    """All values that TensorBoard finds, by tag."""
    found = {}
    for path in folder.rglob("events.*"):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                found.setdefault(value.tag, []).append(float(tf.make_ndarray(value.tensor)))
    return found


def test_training_that_waits_for_a_slow_pipe(serve, tmp_path):
    channels = {"training": [RECORDS] * 2, "validation": [RECORDS[:10]] * 2}
    with serve(channels, bytes_per_second=1000, chunk_bytes=100):
        training = make().batch(10).map(parse)
        validation = make("validation").batch(10).map(parse)
        metrics = PipeModeMetrics([training, validation], tmp_path / "own")
        seen = {}
        later = tf.keras.callbacks.LambdaCallback(on_epoch_end=seen.__setitem__)
        history = make_model().fit(
            training,
            validation_data=validation,
            epochs=2,
            callbacks=[metrics, later],
            verbose=0,
        )
    for channel in ("training", "validation"):
        for name in NAMES:
            assert len(history.history[f"{channel}_{name}"]) == 2
    for epoch in range(2):
        numbers = {name: history.history[f"training_{name}"][epoch] for name in NAMES}
        # 20 bytes a record in the pipe, at 1000 a second.
        assert 10 < numbers["records_per_second"] <= 65
        assert numbers["megabytes_per_second"] == pytest.approx(
            4e-6 * numbers["records_per_second"]
        )
        assert 0.5 < numbers["starved"] <= 1
        assert 0.5 < numbers["pipe_wait"] <= 1
        assert numbers["corrupt_records"] == 0
        assert 0 <= numbers["epochs"] <= 1  # Keras 2 does not look for the end of a later one
        assert numbers["queued_records"] == 0
    own = scalars(tmp_path / "own")
    assert own["pipe/training_starved"] == pytest.approx(history.history["training_starved"])
    assert [seen[epoch]["training_starved"] for epoch in range(2)] == pytest.approx(
        own["pipe/training_starved"]
    )


def test_the_tensorboard_callback_writes_them(serve, tmp_path):
    pytest.importorskip("tensorboard")  # which TensorFlow 2.21 does not bring along
    with serve({"training": [RECORDS]}):
        ds = make().batch(10).map(parse)
        board = tf.keras.callbacks.TensorBoard(str(tmp_path), write_graph=False)
        make_model().fit(ds, callbacks=[PipeModeMetrics(ds), board], verbose=0)
    assert len(scalars(tmp_path / "train")["epoch_training_starved"]) == 1


def test_training_that_is_slower_than_the_pipe(serve):
    with serve({"training": [RECORDS]}), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        warnings.filterwarnings("ignore", message="Your input ran out|.shuffle=True")
        ds = make(read_ahead_bytes=1).batch(10).map(parse)
        metrics = PipeModeMetrics(ds, warn_after=0.1)
        history = make_model().fit(ds, callbacks=[metrics, Slow()], verbose=0).history
    assert history["training_starved"][0] < 0.5
    assert history["training_backpressure"][0] > 0.3


def test_corrupt_records_are_counted_for_each_epoch(serve):
    content = bytearray(stream(RECORDS, "TFRecord"))
    content[5 * 20 + 12] ^= 1
    with serve({"training": [bytes(content), stream(RECORDS, "TFRecord"), bytes(content)]}):
        ds = make(max_corrupted_records_to_skip=1).batch(10).map(parse)
        history = make_model().fit(ds, epochs=3, callbacks=[PipeModeMetrics(ds)], verbose=0).history
    assert history["training_corrupt_records"] == [1, 0, 1]


def test_a_warning_once_when_training_starves(serve):
    with serve({"training": lambda _: RECORDS}, bytes_per_second=1000, chunk_bytes=100):
        ds = make().repeat().batch(5).map(parse)
        metrics = PipeModeMetrics(ds, warn_after=0.5)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            make_model().fit(ds, steps_per_epoch=25, callbacks=[metrics], verbose=0)
    messages = [str(w.message) for w in caught if "has waited for channel" in str(w.message)]
    assert len(messages) == 1
    assert "training has waited for channel 'training'" in messages[0]
    assert "for the pipe: the service or S3 is slower than training" in messages[0]


def test_what_lies_ready(serve):
    class Wait(tf.keras.callbacks.Callback):
        """Lets the reading get ahead."""

        def on_train_batch_end(self, batch, logs=None):
            stats = channel_stats("training")
            if stats.records == 50:
                wait_until(lambda: channel_stats("training").queued_records > 0)
            if stats.records == 200:
                wait_until(lambda: channel_stats("training").epochs == 2)

    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False  # it would take what lies ready
    with serve({"training": [RECORDS] * 2}):
        ds = make().repeat(2).batch(10).map(parse).with_options(options)
        history = make_model().fit(
            ds, epochs=4, steps_per_epoch=5, callbacks=[PipeModeMetrics(ds), Wait()], verbose=0
        )
    assert sum(history.history["training_epochs"]) == 2
    assert history.history["training_queued_records"][0] > 0
    assert history.history["training_queued_records"][-1] == 0


def test_what_is_read_between_epochs_counts(serve):
    class Between(tf.keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                assert len(list(make())) == len(RECORDS)

    with serve({"training": [RECORDS] * 3}):
        ds = make().batch(10).map(parse)
        history = make_model().fit(
            ds, epochs=2, callbacks=[Between(), PipeModeMetrics(ds)], verbose=0
        )
    assert history.history["training_epochs"] == [1, 2]


def test_a_channel_that_nobody_reads(serve):
    with serve({"training": [RECORDS] * 2}):
        ds = make().batch(10).map(parse)
        metrics = PipeModeMetrics(("training", "trainig", ds))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            make_model().fit(ds, epochs=2, callbacks=[metrics], verbose=0)
        pipe_dir = channel_stats("training").pipe_dir
    messages = [str(w.message) for w in caught if "nobody has read" in str(w.message)]
    assert len(messages) == 1
    assert f"channel 'trainig' in '{pipe_dir}' so far" in messages[0]


def test_a_channel_in_file_mode_by_name(job):
    job.write_config({"training": {"TrainingInputMode": "File"}})
    (job.pipe_dir / "training").mkdir()
    (job.pipe_dir / "training" / "part").write_bytes(stream(RECORDS, "TFRecord"))
    ds = channel_dataset("training", "TFRecord").batch(10).map(parse)
    history = make_model().fit(ds, callbacks=[PipeModeMetrics("training")], verbose=0).history
    assert history["training_records_per_second"][0] > 0
    assert history["training_epochs"] == [1]


def test_what_is_no_dataset_is_not_read(serve):
    with serve({"training": [RECORDS]}) as job:
        distributed = tf.distribute.MirroredStrategy(["CPU:0"]).experimental_distribute_dataset(
            make().batch(10)
        )
        for datasets in distributed, [distributed], iter([make()]), 1, ["training", None]:
            with pytest.raises(TypeError, match="pass the one that it was made of"):
                PipeModeMetrics(datasets)
        assert job.state() is None


@pytest.mark.parametrize("warn_after", [0, -1.0, float("nan")])
def test_warn_after(job, warn_after):
    with pytest.raises(ValueError, match="warn_after must be more than 0 seconds, or None, not"):
        PipeModeMetrics("training", warn_after=warn_after)


def test_channels_by_name(serve):
    with serve({"training": [RECORDS], "other": [RECORDS]}):
        names = tf.data.Dataset.from_tensor_slices(["training", "other"])
        ds = names.interleave(make).batch(10).map(parse)
        with pytest.raises(ValueError, match="no channel is known of this dataset"):
            PipeModeMetrics(ds)
        metrics = PipeModeMetrics(["training", "other"])
        history = make_model().fit(ds, callbacks=[metrics], verbose=0).history
    for channel in ("training", "other"):
        assert history[f"{channel}_records_per_second"][0] > 0


def test_an_evaluation_of_its_own_is_not_measured(serve):
    with serve({"training": [RECORDS] * 2}):
        ds = make().batch(10).map(parse)
        metrics = PipeModeMetrics(ds)
        model = make_model()
        model.evaluate(ds, callbacks=[metrics], verbose=0)
        history = model.fit(ds, callbacks=[metrics], verbose=0).history
    assert history["training_records_per_second"][0] > 0


KERAS_2 = """
import json
import tensorflow as tf
from sagemaker_tensorflow import PipeModeDataset, PipeModeMetrics

def parse(records):
    numbers = tf.strings.to_number(records)[:, None] / 100
    return numbers, numbers

def make(channel):
    return PipeModeDataset(channel, "TFRecord", open_timeout=30).batch(10).map(parse)

model = tf.keras.Sequential([tf.keras.Input([1]), tf.keras.layers.Dense(1)])
model.compile("sgd", "mse")
ds, validation = make("training"), make("validation")
metrics = PipeModeMetrics([ds, validation])
history = model.fit(ds, validation_data=validation, epochs=2, callbacks=[metrics], verbose=0)
print(json.dumps({name: [float(v) for v in values] for name, values in history.history.items()}))
"""


def test_keras_2(serve, keras_2_server):
    channels = {name: [RECORDS] * 2 for name in ("training", "validation")}
    with serve(channels), keras_2_server.run(KERAS_2) as program:
        history = program.result()
    for name in NAMES:
        assert len(history[f"training_{name}"]) == len(history[f"validation_{name}"]) == 2
    assert min(history["training_records_per_second"]) > 0
    assert min(history["validation_records_per_second"]) > 0
