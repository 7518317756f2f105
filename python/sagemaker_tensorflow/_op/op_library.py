# SPDX-License-Identifier: Apache-2.0
"""Finds and loads the op library that was built for exactly the TensorFlow in this process."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from sagemaker_tensorflow._base.tensorflow_module import tensorflow
from sagemaker_tensorflow._op import op_cache, op_manifest, tensorflow_build
from sagemaker_tensorflow._op.tensorflow_build import TensorFlowBuild, is_release
from sagemaker_tensorflow.exceptions import OpLibraryError

VARIABLE = "SAGEMAKER_TENSORFLOW_OP_LIBRARY"
BUILD_COMMAND = "python -m sagemaker_tensorflow build-op"

_FOLDER = Path(__file__).parents[1] / "_oplib"
_PREFIX = "pipemode_op_tf"


class OpLibrary(NamedTuple):
    """An op library, and why it is the one."""

    path: Path
    reason: str


class _Loaded(NamedTuple):
    library: OpLibrary
    module: Any


def load() -> Any:
    """Returns the module of op wrappers; loads the library at the first call.

    The ABI key of TensorFlow's releases is ``major.minor``. A neighbour's library would load and
    then crash, so only the exact one will do. In this order:

    1. the library that the environment variable ``SAGEMAKER_TENSORFLOW_OP_LIBRARY`` names;
    2. for a release, the one that the package carries for it;
    3. the one that ``build-op`` has put into the user's cache for this very build of TensorFlow.

    Raises:
        OpLibraryError: If there is none for this TensorFlow, or it cannot be loaded, or TensorFlow
            cannot be imported.
    """
    return _load().module


def loaded() -> OpLibrary:
    """Returns which library ``load`` has taken, or takes now; raises as it does."""
    return _load().library


def carried_minors() -> list[str]:
    """Returns for which TensorFlows, ``major.minor``, the package carries a library."""
    minors = [path.stem.removeprefix(_PREFIX) for path in _FOLDER.glob(f"{_PREFIX}*.so")]
    return sorted(minors, key=lambda minor: [int(part) for part in minor.split(".")])


def carried(minor: str) -> Path:
    """Returns where the package has the library for ``minor``, if it carries one."""
    return _FOLDER / f"{_PREFIX}{minor}.so"


@functools.cache
def _load() -> _Loaded:
    tf = tensorflow()
    build = tensorflow_build.current()
    problems: list[str] = []
    for library in _candidates(build, problems):
        try:
            return _Loaded(library, tf.load_op_library(str(library.path)))
        except tf.errors.OpError as error:  # NotFoundError also of missing symbols
            problems.append(f"cannot load '{library.path}': {error.message}")
    raise OpLibraryError(_explain(build, problems))


def _candidates(tensorflow: TensorFlowBuild, problems: list[str]) -> Iterator[OpLibrary]:
    """Yields the libraries that fit; appends to ``problems`` what does not although it should."""
    named = os.environ.get(VARIABLE)
    if named:
        yield OpLibrary(Path(named), f"{VARIABLE} names it")
        return
    path = carried(tensorflow.minor)
    if tensorflow.is_release and path.exists():
        problem = _check_carried(path, tensorflow.minor)
        if problem is None:
            yield OpLibrary(path, f"the package carries it for TensorFlow {tensorflow.minor}")
        else:
            problems.append(f"'{path}' is not used: {problem}")
    try:
        path = op_cache.library(tensorflow)
        if not path.exists():
            return
    except (OpLibraryError, OSError) as error:
        problems.append(f"no cache: {error}")
        return
    problem = op_cache.check(path, tensorflow)
    if problem is None:
        yield OpLibrary(path, f"built for this TensorFlow by: {BUILD_COMMAND}")
    else:
        problems.append(f"'{path}' is not used: {problem}")


def _check_carried(path: Path, minor: str) -> str | None:
    """Tells what speaks against a library that the package carries; ``None`` if nothing does.

    Its name says the minor only: it may have been built beside a candidate of that minor.
    """
    try:
        built_for = op_manifest.read(path).tensorflow
    except (OSError, ValueError) as error:
        return str(error)
    if not built_for.startswith(f"{minor}.") or not is_release(built_for):
        return f"it was built for TensorFlow {built_for}"
    return None


def _explain(tensorflow: TensorFlowBuild, problems: list[str]) -> str:
    if os.environ.get(VARIABLE):
        return f"{problems[0]}. {VARIABLE} names that file; unset it, or name another one"
    found = f"TensorFlow {tensorflow.version}"
    if not tensorflow.is_release:
        found += ", which is no release (any two builds of it may differ)"
    minors = ", ".join(carried_minors()) or "none"
    return (
        f"no op library for {found}; this package carries: {minors}. "
        + "".join(f"{problem.rstrip('.')}. " for problem in problems)
        + f"Build one for it with: {BUILD_COMMAND}"
    )
