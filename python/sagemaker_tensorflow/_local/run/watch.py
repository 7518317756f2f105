# SPDX-License-Identifier: Apache-2.0
"""Looks after the scripts of a job while they run: who ends, why, and what then."""

from __future__ import annotations

import selectors
import signal
import time

from sagemaker_tensorflow._base.shutdown_signals import StopSignals
from sagemaker_tensorflow._feed.channel_history import History
from sagemaker_tensorflow._local.feed.job_feeders import Feeders
from sagemaker_tensorflow._local.request.job import Job
from sagemaker_tensorflow._local.request.settings import Observer, Settings
from sagemaker_tensorflow._local.script.job_scripts import Scripts
from sagemaker_tensorflow._local.script.script_process import Script, ScriptError

_TICK_SECONDS = 0.1
_OUTPUT_SECONDS = 1.0
_FAILED = 1
_OUT_OF_TIME = 124  # as timeout(1)


class Watch:
    """Looks after the scripts from their start to their end.

    Attributes:
        history: How the channels went.
        seconds: From the start to the end.
        left_behind: How many processes the scripts left running.
        failure: Why the job failed; empty: it did not.
        failed_script: Name of the script that failed of its own accord; empty: none did.
    """

    def __init__(
        self,
        job: Job,
        settings: Settings,
        feeders: Feeders,
        scripts: Scripts,
        observer: Observer,
    ) -> None:
        self.history = History()
        self.seconds = 0.0
        self.left_behind = 0
        self.failure = ""
        self.failed_script = ""
        self._job = job
        self._settings = settings
        self._feeders = feeders
        self._scripts = scripts
        self._observer = observer
        self._own_status: int | None = None  # what ends the job and is not the script
        self._script_status = 0
        self._stopped_by = ""
        self._kill_at: float | None = None
        self._running: dict[str, Script] = {}

    @property
    def status(self) -> int:
        """The job's exit status."""
        return self._script_status if self._own_status is None else self._own_status

    def run(self, signals: StopSignals) -> None:
        """Starts the scripts and returns when all have ended."""
        self.history.add(0.0, self._feeders.rows())
        begun = time.monotonic()
        servers = self._scripts.start_servers()
        self._running = self._scripts.start()
        with selectors.DefaultSelector() as selector:
            selector.register(signals, selectors.EVENT_READ)
            for name, script in self._running.items():
                selector.register(script, selectors.EVENT_READ, name)
            while self._running:
                for key, _ in selector.select(_TICK_SECONDS):
                    if key.data is not None:
                        script = self._running.pop(key.data)
                        selector.unregister(script)
                        self._ended(key.data, script)
                for number in signals.take():
                    self._interrupted(number)
                self.seconds = time.monotonic() - begun
                self._look()
        for server in servers:
            server.close()

    def _ended(self, host: str, script: Script) -> None:
        try:
            end = script.end()
        except ScriptError as error:
            self._own_status = _FAILED
            self._fail(str(error))
            self._stop(signal.SIGTERM)
            return
        # What it has written comes before what we say of it, unless it is not taken.
        self._scripts.finish_output(host, _OUTPUT_SECONDS)
        self.left_behind += end.left_behind
        if end.exit_code == 0 or self._script_status != 0:
            return
        self._script_status = end.status
        where = f" on {host}" if len(self._job.hosts) > 1 else ""
        if self._stopped_by:
            self._fail(f"stopped by {self._stopped_by}")
        elif self._kill_at is None:
            self.failed_script = host
            # The service, too, ends a job when one of its hosts fails.
            self._fail(f"{self._job.program}{where} {end}")
            if self._running:
                self._observer.say(f"{self.failure}; stopping the other hosts")
                self._stop(signal.SIGTERM)

    def _interrupted(self, number: int) -> None:
        if self._kill_at is not None:
            self._observer.say("killing the script")
            self._kill_at = 0.0
            return
        name = signal.Signals(number).name
        again = "; once more kills it" if number == signal.SIGINT else ""
        self._observer.say(
            f"{name}: waiting up to {self._settings.grace_seconds:g} s for the script to end{again}"
        )
        self._stopped_by = name
        self._stop(signal.SIGTERM if number == signal.SIGHUP else number)

    def _look(self) -> None:
        rows = self._feeders.rows()
        self.history.add(self.seconds, rows)
        self._observer.show(self.seconds, rows)
        limit = self._job.max_seconds
        error = self._feeders.error()
        if self._kill_at is not None:
            if time.monotonic() >= self._kill_at:
                for script in self._running.values():
                    script.send(signal.SIGKILL)
        elif not self._running:
            return
        elif error is not None:
            self._own_status = _FAILED
            self._fail(str(error))
            self._observer.say(f"{error}; stopping the script")
            self._stop(signal.SIGTERM)
        elif limit is not None and self.seconds >= limit:
            self._own_status = _OUT_OF_TIME
            self._fail(f"the script ran for more than {limit} s (MaxRuntimeInSeconds)")
            self._observer.say(f"{self.failure}; stopping it")
            self._stop(signal.SIGTERM)

    def _stop(self, number: int) -> None:
        self._kill_at = time.monotonic() + self._settings.grace_seconds
        for script in self._running.values():
            script.send(number)

    def _fail(self, why: str) -> None:
        self.failure = self.failure or why
