# SPDX-License-Identifier: Apache-2.0
"""Reads serialized ``tf.train.Example`` messages without protobuf and without TensorFlow.

The messages are those of tensorflow/core/example/{example,feature}.proto. Values are counted, and
only the first few are decoded: an Example may hold millions.
"""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator

SHOWN_VALUES = 8
"""How many values of a feature are decoded."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_KINDS = {1: "bytes", 2: "float", 3: "int64"}
_MAX_VARINT_BYTES = 10
# 1 for each byte that ends a varint; 0 for the others.
_ENDS_VARINT = bytes(int(byte < 0x80) for byte in range(256))


@dataclasses.dataclass(frozen=True)
class Feature:
    """One feature of one Example.

    Attributes:
        kind: ``'bytes'``, ``'float'`` or ``'int64'``; ``None`` for a feature without a list.
        count: How many values there are.
        first: The first values.
    """

    kind: str | None
    count: int
    first: tuple[bytes, ...] | tuple[float, ...] | tuple[int, ...]


class NotAnExampleError(ValueError):
    """The bytes are no serialized Example."""


def parse_example(record: bytes | memoryview) -> dict[str, Feature]:
    """Returns the features of a serialized Example, in the order in which they are in it.

    Raises:
        NotAnExampleError: If the bytes are something else. An Example that has fields which no
            version of TensorFlow writes is taken for something else, too.
    """
    features: dict[str, Feature] = {}
    for number, value in _fields(memoryview(record)):
        _expect(number == 1)
        for inner, entry in _fields(_message(value)):
            _expect(inner == 1)
            name, feature = _parse_entry(_message(entry))
            features[name] = feature  # the last one counts, as in every map
    return features


def _parse_entry(entry: memoryview) -> tuple[str, Feature]:
    name, feature = "", Feature(None, 0, ())
    for number, value in _fields(entry):
        if number == 1:
            try:
                name = bytes(_message(value)).decode()
            except UnicodeDecodeError:
                raise NotAnExampleError from None
        else:
            _expect(number == 2)
            feature = _parse_feature(_message(value))
    return name, feature


def _parse_feature(message: memoryview) -> Feature:
    feature = Feature(None, 0, ())
    for number, value in _fields(message):
        _expect(number in _KINDS)
        feature = _LIST_PARSERS[_KINDS[number]](_message(value))
    return feature


def _parse_bytes_list(message: memoryview) -> Feature:
    count = 0
    first: list[bytes] = []
    for number, value in _fields(message):
        _expect(number == 1)
        item = _message(value)
        count += 1
        if len(first) < SHOWN_VALUES:
            first.append(bytes(item))
    return Feature("bytes", count, tuple(first))


def _parse_float_list(message: memoryview) -> Feature:
    """Packed, as everyone writes them, or one by one."""
    count = 0
    first: list[float] = []
    for number, value in _fields(message):
        _expect(number == 1)
        if isinstance(value, int):
            raise NotAnExampleError
        _expect(len(value) % 4 == 0)
        count += len(value) // 4
        wanted = min(SHOWN_VALUES - len(first), len(value) // 4)
        first += struct.unpack(f"<{wanted}f", value[: 4 * wanted])
    return Feature("float", count, tuple(first))


def _parse_int64_list(message: memoryview) -> Feature:
    """Packed, as everyone writes them, or one by one."""
    count = 0
    first: list[int] = []
    for number, value in _fields(message):
        _expect(number == 1)
        if isinstance(value, int):
            count += 1
            numbers = [value]
        else:
            count += bytes(value).translate(_ENDS_VARINT).count(1)
            _expect(not value or value[-1] < 0x80)
            numbers = list(_varints(value, SHOWN_VALUES - len(first)))
        first += [_signed(number) for number in numbers[: SHOWN_VALUES - len(first)]]
    return Feature("int64", count, tuple(first))


_LIST_PARSERS = {
    "bytes": _parse_bytes_list,
    "float": _parse_float_list,
    "int64": _parse_int64_list,
}


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yields number and value of each field: an int for a varint, else the bytes."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if wire_type == _BYTES:
            size, at = _varint(message, at)
        elif wire_type in (_FIXED32, _FIXED64):
            size = 4 if wire_type == _FIXED32 else 8
        else:
            raise NotAnExampleError
        _expect(size <= len(message) - at)
        yield number, message[at : at + size]
        at += size


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise NotAnExampleError
    return value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """Returns the number at ``at`` and where it ends."""
    result = 0
    for shift in range(0, 7 * _MAX_VARINT_BYTES, 7):
        _expect(at < len(data))
        byte = data[at]
        at += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, at
    raise NotAnExampleError


def _varints(data: memoryview, count: int) -> Iterator[int]:
    at = 0
    while at < len(data) and count > 0:
        number, at = _varint(data, at)
        yield number
        count -= 1


def _signed(number: int) -> int:
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number


def _expect(condition: bool) -> None:
    if not condition:
        raise NotAnExampleError
