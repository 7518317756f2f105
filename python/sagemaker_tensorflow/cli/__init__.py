# SPDX-License-Identifier: Apache-2.0
"""The command ``pipemode``, also ``python -m sagemaker_tensorflow``.

One module a command. Each imports what it works with only when it runs: ``pipemode --help`` must
not load TensorFlow.
"""

from __future__ import annotations

from typing import Annotated

import typer

import sagemaker_tensorflow
from sagemaker_tensorflow.cli.bench import bench
from sagemaker_tensorflow.cli.build_op import build_op
from sagemaker_tensorflow.cli.convert import convert
from sagemaker_tensorflow.cli.doctor import doctor
from sagemaker_tensorflow.cli.inspect import inspect
from sagemaker_tensorflow.cli.run import run

app = typer.Typer(
    name="pipemode",
    help="Streaming datasets for SageMaker Pipe mode.",
    no_args_is_help=True,
    # Rich's tracebacks print local variables, which may hold credentials and records.
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sagemaker_tensorflow {sagemaker_tensorflow.__version__}")
        raise typer.Exit


@app.callback()
def _common(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass


app.command()(bench)
app.command()(build_op)
app.command()(convert)
app.command()(doctor)
app.command()(inspect)
app.command()(run)


def main() -> None:
    """Runs the command line and exits with its status."""
    app()
