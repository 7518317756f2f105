# SPDX-License-Identifier: Apache-2.0
"""What the two kinds of manifests say.

A manifest is a JSON array: ``[{"prefix": "s3://bucket/some/"}, "a", "b"]``. An augmented manifest
is JSON lines; an attribute whose name ends with ``-ref`` names an object.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

from sagemaker_tensorflow._storage.local_files import local_path
from sagemaker_tensorflow._storage.objects import Entry, Item, Reference, SourceError, Value, is_s3

_REFERENCE_SUFFIX = "-ref"
_MAX_SHOWN = 60
_MAX_NAMES_SHOWN = 20


def parse_manifest(text: bytes, uri: str) -> list[Item]:
    """Returns the objects that a manifest lists, in its order.

    Args:
        text: Its content.
        uri: Where it lies. A local prefix may be relative to that folder.

    Raises:
        SourceError: If it is no such manifest.
    """
    entries = _load(text, f"manifest '{uri}'")
    prefix = None
    if isinstance(entries, list) and entries and isinstance(entries[0], dict):
        prefix = entries[0].get("prefix")
    if not isinstance(prefix, str) or not all(isinstance(entry, str) for entry in entries[1:]):
        raise SourceError(
            f"manifest '{uri}' must be a JSON array of one object and strings, like "
            '[{"prefix": "s3://bucket/some/prefix/"}, "a.tfrecord", "b.tfrecord"]'
        )
    if len(entries) == 1:
        raise SourceError(f"manifest '{uri}' lists no objects")
    return [(Reference(_resolve(prefix + entry, uri), entry),) for entry in entries[1:]]


def parse_augmented_manifest(text: bytes, uri: str, attribute_names: tuple[str, ...]) -> list[Item]:
    """Returns for each line of an augmented manifest the named attributes in their order.

    Strings are sent without their quotes, whatever else as compact JSON. Empty lines are none.

    Args:
        text: Its content.
        uri: Where it lies. A local object may be named relative to that folder.
        attribute_names: Which attributes are sent.

    Raises:
        SourceError: If a line is no JSON object or lacks an attribute.
    """
    items: list[Item] = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        where = f"line {number} of manifest '{uri}'"
        attributes = _load(line, where)
        if not isinstance(attributes, dict):
            raise SourceError(f"{where} is no JSON object")
        missing = [name for name in attribute_names if name not in attributes]
        if missing:
            shown = [_shown(name) for name in itertools.islice(attributes, _MAX_NAMES_SHOWN)]
            shown += ["…"] if len(attributes) > len(shown) else []
            raise SourceError(
                f"{where} has no attribute '{missing[0]}'; it has: {', '.join(shown)}"
            )
        items.append(tuple(_entry(name, attributes[name], uri, where) for name in attribute_names))
    if not items:
        raise SourceError(f"manifest '{uri}' has no lines")
    return items


def _entry(name: str, value: Any, uri: str, where: str) -> Entry:
    if name.endswith(_REFERENCE_SUFFIX):
        if not isinstance(value, str) or not value:
            raise SourceError(
                f"{where}: '{name}' must be the URI of an object, not {_shown(value)}"
            )
        return Reference(_resolve(value, uri), value)
    if not isinstance(value, str):
        value = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        return Value(f"attribute '{name}' in {where}", value.encode())
    except UnicodeEncodeError:
        raise SourceError(f"{where}: '{name}' holds half a character") from None


def _resolve(target: str, manifest_uri: str) -> str:
    """Returns the URI of an object in S3 or the path of a local one, without symbolic links.

    A manifest may come from anywhere, and the data with it: of this machine it may name what lies
    below its own folder, and nothing else.
    """
    if is_s3(target):
        return target
    if is_s3(manifest_uri):
        raise SourceError(
            f"manifest '{manifest_uri}' names {_shown(target)}: full s3:// URIs are needed there"
        )
    folder = local_path(manifest_uri).parent.resolve()
    try:
        path = (folder / (target[7:] if target[:7].lower() == "file://" else target)).resolve()
    except (ValueError, OSError, RuntimeError):  # no path at all, or links in a circle
        raise SourceError(
            f"manifest '{manifest_uri}' names {_shown(target)}, which is no path"
        ) from None
    if not path.is_relative_to(folder):
        raise SourceError(
            f"manifest '{manifest_uri}' names {_shown(target)}, which is outside of '{folder}': a "
            "manifest may name files of its own folder, and of those below it; put it above them"
        )
    return str(path)


def _shown(value: Any) -> str:
    """Returns the beginning of what a manifest holds, in quotes, for a message."""
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"


def _load(text: bytes, where: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:  # JSON or UTF-8
        raise SourceError(f"{where} is not valid JSON: {error}") from None
    except RecursionError:
        raise SourceError(f"{where} is nested too deeply") from None
