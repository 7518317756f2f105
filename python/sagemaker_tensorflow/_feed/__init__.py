# SPDX-License-Identifier: Apache-2.0
"""Feeds a channel as the service does: through FIFOs, epoch after epoch, or as a folder."""
