# SPDX-License-Identifier: Apache-2.0
"""The channels of all hosts of a job."""
