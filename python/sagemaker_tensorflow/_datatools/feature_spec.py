# SPDX-License-Identifier: Apache-2.0
"""What the features of some Examples have in common, and the code that parses them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from sagemaker_tensorflow._datatools.escape import escaped
from sagemaker_tensorflow._datatools.example import Feature
from sagemaker_tensorflow._formats.magic import image_kind

_DTYPES = {"bytes": "tf.string", "float": "tf.float32", "int64": "tf.int64"}
_DEFAULTS = {"bytes": '""', "float": "0.0", "int64": "0"}
_SHOWN_VALUES = 4
_SHOWN_BYTES = 24


@dataclasses.dataclass
class FeatureSummary:
    """One feature in some Examples.

    Attributes:
        name: Its key.
        kinds: The kinds of its values; more than one is a mistake of who wrote them.
        present: How many Examples have it, be it with an empty list.
        least: The least number of values where it is present.
        most: The greatest.
        sample: Values of the first one.
    """

    name: str
    kinds: list[str] = dataclasses.field(default_factory=list)
    present: int = 0
    least: int = 0
    most: int = 0
    sample: tuple[bytes, ...] | tuple[float, ...] | tuple[int, ...] = ()

    def add(self, feature: Feature) -> None:
        """Counts this feature of one more Example."""
        if feature.kind is None:
            return
        if feature.kind not in self.kinds:
            self.kinds.append(feature.kind)
        self.least = min(self.least, feature.count) if self.present else feature.count
        self.most = max(self.most, feature.count)
        self.present += 1
        if not self.sample:
            self.sample = feature.first

    def counts(self) -> str:
        """Returns how many values there are, as text."""
        return str(self.least) if self.least == self.most else f"{self.least} to {self.most}"

    def sample_text(self) -> str:
        """Returns the first values as short text."""
        parts = []
        for value in self.sample[:_SHOWN_VALUES]:
            if not isinstance(value, bytes):
                parts.append(f"{value:.6g}" if isinstance(value, float) else str(value))
                continue
            image = image_kind(value)
            size = f"{image}, {len(value):,} bytes" if image else f"{len(value):,} bytes: "
            text = escaped(value, _SHOWN_BYTES)
            parts.append(size if image else (size if len(value) > _SHOWN_BYTES else "") + text)
        return ", ".join(parts) + (", …" if len(self.sample) > _SHOWN_VALUES else "")

    def spec(self, examples: int) -> str | None:
        """Returns the entry of a feature spec as Python code; ``None`` if there are no values."""
        if not self.kinds:
            return None
        kind = self.kinds[0]
        dtype = _DTYPES[kind]
        if self.least != self.most or self.most == 0:
            # Also where a list may be empty: parse_example uses no default for that.
            return f"tf.io.VarLenFeature({dtype})"
        shape = "[]" if self.least == 1 else f"[{self.least}]"
        if self.present == examples:
            return f"tf.io.FixedLenFeature({shape}, {dtype})"
        if self.least == 1:
            return f"tf.io.FixedLenFeature([], {dtype}, default_value={_DEFAULTS[kind]})"
        return f"tf.io.VarLenFeature({dtype})"

    def remark(self, examples: int) -> str:
        """Returns what the spec alone does not tell, or nothing."""
        if len(self.kinds) > 1:
            return f"{' or '.join(self.kinds)}: no spec can parse that"
        remarks = []
        if self.present < examples:
            remarks.append(f"missing in {examples - self.present:,} of {examples:,}")
        if self.least != self.most:
            remarks.append(f"{self.counts()} values")
        if self.sample and isinstance(self.sample[0], bytes):
            image = image_kind(self.sample[0])
            remarks += [image] if image else []
        return ", ".join(remarks)


class FeatureTable:
    """The features of some Examples.

    Attributes:
        examples: How many there are.
    """

    def __init__(self) -> None:
        self.examples = 0
        self._features: dict[str, FeatureSummary] = {}

    def add(self, example: Mapping[str, Feature]) -> None:
        """Counts one more Example."""
        self.examples += 1
        for name, feature in example.items():
            self._features.setdefault(name, FeatureSummary(name)).add(feature)

    @property
    def features(self) -> list[FeatureSummary]:
        """Sorted by name: a map has no order."""
        return [self._features[name] for name in sorted(self._features)]

    def code(self) -> str:
        """Returns the feature spec as Python code."""
        lines = ["FEATURES = {"]
        for feature in self.features:
            key = _literal(feature.name)
            spec = feature.spec(self.examples)
            remark = feature.remark(self.examples)
            if spec is None:
                lines.append(f"    # {key} has no values")
            else:
                lines.append(f"    {key}: {spec}," + (f"  # {remark}" if remark else ""))
        return "\n".join([*lines, "}"])


def _literal(text: str) -> str:
    """Returns a string as ruff formats it, in double quotes."""
    if text.isprintable() and not set(text) & set('"\\'):
        return f'"{text}"'
    escaped_text = text.encode("unicode_escape").decode().replace('"', '\\"')
    return f'"{escaped_text}"'
