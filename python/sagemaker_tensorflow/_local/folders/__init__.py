# SPDX-License-Identifier: Apache-2.0
"""The folders of a job: made, filled, collected from and removed."""
