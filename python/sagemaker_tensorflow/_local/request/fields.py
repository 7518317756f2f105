# SPDX-License-Identifier: Apache-2.0
"""The kinds of fields that a request is made of; each checks a value and names what is wrong."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping
from typing import Any, Protocol

Problems = list[str]
"""What is wrong so far: ``<path of the field>: <what, and what to write>``."""

_NAMES = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}


class Field(Protocol):
    """A kind of field."""

    def check(self, value: Any, path: str, problems: Problems) -> None:
        """Adds to ``problems`` what is wrong with ``value``, which is at ``path``."""


@dataclasses.dataclass(frozen=True)
class Anything:
    """What nothing here looks at."""

    def check(self, value: Any, path: str, problems: Problems) -> None:
        """Finds nothing wrong."""


@dataclasses.dataclass(frozen=True)
class Boolean:
    """True or false."""

    def check(self, value: Any, path: str, problems: Problems) -> None:
        """See ``Field``."""
        _is_a(bool, value, path, problems)


@dataclasses.dataclass(frozen=True)
class Text:
    """A string.

    Attributes:
        max_length: In characters.
        pattern: What all of it has to match.
        hint: The pattern in words.
    """

    max_length: int = 1 << 20
    pattern: str = r"(?s:.*)"
    hint: str = ""

    def check(self, value: Any, path: str, problems: Problems) -> None:
        """See ``Field``."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            problems.append(f'{path}: a string expected, not a number: write "{value}"')
        elif _is_a(str, value, path, problems):
            if len(value) > self.max_length:
                problems.append(
                    f"{path}: {len(value)} characters, and {self.max_length} is the limit"
                )
            elif "\0" in value or _has_surrogates(value):
                problems.append(f"{path}: no process can be given the character in {value[:40]!r}")
            elif not re.fullmatch(self.pattern, value):
                problems.append(f"{path}: {value[:80]!r} is not allowed: {self.hint}")


@dataclasses.dataclass(frozen=True)
class Choice:
    """One of a few strings."""

    values: tuple[str, ...]

    def check(self, value: Any, path: str, problems: Problems) -> None:
        """See ``Field``."""
        if isinstance(value, str) and value in self.values:
            return
        near = [
            one for one in self.values if isinstance(value, str) and one.lower() == value.lower()
        ]
        wanted = f"write {near[0]}" if near else f"one of {', '.join(self.values)} expected"
        problems.append(f"{path}: {_shown(value)}: {wanted}")


@dataclasses.dataclass(frozen=True)
class Integer:
    """A whole number in a range."""

    least: int
    most: int = 2**63 - 1

    def check(self, value: Any, path: str, problems: Problems) -> None:
        """See ``Field``."""
        if not isinstance(value, int) or isinstance(value, bool):
            problems.append(f"{path}: a whole number expected, not {_shown(value)}")
        elif not self.least <= value <= self.most:
            limit = f"at least {self.least}" if value < self.least else f"at most {self.most}"
            problems.append(f"{path}: {value}: {limit} expected")


@dataclasses.dataclass(frozen=True)
class ListOf:
    """A list of values of one kind."""

    item: Field
    least: int = 0
    most: int = 1000

    def check(self, value: Any, path: str, problems: Problems) -> None:
        """See ``Field``."""
        if not _is_a(list, value, path, problems):
            return
        if not self.least <= len(value) <= self.most:
            problems.append(f"{path}: {len(value)} items: {self.least} to {self.most} expected")
        for number, item in enumerate(value):
            self.item.check(item, f"{path}[{number}]", problems)


@dataclasses.dataclass(frozen=True)
class MapOf:
    """An object with keys of the user's choice."""

    key: Field
    value: Field
    most: int

    def check(self, value: Any, path: str, problems: Problems) -> None:
        """See ``Field``."""
        if not _is_a(dict, value, path, problems):
            return
        if len(value) > self.most:
            problems.append(f"{path}: {len(value)} entries, and {self.most} is the limit")
        for key, item in value.items():
            self.key.check(key, f"{path} (key {key[:40]!r})", problems)
            self.value.check(item, f"{path}.{key}", problems)


@dataclasses.dataclass(frozen=True)
class Structure:
    """An object with known keys.

    Attributes:
        members: The kind of each.
        required: Those that must be there.
    """

    members: Mapping[str, Field]
    required: tuple[str, ...] = ()

    def check(self, value: Any, path: str, problems: Problems) -> None:
        """See ``Field``."""
        if not _is_a(dict, value, path or "the request", problems):
            return
        prefix = f"{path}." if path else ""
        for name in self.required:
            if name not in value:
                problems.append(f"{prefix}{name}: missing")
        for name, item in value.items():
            if name in self.members:
                self.members[name].check(item, f"{prefix}{name}", problems)
            else:
                near = difflib.get_close_matches(str(name), self.members, n=1)
                meant = f": did you mean {near[0]}?" if near else ""
                problems.append(f"{prefix}{name}: no such field{meant}")


def _is_a(kind: type, value: Any, path: str, problems: Problems) -> bool:
    if isinstance(value, kind):
        return True
    problems.append(f"{path}: {_NAMES[kind]} expected, not {_shown(value)}")
    return False


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return repr(value[:80])
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return _NAMES.get(type(value)) or f"the number {value}"


def _has_surrogates(value: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in value)
