# SPDX-License-Identifier: Apache-2.0
"""``pipemode build-op``: compiles the op library that the package does not carry."""

from __future__ import annotations

from typing import Annotated

import typer

_DEFAULT_JOBS = 2


def build_op(
    jobs: Annotated[
        int,
        typer.Option(
            "--jobs", "-j", min=1, help="Compilers at once, about 0.75 GB of memory each."
        ),
    ] = _DEFAULT_JOBS,
) -> None:
    """Build the op library for the installed TensorFlow, into your cache.

    Needs a C++ compiler, CMake, make or Ninja, and ISA-L with its headers; says what is missing.
    The cache is in $XDG_CACHE_HOME, or else in ~/.cache.
    """
    import os

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from sagemaker_tensorflow._op import op_build, tensorflow_build
    from sagemaker_tensorflow.exceptions import OpLibraryError

    try:
        tensorflow = tensorflow_build.current()
        typer.echo(f"Building the op library for TensorFlow {tensorflow.version}", err=True)
        path = op_build.build(tensorflow, jobs)
    except OpLibraryError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from None
    typer.echo(path)
