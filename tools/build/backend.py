# SPDX-License-Identifier: Apache-2.0
"""setuptools' build backend, and pip's ``--config-settings`` for the options of this project.

``pip install . --config-settings=SAGEMAKER_TENSORFLOW_MKLDNN=OFF`` does what the CMake option of
this name does. All other settings are setuptools' own.
"""

from __future__ import annotations

import os
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    build_sdist,
    get_requires_for_build_editable,
    get_requires_for_build_sdist,
    get_requires_for_build_wheel,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

_OPTION = "SAGEMAKER_TENSORFLOW_MKLDNN"


def build_wheel(
    wheel_directory: str,
    config_settings: dict[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Builds a wheel; see PEP 517."""
    settings = _apply(config_settings)
    return str(build_meta.build_wheel(wheel_directory, settings, metadata_directory))


def build_editable(
    wheel_directory: str,
    config_settings: dict[str, Any] | None = None,
    metadata_directory: str | None = None,
) -> str:
    """Builds a wheel that refers to the checkout; see PEP 660."""
    settings = _apply(config_settings)
    return str(build_meta.build_editable(wheel_directory, settings, metadata_directory))


def _apply(config_settings: dict[str, Any] | None) -> dict[str, Any]:
    """Puts our option where setup.py looks for it; returns the other settings."""
    settings = dict(config_settings or {})
    value = settings.pop(_OPTION, None)
    if value is not None:
        os.environ[_OPTION] = str(value)
    return settings
