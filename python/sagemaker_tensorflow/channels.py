# SPDX-License-Identifier: Apache-2.0
"""``channel_dataset``: the records of a channel, whichever input mode the job gives it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sagemaker_tensorflow import _config, _paths
from sagemaker_tensorflow._folder_feeder import FolderFeeder, Framing, Treatment, has_gzip_header
from sagemaker_tensorflow._tf import tf
from sagemaker_tensorflow.exceptions import PipeModeDatasetException
from sagemaker_tensorflow.pipemode import PipeModeDataset
from sagemaker_tensorflow.records import PipeError, RecordReader

__all__ = ["channel_dataset"]

_RECORDIO_MAGIC = b"\x0a\x23\xd7\xce"

_feeders_of_graphs: list[FolderFeeder] = []


def channel_dataset(
    channel: str,
    record_format: str = "RecordIO",
    *,
    compression_type: str | None = None,
    pipe_dir: str | os.PathLike[str] | None = None,
    config_dir: str | os.PathLike[str] | None = None,
    state_dir: str | os.PathLike[str] | None = None,
    **options: Any,
) -> PipeModeDataset:
    """Returns the records of a channel in Pipe, File or FastFile mode: one script for all.

    In Pipe mode that is ``PipeModeDataset(channel, ...)``. In File and FastFile mode the files
    below ``<pipe_dir>/<channel>`` are read, in the order of their names as S3 lists them, one after
    the other as a FIFO would carry them: by the same op, so with the same records and errors, and
    all that a ``PipeModeDataset`` can do. There each iterator reads the whole folder, and there are
    as many epochs as are asked for.

    Args:
        channel: Name of the channel.
        record_format: ``'RecordIO'``, ``'TFRecord'`` or ``'TextLine'``, in any case.
        compression_type: ``'GZIP'`` or ``'ZLIB'``, in any case, if all data is compressed; ``''``
            if none is. ``None``: none in Pipe mode; in the other modes files that begin as gzip
            does are decompressed, others not.
        pipe_dir: Folder of the FIFOs and of the channels' folders; see ``PipeModeDataset``.
        config_dir: Folder of ``inputdataconfig.json``; see there.
        state_dir: See there. Without effect in the other modes, which keep no state.
        **options: All else that ``PipeModeDataset`` takes.

    Returns:
        A dataset of ``tf.string`` scalars. In File and FastFile mode threads of this process read
        the files while the dataset lives, or, if it is made in a ``tf.function`` or another graph,
        while the process does; so it cannot be sent to the workers of the ``tf.data`` service. The
        list of files is that of this call.

    Raises:
        PipeModeDatasetException: As ``PipeModeDataset``; or the channel has no folder, or one that
            cannot be read or has links in a circle or to nothing, has an unknown input mode, or is
            no ``str``.
        TypeError: If an option is unknown.
    """
    config = _config.load_input_data_config(_paths.config_dir(config_dir))
    mode = _config.input_mode(config, channel)
    if mode == "pipe":
        return PipeModeDataset(
            channel,
            record_format,
            compression_type=compression_type,
            pipe_dir=pipe_dir,
            config_dir=config_dir,
            state_dir=state_dir,
            **options,
        )
    settings = config[channel]
    data_dir = _paths.pipe_dir(pipe_dir)
    files = _files(Path(data_dir) / channel, channel, settings)
    treatment: Treatment = "as they are"
    if _service_would_wrap(settings, record_format, files):
        treatment = "wrapped"
    elif compression_type is None:
        contents = {_is_gzip(path, record_format) for path in files if path.stat().st_size > 0}
        if contents == {True}:
            compression_type = "GZIP"
        elif True in contents:
            treatment = "inflated"
    # Here the order is the same in every epoch.
    settings = {name: value for name, value in settings.items() if name != "ShuffleConfig"}
    framing = _framing(record_format, compression_type)
    feeder = FolderFeeder(channel, settings, files, treatment, framing)
    if not tf.executing_eagerly():
        # The graph makes datasets whenever it is run, long after this one is gone.
        _feeders_of_graphs.append(feeder)
    return PipeModeDataset(
        channel,
        record_format,
        compression_type=compression_type,
        pipe_dir=feeder.folder,
        config_dir=feeder.folder,
        state_dir=feeder.folder / "state",
        **options,
    )._fed_by(feeder, data_dir)


def _files(folder: Path, channel: str, settings: dict[str, Any]) -> list[Path]:
    """Returns all files below ``folder`` in the order of S3 keys: that of their bytes."""
    if not folder.is_dir():
        raise PipeModeDatasetException(
            f"channel '{channel}' has TrainingInputMode {settings['TrainingInputMode']!r}, but "
            f"there is no folder '{folder}'; pass the pipe_dir that has it, or set "
            "SAGEMAKER_BASE_DIR"
        )
    try:
        files = list(_walk(folder, ()))
    except OSError as error:
        raise PipeModeDatasetException(
            f"channel '{channel}': cannot read '{error.filename}': {error.strerror}"
        ) from error
    return sorted(files, key=lambda path: os.fsencode(path.relative_to(folder)))


def _walk(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    """Yields the files below ``folder``, links followed; none is left out without a word."""
    status = folder.stat()
    if any(os.path.samestat(status, each.stat()) for each in above):
        raise PipeModeDatasetException(f"'{folder}' is a link to a folder that it is in")
    for path in folder.iterdir():
        if path.is_dir():
            yield from _walk(path, (*above, folder))
        elif path.is_file():
            yield path
        else:
            path.stat()  # which fails for a link to nothing


def _is_gzip(path: Path, record_format: str) -> bool:
    if not has_gzip_header(path):
        return False
    if record_format.lower() != "tfrecord":
        return True
    # The length of a first record may look like it. Then its checksum is right.
    try:
        return RecordReader(path, record_format).skip(1) == 0
    except PipeError:
        return True


def _framing(record_format: str, compression_type: str | None) -> Framing:
    if not compression_type and record_format.lower() == "textline":
        return "none"
    if not compression_type and record_format.lower() == "recordio":
        return "words"
    return "bytes"


def _service_would_wrap(settings: dict[str, Any], record_format: str, files: list[Path]) -> bool:
    """Returns whether in Pipe mode each object would come as one RecordIO record."""
    if str(settings.get("RecordWrapperType", "")).lower() != "recordio":
        return False
    if record_format.lower() != "recordio":
        return False

    def is_recordio(path: Path) -> bool:
        with path.open("rb") as file:
            return file.read(4) == _RECORDIO_MAGIC or has_gzip_header(path)

    return not any(is_recordio(path) for path in files)
