# SPDX-License-Identifier: Apache-2.0
"""Finds and loads the op library that was built for exactly the TensorFlow in this process."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from sagemaker_tensorflow.exceptions import OpLibraryError

_FOLDER = Path(__file__).parent / "_oplib"
_PREFIX = "pipemode_op_tf"


@functools.cache
def load() -> Any:
    """Returns the module of op wrappers; loads the library at the first call.

    The library's ABI key is TensorFlow's ``major.minor``. A neighbour's library would load and then
    crash, so only the exact one will do.

    Raises:
        OpLibraryError: If there is none for this TensorFlow, or it cannot be loaded.
    """
    import tensorflow as tf

    minor = ".".join(tf.version.VERSION.split(".")[:2])
    path = _FOLDER / f"{_PREFIX}{minor}.so"
    if not path.exists():
        carried = ", ".join(_carried_minors()) or "none"
        raise OpLibraryError(
            f"no op library for TensorFlow {tf.version.VERSION}; this installation carries: "
            f"{carried}. Build it beside this TensorFlow, in a checkout of the project, with: "
            "pip install --no-build-isolation ."
        )
    try:
        return tf.load_op_library(str(path))
    except tf.errors.NotFoundError as error:
        raise OpLibraryError(f"cannot load '{path}': {error.message}") from error


def _carried_minors() -> list[str]:
    minors = [path.stem.removeprefix(_PREFIX) for path in _FOLDER.glob(f"{_PREFIX}*.so")]
    return sorted(minors, key=lambda minor: [int(part) for part in minor.split(".")])
