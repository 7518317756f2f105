# SPDX-License-Identifier: Apache-2.0
"""What is asked of the host: a ``CreateTrainingJob`` request, options, and the job of them."""
