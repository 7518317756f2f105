# SPDX-License-Identifier: Apache-2.0
"""What people see of a job: on a terminal, in words, on a page."""
