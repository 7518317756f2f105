# SPDX-License-Identifier: Apache-2.0
"""The types of arguments: another one is an error, and is never rounded or taken for its truth.

A name means the same in every function of this package, so the table here has each of them once.
"""

from __future__ import annotations

import numbers
import os
import reprlib
from collections.abc import Callable
from typing import Any, NamedTuple


def check(invalid: Callable[[str], Exception] = ValueError, /, **arguments: Any) -> None:
    """Makes sure that each argument has the type that its name stands for.

    NumPy's integers and floats count as ``int`` and ``float``, and an ``int`` is good for a
    ``float``. A ``bool`` is good for a ``bool`` alone.

    Args:
        invalid: Makes the error for a number that no machine type holds.
        **arguments: Their names are those in ``_KINDS``.

    Raises:
        TypeError: If one has another type; the message has its name and its value.
        Exception: What ``invalid`` makes.
    """
    for name, value in arguments.items():
        kind = _KINDS[name]
        if value is None and kind.or_none:
            continue
        if not isinstance(value, kind.types) or (isinstance(value, bool) and kind is not _BOOL):
            raise TypeError(
                f"{name} must be {kind.words}{' or None' if kind.or_none else ''}, not "
                f"{reprlib.repr(value)} of type {type(value).__name__}"
            )
        if not kind.holds(value):
            raise invalid(f"{name} is too large")


class _Kind(NamedTuple):
    words: str
    types: tuple[type, ...]
    or_none: bool = False
    holds: Callable[[Any], bool] = lambda _: True


def _is_int64(value: Any) -> bool:
    return bool(-(2**63) <= value < 2**63)


def _is_double(value: Any) -> bool:
    try:
        float(value)
    except OverflowError:
        return False
    return True


_BOOL = _Kind("a bool", (bool,))
_INT = _Kind("an int", (numbers.Integral,), holds=_is_int64)
_INT_OR_NONE = _INT._replace(or_none=True)
_NUMBER_OR_NONE = _Kind("a number", (numbers.Real,), or_none=True, holds=_is_double)
_STR = _Kind("a str", (str,))
_STR_OR_NONE = _STR._replace(or_none=True)
_PATH = _Kind("a path", (str, bytes, os.PathLike))
_PATH_OR_NONE = _PATH._replace(or_none=True)

# What the name of an argument stands for.
_KINDS = {
    "base_dir": _PATH_OR_NONE,
    "benchmark": _BOOL,
    "benchmark_records_interval": _INT,
    "bytes_per_second": _NUMBER_OR_NONE,
    "channel": _STR,
    "chunk_bytes": _INT,
    "compression_type": _STR_OR_NONE,
    "config_dir": _PATH_OR_NONE,
    "count": _INT,
    "fault": _STR_OR_NONE,
    "fault_at_byte": _INT,
    "fault_epoch": _INT_OR_NONE,
    "first_epoch": _INT,
    "folder": _PATH,
    "log_dir": _PATH_OR_NONE,
    "max_bytes": _INT_OR_NONE,
    "max_corrupted_records_to_skip": _INT,
    "max_record_bytes": _INT,
    "max_records": _INT,
    "max_to_keep": _INT_OR_NONE,
    "name": _STR_OR_NONE,
    "num_parallel_reads": _INT_OR_NONE,
    "open_timeout": _NUMBER_OR_NONE,
    "path": _PATH,
    "pipe_dir": _PATH_OR_NONE,
    "process": _BOOL,
    "read_ahead_bytes": _INT,
    "read_timeout": _NUMBER_OR_NONE,
    "record_format": _STR,
    "recordio_max_part_bytes": _INT,
    "recordio_parts": _STR,
    "repeated_header": _BOOL,
    "skip_header_lines": _INT,
    "state_dir": _PATH_OR_NONE,
    "strip_carriage_return": _BOOL,
    "vectorize_map": _BOOL,
    "warn_after": _NUMBER_OR_NONE,
}
