# SPDX-License-Identifier: Apache-2.0
"""Streaming datasets for SageMaker Pipe mode.

``PipeModeDataset`` is a ``tf.data.Dataset`` that reads the records of a Pipe-mode channel::

    from sagemaker_tensorflow import PipeModeDataset

    ds = PipeModeDataset(channel='training', record_format='TFRecord')

``RecordReader``, ``ChannelReader`` and the writers read and write the same records without
TensorFlow; ``sagemaker_tensorflow.testing`` serves channels through real FIFOs on one machine.

Importing the package is cheap: TensorFlow and the compiled parts are loaded by the names that need
them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sagemaker_tensorflow.exceptions import OpLibraryError, PipeModeDatasetException
    from sagemaker_tensorflow.pipemode import PipeModeDataset
    from sagemaker_tensorflow.records import (
        ChannelReader,
        ChannelWriter,
        PipeError,
        RecordReader,
        RecordWriter,
        encode,
    )

__version__ = "3.0.0"

# Where each public name lives.
_MODULE_OF = {
    "ChannelReader": "records",
    "ChannelWriter": "records",
    "OpLibraryError": "exceptions",
    "PipeError": "records",
    "PipeModeDataset": "pipemode",
    "PipeModeDatasetException": "exceptions",
    "RecordReader": "records",
    "RecordWriter": "records",
    "encode": "records",
}

__all__ = [
    "ChannelReader",
    "ChannelWriter",
    "OpLibraryError",
    "PipeError",
    "PipeModeDataset",
    "PipeModeDatasetException",
    "RecordReader",
    "RecordWriter",
    "encode",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value  # the next access does not come here
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
