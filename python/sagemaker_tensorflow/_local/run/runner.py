# SPDX-License-Identifier: Apache-2.0
"""Runs a job from the first folder to the last: what the service does around a script."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

from sagemaker_tensorflow._base.shutdown_signals import StopSignals
from sagemaker_tensorflow._feed.channel_history import History
from sagemaker_tensorflow._local.feed import reader_errors
from sagemaker_tensorflow._local.feed.job_feeders import Feeders
from sagemaker_tensorflow._local.folders import host_folders, outputs, workspace
from sagemaker_tensorflow._local.folders.host_folders import Layout
from sagemaker_tensorflow._local.folders.workspace import JobFolder
from sagemaker_tensorflow._local.request.job import Job
from sagemaker_tensorflow._local.request.settings import JobError, Observer, Settings
from sagemaker_tensorflow._local.run.watch import Watch
from sagemaker_tensorflow._local.script import opt_ml
from sagemaker_tensorflow._local.script.job_scripts import Scripts, try_opt_ml

_FAILED = 1
# Characters of a failure file, as the service takes them.
_MAX_SAID = 1024


@dataclasses.dataclass(frozen=True)
class Result:
    """How a job ended.

    Attributes:
        status: Exit status: the script's, if nothing else went wrong.
        failure: Why the job failed; ``None``: it did not.
        seconds: From the script's start to its end.
        outputs: Where model and output are.
        base_dir: The job's folder, if it is still there.
        left_behind: How many processes scripts left running; they are killed.
        history: How its channels went.
    """

    status: int
    failure: str | None
    seconds: float
    outputs: list[str]
    base_dir: Path | None
    left_behind: int
    history: History


def check(job: Job, settings: Settings) -> None:
    """Finds out what can be found out before anything is done.

    Raises:
        JobError: If a folder or file that is needed is not there, or not fit for it.
        OutputError: If there is no place for the job's output.
    """
    for path in settings.dependencies:
        if not path.exists():
            raise JobError(f"--dependencies: there is no '{path}'")
    if settings.base_dir is not None:
        workspace.check(settings.base_dir)
    outputs.check(job)


def run(job: Job, settings: Settings, observer: Observer) -> Result:
    """Runs a job.

    Raises:
        JobError: If it could not be begun.
        Interrupted: If a signal came before the script had started, or after it had ended.
        ChannelError: If a channel cannot be fed.
        LayoutError: If its folders cannot be made.
        OutputError: If there is no place for its output.
        ClusterError: If its hosts cannot find each other.
    """
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(StopSignals())
        check(job, settings)
        folder = stack.enter_context(JobFolder(settings.base_dir, job, signals))
        seen = Layout(opt_ml.OPT_ML) if settings.at_opt_ml else None
        layouts = [
            host_folders.create(
                job, host, folder.of_host(host), settings.dependencies, folder.path, seen
            )
            for host in job.hosts
        ]
        if seen:
            try_opt_ml(layouts[0])
        feeders = Feeders(job, layouts, stack, observer)
        scripts = Scripts(job, layouts, seen, folder, observer, stack)
        if settings.install_requirements:
            scripts.install_requirements()
        feeders.start()
        watch = Watch(job, settings, feeders, scripts, observer)
        try:
            with signals.collected():
                watch.run(signals)
            result = _finish(job, layouts, feeders, scripts, watch, folder, observer)
            folder.end_results()
        except BaseException:
            if folder.holds_results:
                observer.say(f"model and output are still in {folder.path}")
            raise
        return result


def _finish(
    job: Job,
    layouts: list[Layout],
    feeders: Feeders,
    scripts: Scripts,
    watch: Watch,
    folder: JobFolder,
    observer: Observer,
) -> Result:
    """Stops the feeders and collects what the scripts have made."""
    scripts.finish_all_output()
    feeders.stop()
    rows = feeders.rows()
    watch.history.add(watch.seconds, rows, last=True)
    observer.show(watch.seconds, rows)
    status, failure = watch.status, watch.failure
    error = feeders.error()
    if error is not None and not failure:  # which shows only now, or came as the script ended
        status, failure = status or _FAILED, str(error)
    places = _places(job, feeders, scripts, watch.failed_script)
    said = [text for text in (folders.failure() for folders in layouts) if text]
    if failure and said:
        failure = f"{failure}; it says: {said[0][:_MAX_SAID].strip()}"
    if failure and places:
        failure = "; ".join([failure, *places])
    _report(layouts, failure, "\n".join(places))
    written: list[str] = []
    try:
        written = outputs.collect(job, layouts, observer.say)
    except outputs.OutputError as error:
        folder.keep()
        observer.say(f"{error}; it is still in {folder.path}")
        status, failure = status or _FAILED, failure or str(error)
    return Result(
        status,
        failure or None,
        watch.seconds,
        written,
        folder.path if folder.kept else None,
        watch.left_behind,
        watch.history,
    )


def _places(job: Job, feeders: Feeders, scripts: Scripts, failed: str) -> list[str]:
    """Returns where in the data set the readers of the script that failed say to have failed."""
    if not failed:
        return []
    names = [channel.name for channel in job.channels]
    errors = reader_errors.last_of_each(scripts.said(failed), scripts.pipe_dirs(), names)
    places = [feeders.locate(host, error) for (host, _), error in errors.items()]
    return [place for place in places if place is not None]


def _report(layouts: Sequence[Layout], failure: str, places: str) -> None:
    for folders in layouts:
        with contextlib.suppress(OSError):  # the script may have done anything to its folders
            if failure:
                folders.report_failure(failure, places)
            else:
                folders.report_success()
