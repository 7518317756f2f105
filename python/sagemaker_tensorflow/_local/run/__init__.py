# SPDX-License-Identifier: Apache-2.0
"""A job from its beginning to its end."""
