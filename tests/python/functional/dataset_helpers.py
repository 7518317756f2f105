# SPDX-License-Identifier: Apache-2.0
"""What the tests of PipeModeDataset share."""

import tensorflow as tf
from sagemaker_tensorflow import PipeModeDataset, channel_dataset

# Nothing but a hang takes so long.
LIMIT = 30.0


def make(channel="training", record_format="TFRecord", **options):
    """A dataset that cannot block for long, where no timeout of pytest reaches."""
    options = {"open_timeout": LIMIT, "read_timeout": LIMIT, **options}
    return PipeModeDataset(channel, record_format, **options)


def make_any_mode(channel="training", record_format="TFRecord", **options):
    """The same, whichever input mode the job gives the channel."""
    options = {"open_timeout": LIMIT, "read_timeout": LIMIT, **options}
    return channel_dataset(channel, record_format, **options)


def records(dataset):
    """All elements of a dataset."""
    return list(dataset.as_numpy_iterator())


def read(dataset):
    """The elements up to the first error, and that error, or ``None`` if there is none."""
    elements = []
    try:
        for element in dataset.as_numpy_iterator():
            elements.append(element)
    except tf.errors.OpError as error:
        return elements, error
    return elements, None


def without_autotune(dataset):
    """Keeps TensorFlow from reading ahead by itself, and from starting a thread for its tuning.

    When an iterator is dropped, that thread at times does not notice and holds this up for as long
    as the iterator has lived; TFRecordDataset shows the same.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)
