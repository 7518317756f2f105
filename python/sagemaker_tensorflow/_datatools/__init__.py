# SPDX-License-Identifier: Apache-2.0
"""What ``pipemode inspect`` and ``pipemode convert`` do. Nothing here imports TensorFlow."""
