# SPDX-License-Identifier: Apache-2.0
"""Holds the layer rule of the C++ sources: what each folder may include."""

import re
from pathlib import Path

import pytest

CPP = Path(__file__).resolve().parents[3] / "cpp"

# Each layer with all that it stands on.
LAYERS = {
    "base": {"base"},
    "io": {"base", "io"},
    "format": {"base", "io", "format"},
    "channel": {"base", "io", "format", "channel"},
    "writer": {"base", "io", "format", "writer"},
    "example": {"base", "example"},
}
ISA_L_USERS = {"io/inflate_source.cc", "format/crc32c.cc"}

# The C++17 library has no dots and no slashes in its names; these have.
C_AND_POSIX = re.compile(
    r"(sys|linux)/\w+\.h"
    r"|(assert|ctype|dirent|errno|fcntl|inttypes|limits|poll|pthread|sched|signal|spawn|stdarg|stddef"
    r"|stdint|stdio|stdlib|string|strings|time|unistd)\.h"
)
CPP_LIBRARY = re.compile(r"[a-z0-9_]+")
INCLUDE = re.compile(r"^\s*#\s*include\s*([<\"])([^>\"]+)[>\"]", re.MULTILINE)


def includes(path: Path) -> list[tuple[str, str]]:
    """All includes of a file, each as its opening delimiter and its name."""
    return INCLUDE.findall(path.read_text(encoding="utf-8"))


def sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in {".cc", ".h"})


def test_core_has_no_other_layers():
    assert {path.name for path in (CPP / "core").iterdir() if path.is_dir()} == set(LAYERS)


@pytest.mark.parametrize("layer", LAYERS)
def test_core_includes_only_what_is_below(layer):
    files = sources(CPP / "core" / layer)
    assert files
    wrong = []
    for path in files:
        name = path.relative_to(CPP / "core").as_posix()
        for delimiter, target in includes(path):
            if delimiter == '"':
                parts = target.split("/")
                allowed = parts[0] == "core" and len(parts) == 3 and parts[1] in LAYERS[layer]
            elif target.startswith("isa-l"):
                allowed = name in ISA_L_USERS
            else:
                allowed = bool(C_AND_POSIX.fullmatch(target) or CPP_LIBRARY.fullmatch(target))
            if not allowed:
                wrong.append(f"{name}: {target}")
    assert not wrong


@pytest.mark.parametrize(
    ("face", "forbidden"),
    [
        # Of the library behind tf.data, only what every TensorFlow exports (ADR 24).
        (
            "tf",
            r"python/|pybind11|Python\.h|tsl/|xla/|tensorflow/core/data/(?!captured_function\.h)",
        ),
        ("python", r"tf/|tensorflow|absl"),
    ],
    ids=["tf", "python"],
)
def test_neither_face_knows_the_other(face, forbidden):
    files = sources(CPP / face)
    assert files
    wrong = [
        f"{path.name}: {target}"
        for path in files
        for _, target in includes(path)
        if re.match(forbidden, target)
    ]
    assert not wrong
