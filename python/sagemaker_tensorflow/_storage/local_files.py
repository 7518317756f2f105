# SPDX-License-Identifier: Apache-2.0
"""Objects that are files of this machine: one file, a folder with all below it, or a glob."""

from __future__ import annotations

import contextlib
import glob
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from sagemaker_tensorflow._storage.objects import DataObject, SourceError


def local_path(uri: str) -> Path:
    """Returns the absolute path that a local path or ``file://`` URI names.

    As in the SageMaker SDK's local mode, what follows ``file://`` is a path as it is: it may be
    relative, and ``%`` has no meaning.
    """
    return Path(uri[7:] if uri[:7].lower() == "file://" else uri).absolute()


def list_files(uri: str) -> list[DataObject]:
    """Returns the files that ``uri`` stands for, in the order of their names' bytes, as S3 lists.

    Symbolic links are followed.

    Raises:
        SourceError: If there are none, or something is no regular file.
    """
    path = local_path(uri)
    if path.is_dir():
        return _listed(path, list_folder(path))
    if path.exists():
        files = [stat_file(path, path.name)]
    elif glob.has_magic(str(path)):
        files = _glob(path)
    else:
        raise SourceError(f"'{path}' does not exist{_hint(path)}")
    return _listed(path, _sorted(files))


def list_folder(folder: Path) -> list[DataObject]:
    """Returns all files below the absolute path ``folder``, maybe none, in that order.

    Raises:
        SourceError: If a folder cannot be read, or something is no regular file.
    """
    return _sorted(_walk(str(folder), ""))


def stat_file(path: Path, name: str) -> DataObject:
    """Returns the file at the absolute ``path``.

    Raises:
        SourceError: If it is missing, unreadable or no regular file.
    """
    try:
        return _regular(str(path), path.stat(), name)
    except OSError as error:
        raise SourceError(f"'{path}': {error.strerror}") from None


@contextlib.contextmanager
def opened(file: DataObject) -> Iterator[int]:
    """Opens a file that was listed; yields its descriptor.

    Raises:
        SourceError: If it cannot be opened, or if it is, at the beginning or at the end of the
            block, not the file that was listed.
    """
    try:
        descriptor = os.open(file.uri, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise SourceError(f"'{file.uri}': {error.strerror}") from None
    try:
        _check(descriptor, file)
        yield descriptor
        _check(descriptor, file)
    finally:
        os.close(descriptor)


def read_small(file: DataObject) -> bytes:
    """Returns the content of a file that was listed, and is known to be small.

    Raises:
        SourceError: If it cannot be read, or is not the file that was listed.
    """
    # One check at the end finds all that two would, and nothing was handed on before.
    try:
        descriptor = os.open(file.uri, os.O_RDONLY | os.O_CLOEXEC)
        try:
            content = os.read(descriptor, file.size)
            _check(descriptor, file)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise SourceError(f"'{file.uri}': {error.strerror}") from None
    if len(content) < file.size:
        raise changed(file)
    return content


def read_pieces(descriptor: int, file: DataObject, piece_bytes: int) -> Iterator[memoryview]:
    """Yields the file's content; each piece is valid until the next one."""
    buffer = memoryview(bytearray(min(piece_bytes, file.size)))
    left = file.size
    while left > 0:
        try:
            count = os.readv(descriptor, [buffer[:left]])
        except OSError as error:
            raise SourceError(f"'{file.uri}': {error.strerror}") from None
        if count == 0:
            raise changed(file)
        left -= count
        yield buffer[:count]


def changed(file: DataObject) -> SourceError:
    """Returns what to raise for a file that is not what was listed."""
    return SourceError(f"'{file.uri}' has changed since the job began: start the job again")


def check_untouched(file: DataObject) -> None:
    """Makes sure that what was listed has not been written to.

    Another file in its place is none of its bytes, and shows when it is read the next time.

    Raises:
        SourceError: If it has.
    """
    with contextlib.suppress(OSError):  # it has gone: nobody writes to it by this name
        version = _version(Path(file.uri).stat())
        if version != file.version and _identity(version) == _identity(file.version):
            raise changed(file)


def _identity(version: str) -> list[str]:
    return version.split()[:2]


def _check(descriptor: int, file: DataObject) -> None:
    if _version(os.fstat(descriptor)) != file.version:
        raise changed(file)


def _version(status: os.stat_result) -> str:
    return f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns}"


def _regular(path: str, status: os.stat_result, name: str) -> DataObject:
    if not stat.S_ISREG(status.st_mode):
        raise SourceError(f"'{path}' is no regular file")
    return DataObject(path, status.st_size, _version(status), name)


def _listed(path: Path, files: list[DataObject]) -> list[DataObject]:
    if not files:
        raise SourceError(f"there are no files in '{path}'")
    return files


def _sorted(files: Iterable[DataObject]) -> list[DataObject]:
    return sorted(files, key=lambda file: os.fsencode(file.name))


def _walk(
    folder: str, name: str, above: frozenset[tuple[int, int]] = frozenset()
) -> Iterator[DataObject]:
    """Yields the files below ``folder``, whose names begin with ``name``."""
    try:
        status = Path(folder).stat()
        with os.scandir(folder) as scan:
            entries = list(scan)
    except OSError as error:
        raise SourceError(f"'{folder}': {error.strerror}") from None
    identity = (status.st_dev, status.st_ino)
    if identity in above:
        raise SourceError(f"'{folder}' is a symbolic link to a folder that holds it")
    for entry in entries:
        try:
            if entry.is_dir():
                yield from _walk(entry.path, f"{name}{entry.name}/", above | {identity})
            else:
                yield _regular(entry.path, entry.stat(), name + entry.name)
        except OSError as error:
            raise SourceError(f"'{entry.path}': {error.strerror}") from None


def _glob(pattern: Path) -> list[DataObject]:
    """Returns the files that match, and all below the folders that match, each once."""
    base = next(parent for parent in pattern.parents if not glob.has_magic(str(parent)))
    files: dict[str, DataObject] = {}
    for match in glob.iglob(str(pattern), recursive=True):  # noqa: PTH207 - a shell's rules
        path = Path(match)
        name = str(path.relative_to(base))
        found = _walk(match, f"{name}/") if path.is_dir() else [stat_file(path, name)]
        files.update((file.uri, file) for file in found)
    return list(files.values())


def _hint(path: Path) -> str:
    if any(path.parent.glob(glob.escape(path.name) + "*")):
        return f"; a local path is no prefix as in S3: write the glob '{path}*'"
    return ""
