# SPDX-License-Identifier: Apache-2.0
"""The processes of a job: what they are told, how they are started, kept and ended."""
