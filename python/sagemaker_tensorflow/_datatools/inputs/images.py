# SPDX-License-Identifier: Apache-2.0
"""Folders of images, a folder for each class: the files' own bytes become Examples."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from sagemaker_tensorflow._datatools.batch import Batch, joined
from sagemaker_tensorflow._datatools.inputs.source import BATCH_BYTES, InputError
from sagemaker_tensorflow._datatools.read_progress import OnRead
from sagemaker_tensorflow._formats import magic
from sagemaker_tensorflow._native import encode_examples

_MAX_IMAGES = 1 << 12
_HEAD_BYTES = 16
_MAX_LISTED = 20


class ImageSource:
    """The images below one folder.

    Each becomes an Example with ``image`` (the file as it is), ``label`` (the number of its class)
    and ``filename`` (relative to the folder). Files that hold no image are left away, and so is
    whatever is hidden.

    Args:
        folder: Holds a folder for each class.
        labels: A text file with the name of one class a line, which numbers them from 0 on.
            Default: all folders, sorted.

    Raises:
        InputError: If there is no image in any class.
    """

    def __init__(self, folder: Path, labels: Path | None = None) -> None:
        self._folder = folder
        self._classes = _read_labels(labels) if labels else None
        self._files: list[tuple[int, Path]] = []
        self._skipped: list[Path] = []
        self._bytes = 0
        self._collect(labels)

    @property
    def total_bytes(self) -> int | None:
        """Of all images."""
        return self._bytes

    def remarks(self) -> list[str]:
        """Tells which number is which class, and what was left away."""
        classes = self._classes or []
        shown = ", ".join(f"{n} {name}" for n, name in enumerate(classes[:_MAX_LISTED]))
        result = [f"labels: {shown}" + (", …" if len(classes) > _MAX_LISTED else "")]
        if self._skipped:
            result.append(
                f"{len(self._skipped):,} files hold no image and were left away, "
                f"'{self._skipped[0]}' the first of them"
            )
        return result

    def batches(self, on_read: OnRead) -> Iterator[Batch]:
        """Yields the images of one class after the other."""
        read = 0
        pending: list[tuple[int, Path, bytes]] = []
        size = 0
        for count, (label, path) in enumerate(self._files, 1):
            data = path.read_bytes()
            pending.append((label, path, data))
            size += len(data)
            if size >= BATCH_BYTES or len(pending) == _MAX_IMAGES:
                yield self._batch(pending)
                read += size
                on_read(str(self._folder), read, count)
                pending, size = [], 0
        if pending:
            yield self._batch(pending)

    def _collect(self, labels: Path | None) -> None:
        paths = sorted(path for path in self._folder.iterdir() if not path.name.startswith("."))
        folders = [path for path in paths if path.is_dir()]
        loose = next(filter(_is_image, paths), None)
        if loose is not None:
            raise InputError(f"'{loose}' is in no class: put it into a folder named after one")
        if self._classes is None:
            self._classes = [path.name for path in folders if _has_image(path)]
        numbers = {name: number for number, name in enumerate(self._classes)}
        for folder in folders:
            for path in _below(folder):
                if not _is_image(path):
                    self._skipped.append(path)
                    continue
                if folder.name not in numbers:
                    raise InputError(f"'{labels}' does not name the class '{folder.name}'")
                self._files.append((numbers[folder.name], path))
                self._bytes += path.stat().st_size
        if not self._files:
            raise InputError(
                f"no image in '{self._folder}': it has to hold a folder for each class with JPEG, "
                "PNG, GIF, BMP, TIFF or WebP files"
            )

    def _batch(self, images: Sequence[tuple[int, Path, bytes]]) -> Batch:
        splits = np.arange(len(images) + 1, dtype=np.int64)
        names = [os.fsencode(path.relative_to(self._folder)) for _, path, _ in images]
        labels = np.array([label for label, _, _ in images], dtype=np.int64)
        return Batch.of_offsets(
            *encode_examples(
                [
                    ("image", *joined([data for _, _, data in images]), splits),
                    ("label", labels, None, splits),
                    ("filename", *joined(names), splits),
                ]
            )
        )


def _below(folder: Path) -> list[Path]:
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if not name.startswith(".")]
    return sorted(found)


def _has_image(folder: Path) -> bool:
    return any(map(_is_image, _below(folder)))


def _is_image(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return magic.image_kind(file.read(_HEAD_BYTES)) is not None


def _read_labels(path: Path) -> list[str]:
    names = path.read_text(encoding="utf-8").split("\n")
    names = [name.strip() for name in names if name.strip()]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise InputError(f"'{path}' names the class '{min(twice)}' twice")
    return names
