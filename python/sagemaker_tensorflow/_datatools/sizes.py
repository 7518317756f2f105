# SPDX-License-Identifier: Apache-2.0
"""How the sizes of records are distributed, in memory that does not grow with their number."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_BINS = 65


class Sizes:
    """Counts sizes in bins that double: 0, 1, 2 to 3, 4 to 7, and so on.

    Attributes:
        count: How many records.
        total: Bytes of all of them.
        least: The size of the smallest one; 0 if there is none.
        most: The size of the largest one; 0 if there is none.
    """

    def __init__(self) -> None:
        self.count = 0
        self.total = 0
        self.least = 0
        self.most = 0
        self._bins = np.zeros(_BINS, dtype=np.int64)

    def add(self, sizes: npt.NDArray[np.int64]) -> None:
        """Counts more records, by their sizes: int64 of shape [n], n at least 1."""
        least, most = int(sizes.min()), int(sizes.max())
        self.least = min(self.least, least) if self.count else least
        self.most = max(self.most, most)
        self.count += len(sizes)
        self.total += int(sizes.sum())
        # The exponent of a binary floating-point number tells how many bits an integer has.
        self._bins += np.bincount(np.frexp(sizes)[1], minlength=_BINS)

    def merge(self, other: Sizes) -> None:
        """Counts all records of ``other``."""
        if other.count == 0:
            return
        self.least = min(self.least, other.least) if self.count else other.least
        self.most = max(self.most, other.most)
        self.count += other.count
        self.total += other.total
        self._bins += other._bins

    @property
    def mean(self) -> float:
        """Bytes of a record on average; 0 if there is none."""
        return self.total / self.count if self.count else 0.0

    def histogram(self) -> list[tuple[int, int, int]]:
        """Returns least size, greatest size and records of each bin from first to last used."""
        used = np.flatnonzero(self._bins)
        if not len(used):
            return []
        return [
            ((1 << bits) // 2, (1 << bits) - 1, int(self._bins[bits]))
            for bits in range(used[0], used[-1] + 1)
        ]
