# SPDX-License-Identifier: Apache-2.0
"""What ``pipemode bench`` measures, and how. ``benchmarks/README.md`` describes it."""
