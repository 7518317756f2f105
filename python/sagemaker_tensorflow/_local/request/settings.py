# SPDX-License-Identifier: Apache-2.0
"""What is said of a job beside its request, and who watches it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from sagemaker_tensorflow._feed.channel_history import Row


class JobError(Exception):
    """A job that could not be begun; the message says why."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is said of a job beside its request.

    Attributes:
        base_dir: In place of ``/opt/ml``, and kept; with several hosts, that of their
            folders. ``None``: a temporary one.
        dependencies: Files and folders that are put beside the script.
        install_requirements: Whether pip installs what ``requirements.txt`` names.
        grace_seconds: How long a script that is to end may take.
        at_opt_ml: Whether the script, and it alone, sees its folder at ``/opt/ml``.
    """

    base_dir: Path | None = None
    dependencies: tuple[Path, ...] = ()
    install_requirements: bool = False
    grace_seconds: float = 30.0
    at_opt_ml: bool = False


class Observer(Protocol):
    """Who watches a job."""

    @property
    def output(self) -> tuple[int | None, int | None]:
        """File descriptors for the script's standard output and error; ``None``: ours."""

    def say(self, text: str) -> None:
        """Takes a line for the user."""

    def show(self, seconds: float, rows: Sequence[Row]) -> None:
        """Takes how far the channels are, ten times a second."""
