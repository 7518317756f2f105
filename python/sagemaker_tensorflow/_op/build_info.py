# SPDX-License-Identifier: Apache-2.0
"""What is recorded of the build of this package, by ``cmake/BuildInfo.cmake``."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

_FILE_NAME = "_build_info.json"


class BuildInfo(NamedTuple):
    """How the compiled parts were built."""

    compiler: str
    isal: str
    """Version of ISA-L."""
    mkldnn: bool
    """Whether TensorFlow's oneDNN is left as it is; else it is turned off by default."""
    source_revision: str
    """The commit, with ``+dirty`` if files differed from it; empty if unknown."""


def load() -> BuildInfo | None:
    """Returns the package's record; ``None`` in a checkout that was never built."""
    try:
        return load_from(Path(__file__).parents[1])
    except FileNotFoundError:
        return None


def load_from(folder: Path) -> BuildInfo:
    """Returns the record in ``folder``.

    Raises:
        FileNotFoundError: If there is none.
    """
    import json  # not for those who never come here: `import sagemaker_tensorflow` is to be cheap

    return BuildInfo(**json.loads((folder / _FILE_NAME).read_text(encoding="utf-8")))
