# SPDX-License-Identifier: Apache-2.0
"""Kinds of files that are told by their first bytes."""

from __future__ import annotations

_IMAGES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF8", "GIF"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
)

# What is not for a channel as it is, with what to do about it.
_OTHERS = (
    (b"\x93NUMPY", "a NumPy array", "'pipemode convert' makes records of it"),
    (b"PK\x03\x04", "a zip or npz archive", "'pipemode convert' makes records of an npz file"),
    (b"PAR1", "a Parquet file", "write it as CSV, of which 'pipemode convert' makes records"),
    (b"\x89HDF\r\n", "an HDF5 file", "write it as npz, of which 'pipemode convert' makes records"),
    (b"BZh", "compressed by bzip2", "decompress it; channels are read with gzip or zlib"),
    (b"\xfd7zXZ\x00", "compressed by xz", "decompress it; channels are read with gzip or zlib"),
    (
        b"\x28\xb5\x2f\xfd",
        "compressed by zstd",
        "decompress it; channels are read with gzip or zlib",
    ),
)


def image_kind(head: bytes) -> str | None:
    """Returns the name of the image format that a file begins like, or ``None``.

    Args:
        head: At least 12 bytes, or the whole file.
    """
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WebP"
    if head.startswith(b"BM") and head[6:10] == bytes(4):
        return "BMP"
    return next((name for magic, name in _IMAGES if head.startswith(magic)), None)


def describe(head: bytes) -> tuple[str, str]:
    """Returns what a file that holds no records seems to be, and what to do about it, if known."""
    image = image_kind(head)
    if image is not None:
        return f"a {image} image", "'pipemode convert' makes records of a folder of images"
    for magic, name, advice in _OTHERS:
        if head.startswith(magic):
            return name, advice
    return "something unknown", ""
