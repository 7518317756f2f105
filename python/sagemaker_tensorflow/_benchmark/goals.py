# SPDX-License-Identifier: Apache-2.0
"""Where it should get, and whether it did."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from sagemaker_tensorflow._benchmark.results import Results

MEMORY_GROWTH_MEBIBYTES = 64


@dataclasses.dataclass(frozen=True)
class Goal:
    """What is to be reached.

    Attributes:
        what: What is measured, for people.
        bound: The goal.
        at_least: Whether the bound is the least allowed, else it is the most.
        unit: Behind the number.
        value: Finds what was reached; ``None`` if that was not measured.
    """

    what: str
    bound: float
    at_least: bool
    unit: str
    value: Callable[[Results], float | None]


# Below that the turns of one run differ by more than the contenders.
_MIN_ROUNDS = 3
_MIN_SECONDS = 0.5


@dataclasses.dataclass(frozen=True)
class Reached:
    """A goal and what was reached.

    Attributes:
        what: What is measured.
        goal: The goal, with its sign and unit.
        value: What was reached, with its unit.
        met: Whether that is good enough.
    """

    what: str
    goal: str
    value: str
    met: bool


def no_verdict(results: Results) -> str | None:
    """Returns why ``results`` tell nothing about the goals; ``None`` if they do."""
    rounds = results.settings.get("rounds", _MIN_ROUNDS)
    seconds = results.settings.get("seconds", _MIN_SECONDS)
    if rounds >= _MIN_ROUNDS and seconds >= _MIN_SECONDS:
        return None
    return (
        f"Too short for a verdict on the goals: {rounds} rounds of {seconds:g} s. Measure "
        f"{_MIN_ROUNDS} rounds of {_MIN_SECONDS:g} s or more, as without --quick."
    )


def busy(results: Results) -> str | None:
    """Returns that the machine did something else as well; ``None`` if it did not."""
    load = float(results.environment.get("load before", 0))
    cores = int(results.environment.get("cores", 1))
    if load <= cores:
        return None
    return f"The machine was busy before this began (load {load:g} on {cores} cores): measure anew."


def reached(results: Results) -> list[Reached]:
    """Returns what became of those goals that ``results`` say something about."""
    found: list[Reached] = []
    if no_verdict(results) is not None:
        return found
    for goal in GOALS:
        value = goal.value(results)
        if value is not None:
            met = value >= goal.bound if goal.at_least else value <= goal.bound
            sign = "≥" if goal.at_least else "≤"
            found.append(
                Reached(
                    goal.what,
                    f"{sign} {goal.bound:g}{goal.unit}",
                    f"{value:.3g}{goal.unit}",
                    met,
                )
            )
    return found


def _ratio(what: str, case: str, name: str, reference: str, bound: float) -> Goal:
    def value(results: Results) -> float | None:
        result = results.throughput(case)
        return result.ratio(name, reference) if result else None

    return Goal(what, bound, True, " x", value)


def _latency(what: str, case: str, quantile: float, bound: float, name: str | None = None) -> Goal:
    """Returns a goal for one thing of ``case``, or for the slowest."""

    def value(results: Results) -> float | None:
        result = results.latency(case)
        samples = result.samples if result else []
        return max(
            (one.quantile(quantile) for one in samples if name in (None, one.name)), default=None
        )

    return Goal(what, bound, False, " ms", value)


def _memory(what: str, case: str, bound: float) -> Goal:
    def value(results: Results) -> float | None:
        result = results.memory(case)
        return max(curve.growth_mebibytes for curve in result.curves) if result else None

    return Goal(what, bound, False, " MiB", value)


GOALS = (
    *(
        _ratio(f"{title} / TFRecordDataset, the same lines", case, name, reference, bound)
        for case, name, reference, bound, title in (
            ("seed-script", "pipe", "file", 6, "map before batch"),
            ("seed-script", "channel", "file", 6, "the same on a channel in File mode"),
            ("seed-script-40", "pipe", "file", 15, "the same with 40 features"),
            ("seed-script", "pipe-exp", "file-exp", 0.98, "the same with exp, record by record"),
        )
    ),
    _ratio("100 B batched / TFRecordDataset(file)", "tfrecord-100b", "batch", "file-batch", 6),
    _ratio("1 KB batched / TFRecordDataset(file)", "tfrecord-1kb", "batch", "file-batch", 4.5),
    *(
        _ratio(f"{title} per record / the same", f"tfrecord-{name}", "record", "file-record", 1.6)
        for name, title in (("100b", "100 B"), ("1kb", "1 KB"))
    ),
    *(
        _ratio(f"{title} batched / bare pipe", f"tfrecord-{name}", "batch", "pipe", 0.8)
        for name, title in (("10kb", "10 KB"), ("100kb", "100 KB"), ("1mb", "1 MB"))
    ),
    *(
        _ratio(
            f"files, {title} batched / TFRecordDataset(files)",
            f"files-{name}",
            "batch",
            "file-batch",
            bound,
        )
        for name, title, bound in (
            ("100b", "100 B", 8),
            ("1kb", "1 KB", 3),
            ("100kb", "100 KB", 1.5),
            ("small", "2,000 of 100 KB", 3),
        )
    ),
    _ratio("gzip batched / TFRecordDataset(file)", "gzip", "batch", "file-batch", 1.7),
    _ratio("gzip batched / igzip -dc", "gzip", "batch", "igzip", 0.85),
    _ratio("parse_example / the same on a file", "parse", "batch", "file-batch", 2),
    _ratio(
        "parse_example of 6 VarLen / tf.io.parse_example",
        "parse-sparse",
        "memory-ours",
        "memory-tf",
        2,
    ),
    _ratio(
        "parse_example of 40 ragged / the same", "parse-ragged", "memory-ours", "memory-tf", 1.5
    ),
    _ratio("20 channels in total / one", "channels", "interleave-20", "interleave-1", 1),
    _latency("rollover, median", "rollover", 0.5, 2),
    _latency("stop while blocked, slowest", "stop", 1.0, 100),
    _latency("import alone, median", "import", 0.5, 50, "alone"),
    _latency("import after TensorFlow, median", "import", 0.5, 30, "on-top"),
    _memory("growth over a long stream", "memory", MEMORY_GROWTH_MEBIBYTES),
)
