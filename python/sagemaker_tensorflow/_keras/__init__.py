# SPDX-License-Identifier: Apache-2.0
"""Keras callbacks, and the way from a pipeline to the channels that it reads."""
