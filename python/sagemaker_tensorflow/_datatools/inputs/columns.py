# SPDX-License-Identifier: Apache-2.0
"""Columns of text as features: which type they are, and their values."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Sequence, Set
from typing import Any

import numpy as np

from sagemaker_tensorflow._datatools.batch import Bytes, Int64s, joined

Feature = tuple[str, Any, Int64s | None, Int64s]
"""What ``encode_examples`` takes: name, values, offsets of strings, row splits."""

_ORDER = ("int", "float", "string")
_MISSING_NUMBERS = frozenset(("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None"))
_MISSING_STRINGS = frozenset(("",))
_INT = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[+-]?(((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|inf)")
# What Python takes for a number and a person may not: 007, 1_000.
_NO_NUMBER = re.compile(r"^[+-]?0[0-9]|_", re.MULTILINE)
_MAX_INT64 = (1 << 63) - 1
_MAX_INT64_DIGITS = 20
_MAX_FLOAT32 = float(np.finfo(np.float32).max)


class UnfitError(ValueError):
    """A text is not of its column's type.

    Attributes:
        index: Its row.
        text: The text.
    """

    def __init__(self, index: int, text: str) -> None:
        super().__init__(text)
        self.index = index
        self.text = text


def infer(texts: Sequence[str], missing: Set[str]) -> str:
    """Returns the narrowest type that fits all ``texts``: ``'int'``, ``'float'`` or ``'string'``.

    Numbers with zeros in front, as postal codes have them, are strings.
    """
    present = {text.strip() for text in set(texts) - _MISSING_NUMBERS - missing}
    if all(_INT.fullmatch(text) and _fits_int64(text) for text in present):
        return "int"
    # A whole number too long for int64 is a name rather than a measure.
    if all(_FLOAT.fullmatch(text) and _fits_float32(text) for text in present):
        return "float"
    return "string"


def wider(one: str, other: str) -> str:
    """Returns the type that holds values of both."""
    return max(one, other, key=_ORDER.index)


def encode(
    name: str, texts: Sequence[str], type_: str, missing: Set[str], *, strict: bool
) -> Feature:
    """Returns a column as a feature; rows with missing values lack it.

    Args:
        name: Of the feature.
        texts: The column.
        type_: ``'int'``, ``'float'`` or ``'string'``.
        missing: Texts that stand for a missing value, besides the usual ones.
        strict: Whether numbers must look as ``infer`` wants them.

    Raises:
        UnfitError: If a text is not of that type.
    """
    if type_ == "string":
        present, splits = _present(texts, _MISSING_STRINGS | missing)
        return name, *_encoded(present), splits
    usual = _MISSING_NUMBERS | missing
    convert: Callable[[str], Any] = int if type_ == "int" else float
    if strict and _NO_NUMBER.search("\n".join(texts)):
        _raise_unfit(texts, usual, convert, strict=True)
    dtype = np.int64 if type_ == "int" else np.float64
    try:
        present, splits = texts, np.arange(len(texts) + 1, dtype=np.int64)
        # Most columns lack nothing, and looking for that takes longer than to try.
        values = np.fromiter(map(convert, texts), dtype, len(texts))
        if type_ == "float" and np.isnan(values).any():
            raise ValueError
    except (ValueError, OverflowError):
        present, splits = _present(texts, usual)
        try:
            values = np.fromiter(map(convert, present), dtype, len(present))
        except (ValueError, OverflowError):
            _raise_unfit(texts, usual, convert, strict=False)
    if type_ == "int":
        return name, values, None, splits
    with np.errstate(over="ignore"):
        floats = values.astype(np.float32)
    too_large = np.flatnonzero(np.isinf(floats) & np.isfinite(values))
    if len(too_large):
        row = int(np.searchsorted(splits, too_large[0], side="right")) - 1
        raise UnfitError(row, texts[row])
    return name, floats, None, splits


def _fits_int64(text: str) -> bool:
    return len(text) <= _MAX_INT64_DIGITS and abs(int(text)) <= _MAX_INT64


def _fits_float32(text: str) -> bool:
    if _INT.fullmatch(text) and not _fits_int64(text):
        return False
    number = float(text)
    return math.isinf(number) or abs(number) <= _MAX_FLOAT32


def _present(texts: Sequence[str], missing: Set[str]) -> tuple[Sequence[str], Int64s]:
    """Returns the texts that are not missing, and the row splits."""
    if not any(text in texts for text in missing):
        return texts, np.arange(len(texts) + 1, dtype=np.int64)
    flags = [text not in missing for text in texts]
    splits = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum(flags, out=splits[1:])
    return list(itertools.compress(texts, flags)), splits


def _encoded(texts: Sequence[str]) -> tuple[Bytes, Int64s]:
    """Returns the texts in UTF-8, one behind the other, and their offsets."""
    everything = "".join(texts)
    if not everything.isascii():
        return joined([text.encode() for text in texts])
    offsets = np.zeros(len(texts) + 1, dtype=np.int64)
    np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)), out=offsets[1:])
    return np.frombuffer(everything.encode(), dtype=np.uint8), offsets


def _raise_unfit(
    texts: Sequence[str], missing: Set[str], convert: Callable[[str], Any], *, strict: bool
) -> None:
    """Raises ``UnfitError`` for the first text that does not fit, if one does not."""
    for index, text in enumerate(texts):
        if text in missing:
            continue
        try:
            number = convert(text)
        except ValueError:
            raise UnfitError(index, text) from None
        if convert is int and not -_MAX_INT64 - 1 <= number <= _MAX_INT64:
            raise UnfitError(index, text)
        if strict and _NO_NUMBER.search(text):
            raise UnfitError(index, text)
