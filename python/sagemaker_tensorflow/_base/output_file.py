# SPDX-License-Identifier: Apache-2.0
"""A file that is at its path wholly or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import warnings
import weakref
from typing import BinaryIO


class OutputFile:
    """Writes beside ``path``, to a name that begins with a dot, until ``commit`` puts it there.

    A FIFO, a device and what is open already, as ``/dev/stdout``, are written themselves.

    Raises:
        OSError: If it cannot be written.
    """

    def __init__(self, path: str | bytes | os.PathLike[str]) -> None:
        self._path = os.fsdecode(path)
        self._part: str | None = None
        mode = _mode(self._path)
        if (mode is not None and not stat.S_ISREG(mode)) or _is_open_file(self._path):
            self._file: BinaryIO = open(self._path, "wb")  # noqa: PTH123, SIM115
            return
        self._path = os.path.realpath(self._path)  # a link stays one
        folder, name = os.path.split(self._path)
        self._part = os.path.join(folder, f".{name}.{secrets.token_hex(4)}.part")  # noqa: PTH118
        self._file = open(self._part, "xb")  # noqa: PTH123, SIM115
        self._finalizer = weakref.finalize(self, _forgotten, os.getpid(), self._part, self._path)
        if mode is not None:
            os.chmod(self._part, stat.S_IMODE(mode))  # noqa: PTH101

    @property
    def is_open(self) -> bool:
        """Whether neither ``commit`` nor ``discard`` was called."""
        return not self._file.closed

    def write(self, data: bytes) -> None:
        """Appends ``data``."""
        self._file.write(data)

    def commit(self) -> None:
        """Closes the file, and puts it in the place of what was at ``path``."""
        try:
            self._file.close()
            if self._part is not None:
                os.replace(self._part, self._path)  # noqa: PTH105
                self._finalizer.detach()
        finally:
            self.discard()

    def discard(self) -> None:
        """Closes and removes the file. May be called again, and without effect after ``commit``."""
        with contextlib.suppress(OSError):  # of what is thrown away
            self._file.close()
        if self._part is not None and self._finalizer.detach() is not None:
            _remove(self._part)


def _forgotten(process: int, part: str, path: str) -> None:
    if os.getpid() != process:  # a forked child has a copy of the object, but the file is not its
        return
    _remove(part)
    warnings.warn(f"'{path}' is not written: close() was not called", RuntimeWarning, stacklevel=2)


def _remove(part: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(part)  # noqa: PTH108


def _mode(path: str) -> int | None:
    """Returns the type and the permissions of what is there; ``None`` if there is nothing."""
    try:
        return os.stat(path).st_mode  # noqa: PTH116
    except FileNotFoundError:
        return None


def _is_open_file(path: str) -> bool:
    """Whether ``path`` leads to a descriptor, as ``/dev/stdout`` and ``/dev/fd/1`` do."""
    while True:
        folder = os.path.realpath(os.path.dirname(path))  # noqa: PTH120
        if folder.startswith("/proc/"):
            return True
        if not os.path.islink(path):  # noqa: PTH114
            return False
        path = os.path.join(folder, os.readlink(path))  # noqa: PTH118, PTH115
