# SPDX-License-Identifier: Apache-2.0
"""What ``pipemode convert`` reads: one module for each kind of input."""
