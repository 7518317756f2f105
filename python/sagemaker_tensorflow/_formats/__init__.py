# SPDX-License-Identifier: Apache-2.0
"""How records lie in streams: what is told by the first bytes, and encoders."""
