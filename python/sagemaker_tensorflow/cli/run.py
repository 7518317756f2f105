# SPDX-License-Identifier: Apache-2.0
"""``pipemode run``: runs a training script as the service does, on this machine."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, cast

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console

    from sagemaker_tensorflow._local.request.command_line import Options
    from sagemaker_tensorflow._local.request.job import Job
    from sagemaker_tensorflow._local.request.request import Request
    from sagemaker_tensorflow._local.request.settings import Settings
    from sagemaker_tensorflow._local.run.runner import Result

# What tables need; a console that is no terminal has 80 columns.
_COLUMNS = 120
_USAGE_ERROR = 2


def run(
    script: Annotated[
        Path | None,
        typer.Argument(
            help="Training script, in --source-dir if that is given.", show_default=False
        ),
    ] = None,
    channel: Annotated[
        list[str] | None,
        typer.Option(
            "--channel",
            "-c",
            metavar="NAME=URI[,KEY=VALUE...]",
            help="A channel, from a file, folder, glob or s3://bucket/prefix; may be repeated. "
            "Keys: mode=Pipe|File|FastFile, type=S3Prefix|ManifestFile|AugmentedManifestFile, "
            "attributes=A,B, compression=Gzip, wrapper=RecordIO, shuffle-seed=N, "
            "distribution=FullyReplicated|ShardedByS3Key, content-type=TEXT.",
        ),
    ] = None,
    hyperparameter: Annotated[
        list[str] | None,
        typer.Option(
            "--hyperparameter",
            "-p",
            metavar="NAME=VALUE",
            help="An argument --NAME VALUE of the script; may be repeated.",
        ),
    ] = None,
    env: Annotated[
        list[str] | None,
        typer.Option("--env", "-e", metavar="NAME=VALUE", help="A variable; may be repeated."),
    ] = None,
    request: Annotated[
        Path | None,
        typer.Option(
            "--request",
            "-r",
            dir_okay=False,
            help="A CreateTrainingJob request (JSON); other options change it.",
        ),
    ] = None,
    source_dir: Annotated[
        Path | None,
        typer.Option(help="Folder that is copied for the script, and that the script is in."),
    ] = None,
    dependencies: Annotated[
        list[Path] | None,
        typer.Option(
            "--dependencies", metavar="PATH", help="Put beside the script; may be repeated."
        ),
    ] = None,
    requirements: Annotated[
        bool,
        typer.Option(
            "--requirements",
            help="Have pip install requirements.txt of the sources, into this Python.",
        ),
    ] = False,
    instance_count: Annotated[
        int | None, typer.Option(min=1, help="Hosts: processes, each with folders of its own.")
    ] = None,
    output_path: Annotated[
        str | None,
        typer.Option(
            metavar="URI",
            help="Model and output go to URI/JOB-NAME/output.",
            show_default="the current folder",
        ),
    ] = None,
    base_dir: Annotated[
        Path | None,
        typer.Option(
            file_okay=False,
            help="Empty or new folder in place of /opt/ml, kept.",
            show_default="a temporary one",
        ),
    ] = None,
    opt_ml: Annotated[
        bool,
        typer.Option(
            "--opt-ml",
            help="Show the script its folder as /opt/ml, for scripts with that path in them. Takes "
            "root, or a system that allows user namespaces.",
        ),
    ] = False,
    max_run: Annotated[
        int | None, typer.Option(min=1, metavar="SECONDS", help="How long the script may run.")
    ] = None,
    grace: Annotated[
        float,
        typer.Option(
            min=0, metavar="SECONDS", help="How long the script may take to end when it is told to."
        ),
    ] = 30.0,
    job_name: Annotated[str | None, typer.Option(show_default="from script and time")] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Write a page about the job into this HTML file.", dir_okay=False),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the plan, and to stdout the request; run nothing."),
    ] = False,
) -> None:
    """Run a training script as a SageMaker training job, with channels as FIFOs.

    The script is found, started, fed and cleaned up after as in the service: folders and files,
    SM_* variables, hyperparameters as arguments, model.tar.gz. Its exit status is the command's;
    124 if it ran too long.
    """
    from rich.console import Console

    from sagemaker_tensorflow._local.request import command_line
    from sagemaker_tensorflow._local.request.settings import Settings
    from sagemaker_tensorflow._local.show.lasting_stderr import LastingStream

    console = Console(file=cast("IO[str]", LastingStream(sys.stderr)))
    if not console.is_terminal:
        console.width = _COLUMNS
    said = command_line.Options(
        script=script,
        channels=channel or (),
        hyperparameters=hyperparameter or (),
        environment=env or (),
        instance_count=instance_count,
        source_dir=source_dir,
        output_path=output_path,
        max_run=max_run,
        job_name=job_name,
    )
    settings = Settings(
        base_dir=base_dir,
        dependencies=tuple(dependencies or ()),
        install_requirements=requirements,
        grace_seconds=grace,
        at_opt_ml=opt_ml,
    )
    asked, job = _job(said, request)
    with _errors_said():
        if dry_run:
            _print_plan(job, asked, settings, report, console)
            return
        result = _run(job, settings, report)
    _print_result(job, result, console)
    if report is not None:
        from sagemaker_tensorflow._local.show import html_report as reports

        try:
            reports.write(report, job, asked, result)
        except OSError as error:
            raise _failure(f"cannot write the report: {error}", result.status or 1) from None
        console.print(f"report: {report}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(result.status)


def _job(said: Options, path: Path | None) -> tuple[Request, Job]:
    from sagemaker_tensorflow._local.request import command_line
    from sagemaker_tensorflow._local.request import job as jobs
    from sagemaker_tensorflow._local.request import request as requests

    if path is None and said.script is None:
        raise _failure("name a SCRIPT, or --request FILE; see pipemode run --help", _USAGE_ERROR)
    try:
        given = None if path is None else requests.load(path)
        folder = Path.cwd() if path is None else path.absolute().parent
        request = command_line.apply(said, given)
        return request, jobs.from_request(request, folder)
    except requests.RequestError as error:
        raise _failure("\n       ".join(error.problems), _USAGE_ERROR) from None


@contextlib.contextmanager
def _errors_said() -> Iterator[None]:
    from sagemaker_tensorflow._base.shutdown_signals import Interrupted
    from sagemaker_tensorflow._feed.channel import ChannelError
    from sagemaker_tensorflow._local.folders import host_folders, outputs
    from sagemaker_tensorflow._local.request.settings import JobError
    from sagemaker_tensorflow._local.script import cluster
    from sagemaker_tensorflow._local.script.script_process import ScriptError
    from sagemaker_tensorflow._local.show import html_report as reports

    try:
        yield
    except Interrupted as error:
        raise _failure(f"interrupted by {error.signal_name}", int(str(error.code))) from None
    except (
        ChannelError,
        ScriptError,
        cluster.ClusterError,
        host_folders.LayoutError,
        outputs.OutputError,
        reports.ReportError,
        JobError,
    ) as error:
        raise _failure(str(error)) from None


def _run(job: Job, settings: Settings, report: Path | None) -> Result:
    from sagemaker_tensorflow._local.run import runner
    from sagemaker_tensorflow._local.show import display
    from sagemaker_tensorflow._local.show import html_report as reports

    if report is not None:
        reports.check(report)
    with display.create(job.name) as shown:
        for text in job.ignored:
            shown.say(f"nothing is done with {text}")
        return runner.run(job, settings, shown)


def _print_plan(
    job: Job, request: Request, settings: Settings, report: Path | None, console: Console
) -> None:
    import json

    from sagemaker_tensorflow._local.run import runner
    from sagemaker_tensorflow._local.show import html_report as reports
    from sagemaker_tensorflow._local.show import plan

    if report is not None:
        reports.check(report)
    runner.check(job, settings)
    for line in list(plan.lines(job, settings)):  # all of it, or what is wrong
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    typer.echo(json.dumps(request, indent=2))


def _print_result(job: Job, result: Result, console: Console) -> None:
    from sagemaker_tensorflow._local.show import wording

    rows = result.history.totals
    if rows:
        console.print(wording.summary(rows))

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    if result.failure is None:
        for text in wording.remarks(rows):
            say(text)
    if result.left_behind:
        say(f"killed what the script had left running; processes: {result.left_behind}")
    for path in result.outputs:
        say(f"wrote {path}")
    if result.base_dir is not None:
        say(f"the job's folder is {result.base_dir}")
    time = wording.duration(result.seconds)
    if result.failure is None:
        say(f"{job.name}: completed in {time}")
    else:
        say(f"{job.name}: failed after {time}: {result.failure}")


def _failure(message: str, status: int = 1) -> typer.Exit:
    from sagemaker_tensorflow._local.show.lasting_stderr import LastingStream

    print(f"error: {message}", file=LastingStream(sys.stderr), flush=True)
    return typer.Exit(status)
