# SPDX-License-Identifier: Apache-2.0
"""What can be found out about a FIFO from outside."""

from __future__ import annotations

import errno
import os


def has_reader(path: str) -> bool:
    """Tries to open a FIFO for writing; whoever still reads it does not take that for more data."""
    try:
        os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT):
            return False
        raise
    return True
