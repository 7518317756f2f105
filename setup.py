# SPDX-License-Identifier: Apache-2.0
"""setuptools' script: pyproject.toml holds the metadata, and tools/build what is done."""

import sys
from pathlib import Path

from setuptools import setup

sys.path.insert(0, str(Path(__file__).resolve().parent / "tools"))

from build import commands

setup(
    # build_ext adds the op libraries, once it knows for which TensorFlows.
    ext_modules=[commands.NATIVE],
    cmdclass={
        "build_ext": commands.BuildWithCMake,
        "build_py": commands.BuildWithSources,
        "sdist": commands.SdistWithRevision,
    },
)
