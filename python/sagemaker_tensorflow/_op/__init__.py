# SPDX-License-Identifier: Apache-2.0
"""The op library: which TensorFlow it is for, where it is, how it is loaded and built."""
