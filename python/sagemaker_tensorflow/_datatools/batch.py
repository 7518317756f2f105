# SPDX-License-Identifier: Apache-2.0
"""Many records at once, as NumPy arrays."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class Batch:
    """Records somewhere in one array of bytes, in any order.

    Attributes:
        data: uint8 of shape [bytes].
        begins: int64 of shape [records]: where each begins in ``data``.
        ends: int64 of shape [records]: where each ends.
    """

    data: Bytes
    begins: Int64s
    ends: Int64s

    @classmethod
    def of_offsets(cls, data: Bytes, offsets: Int64s) -> Batch:
        """Returns records that lie one behind the other, as ``read_batch`` returns them."""
        return cls(data, offsets[:-1], offsets[1:])

    @classmethod
    def of_records(cls, records: Sequence[bytes]) -> Batch:
        """Returns the given records."""
        data, offsets = joined(records)
        return cls.of_offsets(data, offsets)

    def __len__(self) -> int:
        return len(self.begins)

    @property
    def payload_bytes(self) -> int:
        """Bytes of all records."""
        return int((self.ends - self.begins).sum())

    def take(self, index: Int64s | slice) -> Batch:
        """Returns some of the records, without a copy of their bytes."""
        return Batch(self.data, self.begins[index], self.ends[index])

    def pieces(self, max_bytes: int) -> Iterator[Batch]:
        """Yields all records in pieces of about ``max_bytes``."""
        ends = np.cumsum(self.ends - self.begins)
        begin = 0
        while begin < len(self):
            before = ends[begin - 1] if begin else 0
            end = max(begin + 1, int(np.searchsorted(ends, before + max_bytes, side="right")))
            yield self.take(slice(begin, end))
            begin = end


def joined(values: Sequence[bytes]) -> tuple[Bytes, Int64s]:
    """Returns ``values`` one behind the other, and their offsets, int64 of shape [n + 1]."""
    offsets = np.zeros(len(values) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, values), np.int64, len(values)), out=offsets[1:])
    return np.frombuffer(b"".join(values), dtype=np.uint8), offsets
