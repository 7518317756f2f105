# SPDX-License-Identifier: Apache-2.0
"""Does an installed package work beside the TensorFlow that is there?

Needs nothing but the two: reads each record format through real FIFOs, and trains a model. Ends
with status 0 and a line, or with an error.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import sagemaker_tensorflow
import tensorflow as tf
from sagemaker_tensorflow import PipeModeDataset, records, testing
from sagemaker_tensorflow._op import op_library

FORMATS = ("RecordIO", "TFRecord", "TextLine")
RECORDS = [b"%d" % n for n in range(1000)]
EPOCHS = 3
FEATURES = {
    "x": tf.io.FixedLenFeature([2], tf.float32),
    "y": tf.io.FixedLenFeature([1], tf.float32),
}


def main() -> int:
    """Runs all checks."""
    for record_format in FORMATS:
        with testing.serve({"training": [RECORDS, RECORDS[:10]]}, record_format) as host:
            ds = dataset(host, record_format).repeat(2)
            assert list(ds.as_numpy_iterator()) == RECORDS + RECORDS[:10], record_format
        with testing.serve({"training": [RECORDS]}, record_format) as host:
            reader = records.ChannelReader(
                "training", record_format, pipe_dir=host.pipe_dir, state_dir=host.state_dir
            )
            assert list(reader) == RECORDS, record_format
    loss = train()
    assert loss < 0.1, loss

    library = op_library.loaded()
    build = "GPU" if tf.test.is_built_with_cuda() else "CPU"
    print(
        f"ok: sagemaker_tensorflow {sagemaker_tensorflow.__version__} from "
        f"{Path(sagemaker_tensorflow.__file__).parent}, Python {sys.version.split()[0]}, "
        f"TensorFlow {tf.__version__} ({build} build), {library.path.name}: {library.reason}"
    )
    return 0


def dataset(host: testing.PipeModeHost, record_format: str) -> PipeModeDataset:
    """Returns the dataset of the host's channel ``training``."""
    return PipeModeDataset(
        "training",
        record_format,
        pipe_dir=host.pipe_dir,
        state_dir=host.state_dir,
        config_dir=host.config_dir,
    )


def train() -> float:
    """Fits y = x0 - 2 x1 by Keras; returns the last epoch's mean squared error."""
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((2000, 2))
    examples = [example(x) for x in inputs]
    model = tf.keras.Sequential([tf.keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    with testing.serve({"training": [examples] * EPOCHS}, "TFRecord") as host:
        ds = dataset(host, "TFRecord").batch(8).map(parse).prefetch(2)
        history = model.fit(ds, epochs=EPOCHS, verbose=0)
    return float(history.history["loss"][-1])


def example(x: np.ndarray) -> bytes:
    """Makes a serialized ``tf.train.Example``."""

    def feature(values: list[float]) -> tf.train.Feature:
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))

    fields = {"x": feature(list(x)), "y": feature([x[0] - 2 * x[1]])}
    return tf.train.Example(features=tf.train.Features(feature=fields)).SerializeToString()


def parse(batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Parses a batch of them."""
    parsed = tf.io.parse_example(batch, FEATURES)
    return parsed["x"], parsed["y"]


if __name__ == "__main__":
    sys.exit(main())
