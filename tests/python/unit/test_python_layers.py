# SPDX-License-Identifier: Apache-2.0
"""Holds the layer rule of the Python package: what each room may import."""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

NAME = "sagemaker_tensorflow"
PACKAGE = Path(__file__).resolve().parents[3] / "python" / NAME

# Each room, or public module, with those that it may import; from the bottom up, so that there is
# no way back.
STANDS_ON = {
    "_version": "",
    "exceptions": "",
    "_native": "",
    "_base": "exceptions",
    "_op": "_base _version exceptions",
    "_vectorize": "_base _op",
    "_formats": "_base _native",
    "_storage": "",
    "_job": "_base _storage exceptions",
    "_feed": "_formats _native _storage",
    "mkldnn": "_op",
    "parsing": "_op exceptions",
    "stats": "_base _job _op exceptions",
    "records": "_base _formats _job _native",
    "pipemode": "_base _job _op _vectorize exceptions stats",
    "channels": "_base _formats _job exceptions pipemode",
    "_keras": "_base _job pipemode stats",
    "testing": "_base _feed _formats _native",
    "_local/request": "_feed _storage",
    "_local/folders": "_base _local/request _storage",
    "_local/feed": "_feed _local/folders _local/request _storage",
    "_local/script": "_feed _local/folders _local/request mkldnn",
    "_local/run": "_base _feed _local/feed _local/folders _local/request _local/script",
    "_local/show": "_feed _local/feed _local/request _local/run _local/script",
    "_datatools": "_formats _native _storage",
    "_benchmark": "_formats _native __init__",
    "cli": "__init__ exceptions mkldnn _base _benchmark _datatools _feed _job _local/folders"
    " _local/request _local/run _local/script _local/show _native _op",
    "__main__": "cli",
    "__init__": "_keras _version channels exceptions mkldnn parsing pipemode records stats",
}

# Where an import may wait until it is needed. Those of the benchmark import TensorFlow, for another
# process than the one that asks.
MAY_IMPORT_LATE = {
    "cli",
    "_benchmark.rollover",
    "_benchmark.stop",
    "_benchmark.throughput",
}


class Import(NamedTuple):
    """A module of the package imports another one; names are without that of the package."""

    module: str
    target: str
    line: int
    is_late: bool


def module_name(path: Path) -> str:
    """``pipemode``, ``_op.op_cache``, ``_op.__init__``."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts)


# With stubs, and without the bytecode that Python puts beside them.
MODULES = {
    module_name(path): path
    for path in sorted(PACKAGE.rglob("*.py*"))
    if path.suffix in (".py", ".pyi")
}


def room_of(module: str) -> str:
    """The room of a module; a module that is in none stands for itself."""
    parts = module.split(".")
    return "/".join(parts[: 2 if parts[0] == "_local" and len(parts) > 2 else 1])


def resolve(name: str) -> str:
    """What ``import <name>`` imports, where the last part may be something within a module."""
    inner = name.removeprefix(NAME).removeprefix(".")
    outer = inner.rpartition(".")[0]
    for candidate in (inner, f"{inner}.__init__", outer, f"{outer}.__init__"):
        if candidate.removeprefix(".") in MODULES:
            return candidate.removeprefix(".")
    raise AssertionError(f"{name} is not there")


def imports_of(module: str) -> Iterator[Import]:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    late = {id(node) for function in functions for node in ast.walk(function)}
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}:{node.lineno} has a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name.split(".")[0] == NAME:
                yield Import(module, resolve(name), node.lineno, id(node) in late)


IMPORTS = [found for module in MODULES for found in imports_of(module)]


def test_all_rooms_are_known():
    # What is left of a room that has become several is its docstring.
    assert {room_of(module) for module in MODULES} - {"_local"} == STANDS_ON.keys()


def test_no_room_stands_on_one_above_it():
    below = {"__init__"}  # programs use public names as a user does
    for room, others in STANDS_ON.items():
        assert set(others.split()) <= below, room
        below.add(room)


def test_imports_look_down():
    used = {room: set() for room in STANDS_ON}
    for found in IMPORTS:
        room, other = room_of(found.module), room_of(found.target)
        if room != other:
            used[room].add(other)
            assert other in STANDS_ON[room].split(), found
    # What nobody uses any more is not allowed any more.
    assert used == {room: set(others.split()) for room, others in STANDS_ON.items()}


def test_imports_are_where_they_are_seen():
    """Within a function they hide what a module stands on."""
    late = [found for found in IMPORTS if found.is_late]
    assert late
    assert not [f for f in late if not {f.module, room_of(f.module)} & MAY_IMPORT_LATE]


def test_no_module_comes_back_to_itself():
    targets = {
        module: {f.target for f in IMPORTS if f.module == module} - {module, "__init__"}
        for module in MODULES
    }
    graph = graphlib.TopologicalSorter(targets)
    graph.prepare()  # raises CycleError
