# SPDX-License-Identifier: Apache-2.0
"""Trains a classifier of handwritten digits on two Pipe-mode channels, in SageMaker script mode.

The channels ``training`` and ``validation`` carry gzipped TFRecords of ``tf.train.Example`` with

* ``image``: 64 bytes, the gray values (0 to 16) of 8 x 8 pixels, row by row;
* ``label``: the digit.

Nothing here is made for a local run. ``make demo`` runs it as a SageMaker training job does: with
hyperparameters as arguments and everything else in ``SM_*`` variables.
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path

import tensorflow as tf
from sagemaker_tensorflow import PipeModeDataset

FEATURES = {
    "image": tf.io.FixedLenFeature([], tf.string),
    "label": tf.io.FixedLenFeature([], tf.int64),
}


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    # Hyperparameters.
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, default=2e-3)
    parser.add_argument("--shuffle-buffer", type=int, default=1000, help="in records")
    parser.add_argument(
        "--steps-per-epoch",
        type=int,
        help="cut epochs by a number of steps, not where the channel ends; for several hosts",
    )
    # Set by SageMaker.
    parser.add_argument("--sm-model-dir", default=os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))
    # The SDK adds arguments of its own, such as --model_dir with an S3 location.
    args, _ = parser.parse_known_args()
    return args


def parse(records: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Turns a batch of serialized examples into images [batch, 8, 8] and labels [batch]."""
    parsed = tf.io.parse_example(records, FEATURES)
    pixels = tf.io.decode_raw(parsed["image"], tf.uint8)  # [batch, 64]
    return tf.reshape(pixels, [-1, 8, 8]), parsed["label"]


def read_channel(channel: str, batch_size: int, shuffle_buffer: int = 0) -> tf.data.Dataset:
    """Returns batches; each iterator reads one epoch, which is one FIFO, to its end."""
    ds = PipeModeDataset(channel=channel, record_format="TFRecord", compression_type="GZIP")
    if shuffle_buffer:
        ds = ds.shuffle(shuffle_buffer)  # records as they come: small, and no batch is taken apart
    ds = ds.batch(batch_size)  # before parsing: one call for a batch, not one for each record
    ds = ds.map(parse, num_parallel_calls=tf.data.AUTOTUNE)
    return ds.prefetch(tf.data.AUTOTUNE)  # last: reads and parses while the model trains


def make_model() -> tf.keras.Model:
    layers = tf.keras.layers
    # With its input named, the model is built before fit() and no batch is read to find out.
    return tf.keras.Sequential(
        [
            tf.keras.Input([8, 8], dtype="uint8", name="image"),
            layers.Rescaling(1 / 16),
            layers.Reshape([8, 8, 1]),
            layers.Conv2D(32, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.GlobalMaxPooling2D(),
            layers.Dense(10, activation="softmax", name="digit"),
        ]
    )


def main() -> None:
    args = parse_args()
    training = read_channel("training", args.batch_size, args.shuffle_buffer)
    if args.steps_per_epoch:
        training = training.repeat()  # from FIFO to FIFO, for as long as fit() asks
    validation = read_channel("validation", args.batch_size)

    model = make_model()
    model.compile(
        optimizer=tf.keras.optimizers.Adam(args.learning_rate),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    # Each pass of fit() over an unrepeated dataset reads one FIFO to its end. Keras cannot know
    # beforehand how many batches that gives, and warns when they are over.
    warnings.filterwarnings("ignore", message="Your input ran out of data")
    model.fit(
        training,
        validation_data=validation,
        epochs=args.epochs,
        steps_per_epoch=args.steps_per_epoch,
        shuffle=False,  # the dataset does
        verbose=2,  # one line an epoch: the output of a job is a log
    )

    # A SavedModel of the model alone, without the dataset; TensorFlow Serving wants a version.
    path = Path(args.sm_model_dir) / "1"
    tf.keras.utils.disable_interactive_logging()  # export() would list all variables
    model.export(str(path))
    print(f"Saved the model to {path}")


if __name__ == "__main__":
    main()
