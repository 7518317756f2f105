# SPDX-License-Identifier: Apache-2.0
"""TFRecord, RecordIO and text: records stay what they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sagemaker_tensorflow._datatools.batch import Batch
from sagemaker_tensorflow._datatools.inputs.source import BATCH_BYTES, InputError
from sagemaker_tensorflow._datatools.named_objects import DataObject
from sagemaker_tensorflow._datatools.opened import BATCH_RECORDS, Opened
from sagemaker_tensorflow._datatools.read_progress import OnRead
from sagemaker_tensorflow._formats import magic
from sagemaker_tensorflow._native import PipeError


class RecordSource:
    """The records of objects, which may even be encoded differently.

    Args:
        objects: Those objects.
        recordio_parts: As for ``RecordReader``.
    """

    def __init__(self, objects: Sequence[DataObject], recordio_parts: str) -> None:
        self._objects = objects
        self._recordio_parts = recordio_parts

    @property
    def total_bytes(self) -> int | None:
        """Of all objects."""
        sizes = [data.size for data in self._objects]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def batches(self, on_read: OnRead) -> Iterator[Batch]:
        """Yields the records of one object after the other."""
        records = 0
        for data in self._objects:
            with Opened(data, recordio_parts=self._recordio_parts) as opened:
                if not opened.head:
                    continue
                self._check(data, opened)
                reader = opened.reader()
                try:
                    while len(
                        batch := Batch.of_offsets(*reader.read_batch(BATCH_RECORDS, BATCH_BYTES))
                    ):
                        records += len(batch)
                        on_read(data.name, reader.bytes_read, records)
                        yield batch
                except PipeError:
                    opened.raise_source_error()  # the one behind the other
                    raise
                opened.raise_source_error()

    def remarks(self) -> list[str]:
        """Nothing is changed, so there is nothing to say."""
        return []

    def _check(self, data: DataObject, opened: Opened) -> None:
        if opened.encoding.record_format is not None:
            return
        if opened.encoding.compression is not None and not opened.content:
            # Nothing in it, which is fine, or damaged, which the reader says.
            opened.assume("TextLine")
            return
        what, advice = magic.describe(opened.content)
        raise InputError(
            f"'{data.name}' holds neither TFRecord, RecordIO nor text, but {what}"
            + (f": {advice}" if advice else "")
        )
