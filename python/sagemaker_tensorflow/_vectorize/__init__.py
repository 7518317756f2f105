# SPDX-License-Identifier: Apache-2.0
"""Mapping records a batch at a time, where a script maps them one by one and batches them then."""
