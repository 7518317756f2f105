# SPDX-License-Identifier: Apache-2.0
"""What builds the package: setuptools' commands, CMake behind them, and the backend of PEP 517.

``setup.py`` and pyproject.toml have this folder's parent in their path, so these modules import
each other as ``build``. Environment variables:

SAGEMAKER_TENSORFLOW_BUILD_FOR  Which TensorFlows to build for, see ``tensorflows``.
SAGEMAKER_TENSORFLOW_MKLDNN     ON or OFF: the CMake option of this name; beaten by
                                build_ext --mkldnn and by pip's --config-settings.
SAGEMAKER_TENSORFLOW_BUILD_DIR  Where the build folders go; default: build.
CMAKE_ARGS                      Passed on.
"""
