# SPDX-License-Identifier: Apache-2.0
"""The benchmark's cases, contenders and goals fit together."""

import re

import pytest
from sagemaker_tensorflow._benchmark import (
    cases,
    contenders,
    goals,
    import_time,
    raw_readers,
    rollover,
    stop,
)
from sagemaker_tensorflow._benchmark.cases import CASES, Settings, ThroughputCase
from sagemaker_tensorflow._benchmark.results import (
    Entry,
    LatencyResult,
    MemoryCurve,
    MemoryResult,
    Results,
    Samples,
    ThroughputResult,
    Turn,
)

THROUGHPUT = [case for case in CASES if isinstance(case, ThroughputCase)]
SAMPLES = {"rollover": rollover.LABELS, "stop": stop.WAYS, "import": import_time.LABELS}


def test_names_are_unique():
    assert len({case.name for case in CASES}) == len(CASES)
    assert len({case.title for case in CASES}) == len(CASES)


@pytest.mark.parametrize("case", THROUGHPUT, ids=lambda case: case.name)
def test_contenders_exist(case):
    names = [contender.name for contender in case.contenders]
    assert len(set(names)) == len(names)
    channels = [channel for one in case.contenders for channel in one.channel_names()]
    assert len(set(channels)) == len(channels)
    for contender in case.contenders:
        assert contender.source in contenders.SOURCES.keys() | raw_readers.SOURCES.keys()
        assert contender.pipeline in contenders.PIPELINES
        assert contender.consumer in contenders.CONSUMERS
        assert contender.reference is None or contender.reference in names
        for channel in contender.channel_names():
            assert re.fullmatch(r"[A-Za-z0-9.\-_]{1,64}", channel)


def empty_result(case):
    """A result that has all parts that a run would give it, but says nothing."""
    if isinstance(case, ThroughputCase):
        turns = [Turn(1.0, 10, 1000, 0.5, 0.5)]
        entries = [Entry(c.name, c.label, c.reference, turns) for c in case.contenders]
        return ThroughputResult(case.name, case.title, case.batch_size, 100.0, 1.0, entries)
    if isinstance(case, cases.MemoryCase):
        curves = [MemoryCurve(one.name, one.title, 1.0, [1.0], [2.0]) for one in case.streams]
        return MemoryResult(case.name, case.title, curves)
    samples = [Samples(name, name, [1.0]) for name in SAMPLES[case.name]]
    return LatencyResult(case.name, case.title, samples)


def test_goals_are_for_what_is_measured():
    results = Results({}, {}, [empty_result(case) for case in CASES])
    assert [goal.what for goal in goals.reached(results)] == [goal.what for goal in goals.GOALS]


@pytest.mark.parametrize("settings", [Settings(), cases.QUICK], ids=["default", "quick"])
def test_enough_for_medians(settings):
    assert settings.rounds >= 2
    assert settings.rollovers >= 20


def test_a_quick_run_has_a_case_of_each_kind():
    known = {case.name: case for case in CASES}
    kinds = {type(known[name]) for name in cases.QUICK_CASES}
    assert kinds == {cases.ThroughputCase, cases.LatencyCase}
