# SPDX-License-Identifier: Apache-2.0
"""The folder of a channel in File or FastFile mode.

Objects in S3 are downloaded in both modes. Local ones are copied in File mode, where the folder is
the script's to change, and are symbolic links in FastFile mode, where it is not.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from sagemaker_tensorflow._feed.channel_progress import ProgressMeter
from sagemaker_tensorflow._storage.bodies import Bodies
from sagemaker_tensorflow._storage.objects import DataObject, Item, Reference, SourceError, is_file


def lay_out(
    folder: Path,
    items: Sequence[Item],
    bodies: Bodies,
    meter: ProgressMeter,
    *,
    link_files: bool,
) -> None:
    """Makes ``folder`` with the objects as its files; if that fails, there is none.

    Args:
        folder: Must not hold anything.
        items: The objects.
        bodies: Theirs.
        meter: Counts what is written.
        link_files: Whether local files become symbolic links.

    Raises:
        SourceError: If an object cannot be read or cannot be a file, or the disk is too small.
        OSError: If the folder cannot be written.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise SourceError(
            f"folder '{folder}' is not empty: remove it, or choose another base folder"
        )
    _check_names(items)
    folder.mkdir(parents=True, exist_ok=True)
    with _removed_on_error(folder):
        _check_space(folder, items, link_files)
        for body in bodies:
            source = body.source
            if not isinstance(source, DataObject):
                raise TypeError(f"no object: {source}")
            meter.begin_object(source.uri)
            path = folder / source.name
            path.parent.mkdir(parents=True, exist_ok=True)
            if link_files and is_file(source):
                path.symlink_to(source.uri)
            else:
                with path.open("xb", buffering=0) as file:
                    for piece in body.pieces:
                        view = memoryview(piece)
                        while view:
                            count = file.write(view)
                            meter.add_bytes(count)
                            view = view[count:]
            meter.end_object()


@contextlib.contextmanager
def _removed_on_error(folder: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _check_names(items: Sequence[Item]) -> None:
    """Makes sure that each object can be a file of its own, within the folder."""
    files: set[str] = set()
    folders: set[str] = set()
    for item in items:
        for entry in item:
            if not isinstance(entry, DataObject | Reference):
                continue
            parts = entry.name.split("/")
            if not all(parts) or {".", ".."} & set(parts) or "\0" in entry.name:
                raise SourceError(
                    f"'{entry.uri}' cannot be a file: '{entry.name}' is no path within a folder; "
                    "mode 'Pipe' can send it"
                )
            above = {str(parent) for parent in PurePosixPath(entry.name).parents} - {"."}
            if entry.name in files or entry.name in folders or above & files:
                raise SourceError(
                    f"'{entry.uri}' cannot be the file '{entry.name}': another object is in its "
                    "way; mode 'Pipe' can send both"
                )
            files.add(entry.name)
            folders |= above


def _check_space(folder: Path, items: Sequence[Item], link_files: bool) -> None:
    needed = sum(
        entry.size
        for item in items
        for entry in item
        if isinstance(entry, DataObject) and not (link_files and is_file(entry))
    )
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise SourceError(
            f"the objects have {needed:,} bytes, and '{folder}' has room for {free:,}; mode 'Pipe' "
            "needs none, and FastFile mode none for local files"
        )
