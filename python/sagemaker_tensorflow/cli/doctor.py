# SPDX-License-Identifier: Apache-2.0
"""``pipemode doctor``: what a bug report should contain."""

from __future__ import annotations

from typing import Annotated, Any

import typer


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show versions, the op library chosen and why, oneDNN, pipes and channels, for bug reports.

    Ends with status 1 if PipeModeDataset cannot work here.
    """
    import json
    import os

    # What TensorFlow logs while it is imported says nothing that is not in the report.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from sagemaker_tensorflow.cli import diagnosis

    report = diagnosis.examine()
    if as_json:
        typer.echo(json.dumps(report, indent=2))
    else:
        for title, section in report.items():
            typer.echo(title)
            _print(section, indent=2)
    if not report["op library"]["usable"]:
        raise typer.Exit(1)


def _print(section: dict[str, Any], indent: int) -> None:
    width = max((len(key) for key in section), default=0)
    for key, value in section.items():
        if isinstance(value, dict):
            typer.echo(f"{'':{indent}}{key}")
            _print(value, indent + 2)
        else:
            typer.echo(f"{'':{indent}}{key:<{width}}  {_as_text(value)}")


def _as_text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "none"
    return str(value)
