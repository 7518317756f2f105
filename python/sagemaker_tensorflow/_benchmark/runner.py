# SPDX-License-Identifier: Apache-2.0
"""Measures cases one after the other."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

from sagemaker_tensorflow._benchmark import import_time, memory, rollover, stop, throughput
from sagemaker_tensorflow._benchmark.cases import Case, MemoryCase, Settings, ThroughputCase
from sagemaker_tensorflow._benchmark.results import Result

_STEPS = {"rollover": rollover.steps, "stop": stop.steps, "import": import_time.steps}
_MEASURE = {"rollover": rollover.measure, "stop": stop.measure, "import": import_time.measure}


def steps(case: Case, settings: Settings) -> int:
    """Returns how often ``run`` says of ``case`` that it goes on."""
    if isinstance(case, ThroughputCase):
        return throughput.steps(case, settings)
    if isinstance(case, MemoryCase):
        return memory.steps(case)
    return _STEPS[case.name](settings)


def run(
    cases: Sequence[Case], settings: Settings, on_step: Callable[[Case, str], None]
) -> Iterator[Result]:
    """Measures ``cases`` and yields their results.

    Args:
        cases: What to measure.
        settings: How long.
        on_step: Is called with the case and what of it is done next.

    Raises:
        RemoteError: If what is measured fails; the message says why.
    """
    for case in cases:
        yield _measure(case, settings, functools.partial(on_step, case))


def missing_programs(cases: Sequence[Case]) -> list[str]:
    """Returns programs that are not installed, without which contenders are left out."""
    missing = {
        contender.program
        for case in cases
        if isinstance(case, ThroughputCase)
        for contender in set(case.contenders) - set(throughput.contenders(case))
    }
    return sorted(program for program in missing if program)


def _measure(case: Case, settings: Settings, on_step: Callable[[str], None]) -> Result:
    if isinstance(case, ThroughputCase):
        return throughput.measure(case, settings, on_step)
    if isinstance(case, MemoryCase):
        return memory.measure(case, settings, on_step)
    return _MEASURE[case.name](case, settings, on_step)
