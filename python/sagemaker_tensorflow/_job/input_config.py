# SPDX-License-Identifier: Apache-2.0
"""What ``inputdataconfig.json`` says of the channels of a training job."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from sagemaker_tensorflow.exceptions import ChannelTypeError, PipeModeDatasetException

InputDataConfig = dict[str, dict[str, Any]]

_FILE_NAME = "inputdataconfig.json"
_CHANNEL_NAME = re.compile(r"[A-Za-z0-9.\-_]{1,64}")


def load_input_data_config(config_dir: str) -> InputDataConfig:
    """Reads ``<config_dir>/inputdataconfig.json``: for each channel by name, an object of settings.

    Raises:
        PipeModeDatasetException: If the file is missing, unreadable, or not such an object.
    """
    path = Path(config_dir) / _FILE_NAME
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PipeModeDatasetException(
            f"no '{path}'. A SageMaker training job has it in /opt/ml/input/config. Elsewhere, "
            "pass config_dir, or set SAGEMAKER_BASE_DIR; sagemaker_tensorflow.testing.serve() "
            "makes all that a script needs on your own machine"
        ) from None
    except OSError as error:
        raise PipeModeDatasetException(f"cannot read '{path}': {error.strerror}") from error
    except ValueError as error:  # JSON or UTF-8
        raise PipeModeDatasetException(f"'{path}' is not valid JSON: {error}") from error
    if not isinstance(config, dict) or not all(isinstance(v, dict) for v in config.values()):
        raise PipeModeDatasetException(
            f"'{path}' must hold one JSON object for each channel, like "
            '{"training": {"TrainingInputMode": "Pipe"}}'
        )
    return config


def pipe_channels(config: InputDataConfig) -> list[str]:
    """Returns the names of the channels that come as FIFOs."""
    return [
        name
        for name, settings in config.items()
        if str(settings.get("TrainingInputMode", "")).lower() == "pipe"
    ]


def is_sharded(config: InputDataConfig, channel: str) -> bool | None:
    """Returns whether each host gets its own share of ``channel``; ``None`` if that is not said."""
    distribution = str(config.get(channel, {}).get("S3DistributionType", "")).lower()
    return {"shardedbys3key": True, "fullyreplicated": False}.get(distribution)


def is_reshuffled(config: InputDataConfig, channel: Any) -> bool:
    """Returns whether ``channel`` is known to have its objects in another order in each epoch."""
    return isinstance(channel, str) and bool(config.get(channel, {}).get("ShuffleConfig"))


def attribute_names(config: InputDataConfig, channel: Any) -> tuple[str, ...] | None:
    """Returns the attributes that are sent of a manifest's lines; ``None`` if that is not said."""
    names = config.get(channel, {}).get("AttributeNames") if isinstance(channel, str) else None
    if not isinstance(names, list) or not names or not all(isinstance(n, str) for n in names):
        return None
    return tuple(names)


def input_mode(config: InputDataConfig, channel: Any) -> str:
    """Returns how ``channel`` comes: ``'pipe'``, ``'file'`` or ``'fastfile'``.

    Raises:
        PipeModeDatasetException: If it is no channel of this job, or comes in another way.
    """
    _check_channel(config, channel)
    mode = config[channel].get("TrainingInputMode")
    if str(mode).lower() not in ("pipe", "file", "fastfile"):
        raise PipeModeDatasetException(
            f"channel '{channel}' has TrainingInputMode {mode!r}, which is none of 'Pipe', 'File' "
            "and 'FastFile'"
        )
    return str(mode).lower()


def check_pipe_channel(config: InputDataConfig, channel: str) -> None:
    """Makes sure that ``channel`` can be read as FIFOs.

    Raises:
        PipeModeDatasetException: If it is no channel name, or not a Pipe-mode channel of this job.
    """
    _check_channel(config, channel)
    mode = config[channel].get("TrainingInputMode")
    if channel not in pipe_channels(config):
        raise PipeModeDatasetException(
            f"channel '{channel}' is not in Pipe mode but has TrainingInputMode {mode!r}: start "
            "the job with input mode 'Pipe' for it, or use sagemaker_tensorflow.channel_dataset, "
            "which reads either"
        )


def _check_channel(config: InputDataConfig, channel: Any) -> None:
    if not isinstance(channel, str):
        raise ChannelTypeError(f"{channel!r} is no channel name: channel must be a str")
    if not _CHANNEL_NAME.fullmatch(channel):
        raise PipeModeDatasetException(
            f"{channel!r} is no channel name: 1 to 64 letters, digits, '.', '-', '_' are allowed, "
            "and no path"
        )
    if channel not in config:
        known = ", ".join(sorted(config)) or "none"
        raise PipeModeDatasetException(
            f"channel '{channel}' is not in the job's {_FILE_NAME}; its channels: {known}"
        )
