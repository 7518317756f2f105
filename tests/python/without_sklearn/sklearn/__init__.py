# SPDX-License-Identifier: Apache-2.0
"""Stands for a scikit-learn that is not installed; see conftest.py."""

raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")
