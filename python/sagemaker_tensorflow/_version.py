# SPDX-License-Identifier: Apache-2.0
"""The version of the package, which pyproject.toml takes from here."""

__version__ = "3.0.0"
