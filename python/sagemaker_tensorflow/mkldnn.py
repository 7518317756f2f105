# SPDX-License-Identifier: Apache-2.0
"""Switches TensorFlow's oneDNN kernels on and off; oneDNN was once called MKL-DNN.

TensorFlow decides when its library is loaded, so ``disable`` and ``enable`` come before
``import tensorflow``::

    from sagemaker_tensorflow import mkldnn

    mkldnn.disable()
    import tensorflow as tf

The environment variables that older documentation names do the same, when they are set before
``import sagemaker_tensorflow`` and that before ``import tensorflow``: ``TF_DISABLE_MKL=1``, and
``TF_DISABLE_POOL_ALLOCATOR=1`` for oneDNN's pool of memory. TensorFlow itself no longer looks at
them. ``TF_ENABLE_ONEDNN_OPTS``, which it does look at, beats them.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sagemaker_tensorflow._op import build_info

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Mapping

__all__ = ["Status", "disable", "enable", "status"]

# TensorFlow's own, from 2.9 on.
_ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
_SYSTEM_ALLOCATOR = "TF_ONEDNN_USE_SYSTEM_ALLOCATOR"
# Those of vendors' builds of TensorFlow 1.
_DISABLE_MKL = "TF_DISABLE_MKL"
_DISABLE_POOL_ALLOCATOR = "TF_DISABLE_POOL_ALLOCATOR"

# As TensorFlow reads such variables.
_BOOLEANS = {"0": False, "false": False, "1": True, "true": True}

# bool tensorflow::IsMKLEnabled(). The copy in the framework library is the one that kernels ask.
_IS_MKL_ENABLED = "_ZN10tensorflow12IsMKLEnabledEv"

_set_at_import: dict[str, str] = {}

# From a warning to the line of the user's that calls a function here, or imports the package.
_CALLER = 4


class Status(NamedTuple):
    """Whether TensorFlow runs oneDNN's kernels in this process."""

    enabled: bool | None
    """``None`` if it is TensorFlow's to decide, by the CPU that it finds, and not loaded yet."""
    tensorflow_loaded: bool
    """Whether TensorFlow is loaded, so that nothing can change ``enabled`` any more."""
    reason: str
    """Why, in words."""


def disable() -> None:
    """Turns oneDNN off in this process and in those that it starts.

    Warns:
        RuntimeWarning: If TensorFlow is loaded already, and runs oneDNN.
    """
    _switch(False)


def enable() -> None:
    """Turns oneDNN on in this process and in those that it starts.

    Warns:
        RuntimeWarning: If TensorFlow is loaded already, and does not run oneDNN.
    """
    _switch(True)


def status() -> Status:
    """Tells whether oneDNN is on; says the truth also when variables were set too late."""
    if _tensorflow_loaded():
        return Status(_ask_tensorflow(), True, "TensorFlow is loaded, and says so")
    given = os.environ.get(_ONEDNN)
    if given is None:
        return Status(None, False, "TensorFlow will decide, by the CPU that it finds")
    value = _BOOLEANS.get(given.lower())
    if value is None:
        return Status(None, False, f"{_ONEDNN}={given} is neither 0 nor 1: TensorFlow will decide")
    return Status(value, False, f"{_ONEDNN}={given}, which TensorFlow will look at")


def apply_environment() -> None:
    """Translates the old variables; applies the default of this build. For the package's import.

    Warns:
        RuntimeWarning: If an old variable is set and TensorFlow is loaded already.
    """
    mkl_disabled = _legacy(_DISABLE_MKL)
    pool_disabled = _legacy(_DISABLE_POOL_ALLOCATOR)
    if _tensorflow_loaded():
        if mkl_disabled is not None and _ask_tensorflow() is not (not mkl_disabled):
            _warn_too_late(
                f"{_DISABLE_MKL}={int(mkl_disabled)}", f"{_ONEDNN}={int(not mkl_disabled)}"
            )
        if pool_disabled and _boolean(_SYSTEM_ALLOCATOR) is not True:
            _warn_too_late(f"{_DISABLE_POOL_ALLOCATOR}=1", f"{_SYSTEM_ALLOCATOR}=1")
        return
    _set_at_import.update(translated(os.environ))
    if _ONEDNN not in {*os.environ, *_set_at_import} and not _on_by_default():
        _set_at_import[_ONEDNN] = "0"
    os.environ.update(_set_at_import)


def set_at_import() -> dict[str, str]:
    """Returns the variables that the package's import has set in this process."""
    return dict(_set_at_import)


def translated(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns what the old variables of another process's surroundings mean, as TensorFlow's own.

    Those of TensorFlow's own that are set in ``environ`` are not among them.
    """
    result = {}
    mkl_disabled = _boolean(_DISABLE_MKL, environ)
    if mkl_disabled is not None:
        result[_ONEDNN] = "0" if mkl_disabled else "1"
    if _boolean(_DISABLE_POOL_ALLOCATOR, environ):
        result[_SYSTEM_ALLOCATOR] = "1"
    return {name: value for name, value in result.items() if name not in environ}


def _switch(on: bool) -> None:
    if not _tensorflow_loaded():
        os.environ[_ONEDNN] = "1" if on else "0"
    elif _ask_tensorflow() is not on:
        name = "enable" if on else "disable"
        _warn_too_late(f"mkldnn.{name}()", f"{_ONEDNN}={int(on)}")


def _on_by_default() -> bool:
    info = build_info.load()
    return info is None or info.mkldnn


def _legacy(name: str) -> bool | None:
    value = _boolean(name)
    if value is None and os.environ.get(name):
        warnings.warn(
            f"{name}={os.environ[name]} is ignored: it is neither 0 nor 1",
            RuntimeWarning,
            stacklevel=_CALLER,
        )
    return value


def _boolean(name: str, environ: Mapping[str, str] = os.environ) -> bool | None:
    return _BOOLEANS.get(environ.get(name, "").lower())


def _warn_too_late(said: str, instead: str) -> None:
    variable, value = instead.split("=")
    warnings.warn(
        f"{said} comes too late: TensorFlow is loaded already. Put it, and 'import "
        f"sagemaker_tensorflow', before 'import tensorflow'; or write os.environ['{variable}'] = "
        f"'{value}' there",
        RuntimeWarning,
        stacklevel=_CALLER,
    )


def _tensorflow_loaded() -> bool:
    return sys.modules.get("tensorflow") is not None


def _ask_tensorflow() -> bool | None:
    """Returns what decides in the loaded TensorFlow; ``None`` if it cannot be asked.

    Not ``_pywrap_util_port.IsMklEnabled()``: up to 2.19 it has a flag of its own, read at its first
    call, and says what the variable is then and not what kernels do.
    """
    library = _framework_library()
    if library is None:
        return None
    try:
        function = library[_IS_MKL_ENABLED]
    except AttributeError:
        return None
    import ctypes

    function.argtypes = []
    function.restype = ctypes.c_bool
    return bool(function())


def _framework_library() -> ctypes.CDLL | None:
    import ctypes

    file = getattr(sys.modules["tensorflow"], "__file__", None)
    if file is None:
        return None
    path = str(Path(file).with_name("libtensorflow_framework.so.2"))
    try:
        # Only a library that is loaded: loading it here would be what decides.
        return ctypes.CDLL(path, mode=os.RTLD_LAZY | os.RTLD_NOLOAD)
    except OSError:
        return None
