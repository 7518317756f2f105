# SPDX-License-Identifier: Apache-2.0
"""Bytes of unknown origin as short text that no terminal takes for a command."""

from __future__ import annotations

_MAX_CHARACTER_BYTES = 4


def escaped(data: bytes, limit: int = 60) -> str:
    """Returns the first ``limit`` bytes as printable text, shorter if most must be escaped.

    UTF-8 stays as it is where it is printable; anything else is shown as in a bytes literal.
    """
    shown = data[:limit]
    text = _decoded(shown, is_cut=len(data) > limit)
    if text is None or 4 * sum(map(str.isprintable, text)) < 3 * len(text):
        shown = data[: limit // 2]
        result = repr(shown)[2:-1]
    else:
        result = "".join(
            char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
        )
    return result + ("…" if len(data) > len(shown) else "")


def _decoded(data: bytes, *, is_cut: bool) -> str | None:
    """Returns UTF-8 as text, without the character that was cut in two; ``None`` if it is not."""
    for cut in range(_MAX_CHARACTER_BYTES if is_cut else 1):
        try:
            return data[: len(data) - cut].decode()
        except UnicodeDecodeError:
            continue
    return None
