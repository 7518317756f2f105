# SPDX-License-Identifier: Apache-2.0
"""The objects of a channel, on this machine or in S3: which there are, their order, their bytes."""
