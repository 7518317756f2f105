# SPDX-License-Identifier: Apache-2.0
"""Makes ``python -m sagemaker_tensorflow`` the command ``pipemode``."""

from sagemaker_tensorflow.cli import main

if __name__ == "__main__":
    main()
