# SPDX-License-Identifier: Apache-2.0
"""TensorFlow, or an ``OpLibraryError`` that says that it is missing."""

from __future__ import annotations

import functools
import importlib
from typing import Any

from sagemaker_tensorflow.exceptions import OpLibraryError


@functools.cache
def tensorflow() -> Any:
    """Imports TensorFlow and returns the module.

    Raises:
        OpLibraryError: If it cannot be imported.
    """
    try:
        module = importlib.import_module("tensorflow")
        _ = module.version.VERSION  # which an empty folder, left by an uninstallation, has not
    except Exception as error:
        # Not only ImportError: a protobuf that does not fit is a TypeError.
        raise OpLibraryError(
            f"TensorFlow cannot be imported: {type(error).__name__}: {error}; install it with "
            "'pip install tensorflow-cpu' (CPU) or 'pip install tensorflow' (GPU)"
        ) from error
    return module
