# SPDX-License-Identifier: Apache-2.0
"""Streaming datasets for SageMaker Pipe mode.

``PipeModeDataset`` is a ``tf.data.Dataset`` that reads the records of a Pipe-mode channel::

    from sagemaker_tensorflow import PipeModeDataset

    ds = PipeModeDataset(channel='training', record_format='TFRecord')

``RecordReader``, ``ChannelReader`` and the writers read and write the same records without
TensorFlow; ``sagemaker_tensorflow.testing`` serves channels through real FIFOs on one machine.

``parse_example`` is ``tf.io.parse_example`` in a fraction of the time.

``mkldnn`` switches TensorFlow's oneDNN off and on.

Importing the package is cheap: TensorFlow and the compiled parts are loaded by the names that need
them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sagemaker_tensorflow._keras.checkpoint import PipeModeCheckpoint
    from sagemaker_tensorflow._keras.metrics import PipeModeMetrics
    from sagemaker_tensorflow.channels import channel_dataset
    from sagemaker_tensorflow.exceptions import OpLibraryError, PipeModeDatasetException
    from sagemaker_tensorflow.parsing import parse_example
    from sagemaker_tensorflow.pipemode import PipeModeDataset, load_op
    from sagemaker_tensorflow.records import (
        ChannelReader,
        ChannelWriter,
        PipeError,
        RecordReader,
        RecordWriter,
        encode,
    )
    from sagemaker_tensorflow.stats import ChannelStats, channel_stats

from sagemaker_tensorflow import mkldnn
from sagemaker_tensorflow._version import __version__ as __version__

# Where each public name lives.
_MODULE_OF = {
    "ChannelReader": "records",
    "ChannelStats": "stats",
    "ChannelWriter": "records",
    "OpLibraryError": "exceptions",
    "PipeError": "records",
    "PipeModeCheckpoint": "_keras.checkpoint",
    "PipeModeDataset": "pipemode",
    "PipeModeDatasetException": "exceptions",
    "PipeModeMetrics": "_keras.metrics",
    "RecordReader": "records",
    "RecordWriter": "records",
    "channel_dataset": "channels",
    "channel_stats": "stats",
    "encode": "records",
    "load_op": "pipemode",
    "parse_example": "parsing",
}

__all__ = [
    "ChannelReader",
    "ChannelStats",
    "ChannelWriter",
    "OpLibraryError",
    "PipeError",
    "PipeModeCheckpoint",
    "PipeModeDataset",
    "PipeModeDatasetException",
    "PipeModeMetrics",
    "RecordReader",
    "RecordWriter",
    "channel_dataset",
    "channel_stats",
    "encode",
    "load_op",
    "mkldnn",
    "parse_example",
]

mkldnn.apply_environment()


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
