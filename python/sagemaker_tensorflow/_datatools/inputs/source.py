# SPDX-License-Identifier: Apache-2.0
"""What all inputs have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from sagemaker_tensorflow._datatools.batch import Batch
from sagemaker_tensorflow._datatools.read_progress import OnRead

BATCH_BYTES = 4 << 20
"""Records of one batch have about so many bytes."""

TYPES = ("int", "float", "string", "raw", "skip")
"""What a user may ask a column or an array to become."""


class InputError(Exception):
    """It cannot be read or converted; the message says what to do."""


class Source(Protocol):
    """An input."""

    @property
    def total_bytes(self) -> int | None:
        """Stored bytes of all of it; ``None`` if that is not known."""

    def batches(self, on_read: OnRead) -> Iterator[Batch]:
        """Yields all records, from the beginning at each call.

        Raises:
            InputError: If it cannot be read or converted.
            PipeError: If records are damaged.
        """

    def remarks(self) -> list[str]:
        """Returns what a user should know about what was made."""
