# SPDX-License-Identifier: Apache-2.0
"""What ``inputdataconfig.json`` says of the channels of a training job, parsed once."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any, Literal

from sagemaker_tensorflow.exceptions import ChannelTypeError, PipeModeDatasetException

InputMode = Literal["pipe", "file", "fastfile"]

_FILE_NAME = "inputdataconfig.json"
_CHANNEL_NAME = re.compile(r"[A-Za-z0-9.\-_]{1,64}")
_MODES: dict[str, InputMode] = {"pipe": "pipe", "file": "file", "fastfile": "fastfile"}
_SHARDED = {"shardedbys3key": True, "fullyreplicated": False}


@dataclasses.dataclass(frozen=True)
class ChannelSettings:
    """What is said of one channel. Values are compared without regard to case.

    Attributes:
        name: As the file has it; not checked.
        mode: How the channel comes; ``None`` if the file names no such way.
        said_mode: What the file has for ``mode``, for messages.
        is_sharded: Whether each host gets its own share of it; ``None`` if that is not said.
        is_reshuffled: Whether its objects come in another order in each epoch.
        is_wrapped: Whether the service makes one RecordIO record of each object in Pipe mode.
        attribute_names: What is sent of each line of a manifest; ``None`` if that is not said.
    """

    name: str
    mode: InputMode | None
    said_mode: Any
    is_sharded: bool | None
    is_reshuffled: bool
    is_wrapped: bool
    attribute_names: tuple[str, ...] | None

    @classmethod
    def parse(cls, name: str, settings: dict[str, Any]) -> ChannelSettings:
        """Takes of a channel's settings what matters here; what is odd counts as not said."""

        def text(key: str) -> str:
            return str(settings.get(key, "")).lower()

        attributes = settings.get("AttributeNames")
        has_attributes = (
            isinstance(attributes, list)
            and bool(attributes)
            and all(isinstance(each, str) for each in attributes)
        )
        return cls(
            name=name,
            mode=_MODES.get(text("TrainingInputMode")),
            said_mode=settings.get("TrainingInputMode"),
            is_sharded=_SHARDED.get(text("S3DistributionType")),
            is_reshuffled=bool(settings.get("ShuffleConfig")),
            is_wrapped=text("RecordWrapperType") == "recordio",
            attribute_names=tuple(attributes) if has_attributes and attributes else None,
        )


@dataclasses.dataclass(frozen=True)
class InputConfig:
    """The channels of a job.

    Attributes:
        channels: By their names, in the file's order.
        as_read: What the file holds, for those who look for more in it.
    """

    channels: dict[str, ChannelSettings]
    as_read: dict[str, dict[str, Any]]

    @classmethod
    def load(cls, config_dir: str) -> InputConfig:
        """Reads ``<config_dir>/inputdataconfig.json``.

        Raises:
            PipeModeDatasetException: If the file is missing, unreadable, or not an object that has
                an object for each channel.
        """
        config = _read(Path(config_dir) / _FILE_NAME)
        channels = {name: ChannelSettings.parse(name, each) for name, each in config.items()}
        return cls(channels, config)

    @property
    def pipe_channels(self) -> list[str]:
        """The names of the channels that come as FIFOs."""
        return [name for name, channel in self.channels.items() if channel.mode == "pipe"]

    @property
    def reshuffled_channels(self) -> list[str]:
        """The names of the channels whose objects come in another order in each epoch."""
        return [name for name, channel in self.channels.items() if channel.is_reshuffled]

    def find(self, channel: Any) -> ChannelSettings | None:
        """Returns what is said of ``channel``, if that is a name by now and anything is said."""
        return self.channels.get(channel) if isinstance(channel, str) else None

    def channel(self, name: Any) -> ChannelSettings:
        """Returns what is said of a channel that can be read, in whatever mode.

        Raises:
            PipeModeDatasetException: If ``name`` is not one of a channel of this job, or the
                channel comes in an unknown way.
        """
        channel = self._known(name)
        if channel.mode is None:
            raise PipeModeDatasetException(
                f"channel '{name}' has TrainingInputMode {channel.said_mode!r}, which is none of "
                "'Pipe', 'File' and 'FastFile'"
            )
        return channel

    def pipe_channel(self, name: Any) -> ChannelSettings:
        """Returns what is said of a channel that can be read as FIFOs.

        Raises:
            PipeModeDatasetException: If ``name`` is not one of a channel of this job in Pipe mode.
        """
        channel = self._known(name)
        if channel.mode != "pipe":
            raise PipeModeDatasetException(
                f"channel '{name}' is not in Pipe mode but has TrainingInputMode "
                f"{channel.said_mode!r}: start the job with input mode 'Pipe' for it, or use "
                "sagemaker_tensorflow.channel_dataset, which reads either"
            )
        return channel

    def _known(self, name: Any) -> ChannelSettings:
        if not isinstance(name, str):
            raise ChannelTypeError(f"{name!r} is not a valid channel name: channel must be a str")
        if not _CHANNEL_NAME.fullmatch(name):
            raise PipeModeDatasetException(
                f"{name!r} is not a valid channel name: 1 to 64 letters, digits, '.', '-', '_' are "
                "allowed, and no path"
            )
        if name not in self.channels:
            known = ", ".join(sorted(self.channels)) or "none"
            raise PipeModeDatasetException(
                f"channel '{name}' is not in the job's {_FILE_NAME}; its channels: {known}"
            )
        return self.channels[name]


def _read(path: Path) -> dict[str, dict[str, Any]]:
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
