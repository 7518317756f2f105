# SPDX-License-Identifier: Apache-2.0
"""Has the tests find what builds the package, ``tools/build``, as ``setup.py`` does."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "tools"))
