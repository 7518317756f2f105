# SPDX-License-Identifier: Apache-2.0
"""Where a training job keeps its folders: argument before environment before ``/opt/ml``.

``SAGEMAKER_BASE_DIR`` moves ``/opt/ml`` as a whole; ``SM_INPUT_DIR`` and ``SM_INPUT_CONFIG_DIR``
are set by the SageMaker training toolkit. An empty variable counts as unset.
"""

from __future__ import annotations

import os
from pathlib import Path

from sagemaker_tensorflow._base import arguments

PathArgument = str | os.PathLike[str] | None


def pipe_dir(argument: PathArgument = None) -> str:
    """Returns the folder of the FIFOs: ``argument`` or ``<input>/data``."""
    # Spelled in one way, for what is counted is found by it.
    return str(Path(_given("pipe_dir", argument) or _input_dir() / "data"))


def config_dir(argument: PathArgument = None) -> str:
    """Returns the folder of ``inputdataconfig.json``: ``argument`` or ``<input>/config``."""
    given = _given("config_dir", argument)
    return given or os.environ.get("SM_INPUT_CONFIG_DIR") or str(_input_dir() / "config")


def state_dir(argument: PathArgument = None) -> str:
    """Returns the folder of the epoch numbers: ``argument`` or ``<base>/pipe_state``."""
    return _given("state_dir", argument) or str(_base_dir() / "pipe_state")


def _given(name: str, argument: PathArgument) -> str | None:
    arguments.check(**{name: argument})
    return None if argument is None else os.fsdecode(argument)


def _base_dir() -> Path:
    return Path(os.environ.get("SAGEMAKER_BASE_DIR") or "/opt/ml")


def _input_dir() -> Path:
    given = os.environ.get("SM_INPUT_DIR")
    return Path(given) if given else _base_dir() / "input"
