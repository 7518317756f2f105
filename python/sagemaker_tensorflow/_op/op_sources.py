# SPDX-License-Identifier: Apache-2.0
"""Where the sources of the op library are: the package carries them, a checkout has them above."""

from __future__ import annotations

from pathlib import Path

from sagemaker_tensorflow.exceptions import OpLibraryError

_PACKAGE = Path(__file__).parents[1]
_PLACES = (_PACKAGE / "_src", _PACKAGE.parents[1])


def folder() -> Path:
    """Returns the folder that holds ``CMakeLists.txt``, ``cmake`` and ``cpp``.

    Raises:
        OpLibraryError: If there is none.
    """
    for place in _PLACES:
        if (place / "cpp" / "tf" / "CMakeLists.txt").is_file():
            return place
    raise OpLibraryError(
        f"'{_PACKAGE}' lacks the sources of the op library; install sagemaker_tensorflow anew"
    )
