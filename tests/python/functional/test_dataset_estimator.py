# SPDX-License-Identifier: Apache-2.0
"""Estimators, which TensorFlow had until 2.15 and the predecessor's users trained."""

from pathlib import Path

import pytest
import tensorflow as tf
from sagemaker_tensorflow import PipeModeDataset

pytestmark = pytest.mark.skipif(
    not hasattr(tf, "estimator"), reason=f"TensorFlow {tf.__version__} has no estimators"
)

EPOCHS = 2
RECORDS = 400


def example(n):
    x = n / RECORDS
    features = {
        "x": tf.train.Feature(float_list=tf.train.FloatList(value=[x])),
        "y": tf.train.Feature(float_list=tf.train.FloatList(value=[3 * x])),
    }
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()


def parse(batch):
    parsed = tf.io.parse_example(
        batch,
        {
            "x": tf.io.FixedLenFeature([1], tf.float32),
            "y": tf.io.FixedLenFeature([1], tf.float32),
        },
    )
    return {"x": parsed["x"]}, parsed["y"]


def input_fn(channel, epochs):
    ds = PipeModeDataset(channel=channel, record_format="TFRecord")
    return ds.repeat(epochs).prefetch(10).batch(8).map(parse, num_parallel_calls=2)


def test_train_and_evaluate(serve, tmp_path):
    examples = [example(n) for n in range(RECORDS)]
    estimator = tf.estimator.LinearRegressor(
        feature_columns=[tf.feature_column.numeric_column("x")], model_dir=str(tmp_path)
    )
    with serve({"training": [examples] * EPOCHS, "validation": [examples[:80]]}) as job:
        estimator.train(lambda: input_fn("training", EPOCHS))
        metrics = estimator.evaluate(lambda: input_fn("validation", 1))
        assert [report.records for report in job.host.reports["training"]] == [RECORDS] * EPOCHS
        assert [report.records for report in job.host.reports["validation"]] == [80]
    assert metrics["global_step"] == EPOCHS * RECORDS / 8


PREDICT = """
import sys
sys.modules["sagemaker_tensorflow"] = None  # cannot be imported
import tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
example = tf.train.Example()
example.features.feature["x"].float_list.value.append(0.5)
examples = tf.constant([example.SerializeToString()])
print(sorted(model.signatures["predict"](examples=examples)))
assert "pipemode_op_tf" not in open("/proc/self/maps").read()
"""


def test_an_exported_estimator_needs_no_package(serve, fork_server, tmp_path):
    estimator = tf.estimator.LinearRegressor(
        feature_columns=[tf.feature_column.numeric_column("x")], model_dir=str(tmp_path / "model")
    )
    with serve({"training": [[example(n) for n in range(RECORDS)]]}):
        estimator.train(lambda: input_fn("training", 1))
    receiver = tf.estimator.export.build_parsing_serving_input_receiver_fn(
        {"x": tf.io.FixedLenFeature([1], tf.float32)}
    )
    path = estimator.export_saved_model(str(tmp_path / "export"), receiver).decode()
    assert b"PipeMode" not in (Path(path) / "saved_model.pb").read_bytes()
    with fork_server.run(PREDICT, path) as program:
        assert program.wait() == 0, program.stderr
        assert "predictions" in program.stdout
