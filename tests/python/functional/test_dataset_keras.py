# SPDX-License-Identifier: Apache-2.0
"""PipeModeDataset under Keras 3 and Keras 2: as many epochs are read as there are passes.

TensorFlow comes with Keras 3 from 2.16 on.
"""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.long

TRAIN_RECORDS = 10
TEST_RECORDS = 6

# What to call, and how many epochs of each channel it reads.
CALLS = {
    "fit": ("model.fit(training, epochs=3, verbose=0)", 3, 0),
    "fit and validate": (
        "model.fit(training, validation_data=validation, epochs=2, verbose=0)",
        2,
        2,
    ),
    # With repeat() for ever, tf.data would read ahead into an epoch that nobody wants any more.
    "fit steps": ("model.fit(training.repeat(2), steps_per_epoch=5, epochs=2, verbose=0)", 2, 0),
    "evaluate": ("model.evaluate(validation, verbose=0)", 0, 1),
    "evaluate again": ("model.evaluate(validation, verbose=0)", 0, 1),
    "predict": ("model.predict(validation.map(lambda x, y: x), verbose=0)", 0, 1),
    "fit again": ("model.fit(training, epochs=1, verbose=0)", 1, 0),
}

# Reports, for each call, the epochs that it has read of each channel, and with how many records.
PROGRAM = """
import json, sys
import tensorflow as tf
from sagemaker_tensorflow import PipeModeDataset, testing

keras = tf.keras
TRAIN_RECORDS, TEST_RECORDS, CALLS = json.loads(sys.argv[1])

def parse(record):
    seen = tf.numpy_function(lambda r: len(log.append(r) or b""), [record], tf.int64)
    with tf.control_dependencies([seen]):
        return tf.ones([4]), tf.ones([1])

def make(channel):
    ds = PipeModeDataset(channel, "TFRecord", open_timeout=30, read_timeout=30)
    return ds.map(parse).batch(2).prefetch(2)

def numbered(channel, count):
    return lambda epoch: [b"%s %d" % (channel.encode(), epoch)] * count

log, reports = [], {}
model = keras.Sequential([keras.Input([4]), keras.layers.Dense(1)])
model.compile("sgd", "mse")
channels = {"training": TRAIN_RECORDS, "validation": TEST_RECORDS}
with testing.serve({name: numbered(name, n) for name, n in channels.items()}, "TFRecord") as host:
    import os
    os.environ["SAGEMAKER_BASE_DIR"] = host.base_dir
    training, validation = make("training"), make("validation")
    for name, (call, _, _) in CALLS.items():
        eval(call)
        reports[name] = [[record.decode(), log.count(record)] for record in dict.fromkeys(log)]
        log.clear()
print(json.dumps([keras.__name__, getattr(keras, "__version__", "?"), reports]))
"""


def expected():
    epochs = {"training": 0, "validation": 0}
    reports = {}
    for name, (_, *passes) in CALLS.items():
        report = []
        for channel, count, length in zip(
            epochs, passes, (TRAIN_RECORDS, TEST_RECORDS), strict=True
        ):
            for _ in range(count):
                report.append([f"{channel} {epochs[channel]}", length])
                epochs[channel] += 1
        reports[name] = sorted(report)
    return reports


def arguments():
    return json.dumps([TRAIN_RECORDS, TEST_RECORDS, CALLS])


def check(output):
    _, _, reports = output
    assert {name: sorted(report) for name, report in reports.items()} == expected()


def test_keras_of_tensorflow(fork_server):
    with fork_server.run(PROGRAM, arguments()) as program:
        check(program.result())


def test_keras_2():
    pytest.importorskip("tf_keras")
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, arguments()],
        env={**os.environ, "TF_USE_LEGACY_KERAS": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert process.returncode == 0, process.stderr
    output = json.loads(process.stdout)
    assert "tf_keras" in output[0]
    check(output)
