# SPDX-License-Identifier: Apache-2.0
"""The datasets that a ``tf.data`` pipeline is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sagemaker_tensorflow._base.tensorflow_module import tensorflow
from sagemaker_tensorflow.pipemode import PipeModeDataset

if TYPE_CHECKING:
    import tensorflow as tf
else:
    tf = tensorflow()


def pipe_mode_datasets(dataset: tf.data.Dataset) -> list[PipeModeDataset]:
    """Returns the channels that ``dataset`` reads, in order.

    Those that a function makes, as with ``interleave``, are not found.
    """
    if isinstance(dataset, PipeModeDataset):
        return [dataset]
    return [found for source in dataset._inputs() for found in pipe_mode_datasets(source)]
