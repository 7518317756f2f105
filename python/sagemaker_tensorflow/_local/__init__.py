# SPDX-License-Identifier: Apache-2.0
"""The local Pipe-mode host: plays the service's side of a training job on one machine.

Private; the command ``pipemode run`` is its face.
"""
