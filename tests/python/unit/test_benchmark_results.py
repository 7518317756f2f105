# SPDX-License-Identifier: Apache-2.0
"""Results of the benchmark: as JSON, as tables, in documents."""

import dataclasses
import json

import pytest
from sagemaker_tensorflow._benchmark import document, goals, results_json, tables
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

ENVIRONMENT = {
    "date": "2030-01-02T03:04:05+00:00",
    "processor": "A processor",
    "cores": "2",
    "kernel": "6.1",
    "python": "3.11",
    "tensorflow": "2.21",
}


def turns(*megabytes_per_second):
    """Turns of 100 MB in records of 1 KB."""
    return [Turn(100 / rate, 100_000, 100_000_000, 0.05, 0.01) for rate in megabytes_per_second]


@pytest.fixture
def results():
    entries = [
        Entry("batch", "ours", "file-batch", turns(3000, 1000, 2000)),
        # Slow in the same rounds.
        Entry("file-batch", "theirs", None, turns(600, 200, 500)),
        Entry("pipe", "bare pipe", None, turns(4000, 4000, 4000)),
    ]
    times = [float(number) for number in range(100, 0, -1)]
    curve = MemoryCurve("long", "a long stream", 300.0, [0.5, 1.0, 1.5], [310.0, 350.5, 320.0])
    cases = [
        ThroughputResult("tfrecord-1kb", "TFRecord of 1 KB", 1024, 1016.0, 1.0, entries),
        LatencyResult("rollover", "Rollover", [Samples("repeat", "repeat()", times)]),
        MemoryResult("memory", "Memory", [curve]),
    ]
    return Results(ENVIRONMENT, {"rounds": 3, "seconds": 1.0}, cases)


def test_a_quick_run_gives_no_verdicts(results):
    assert goals.no_verdict(results) is None
    assert goals.reached(results)
    for settings in ({"rounds": 2, "seconds": 1.0}, {"rounds": 5, "seconds": 0.1}):
        quick = dataclasses.replace(results, settings=settings)
        assert "Too short" in goals.no_verdict(quick)
        assert goals.reached(quick) == []
        assert json.loads(results_json.dump(quick))["goals"] == []


@pytest.mark.parametrize(("load", "is_busy"), [("0.68", False), ("2.00", False), ("2.01", True)])
def test_a_busy_machine_is_said(results, load, is_busy):
    where = {**ENVIRONMENT, "load before": load, "vector extensions": "AVX2, SSE4.2"}
    measured = dataclasses.replace(results, environment=where)
    assert bool(goals.busy(measured)) is is_busy
    text = document.update("<!-- begin environment -->\n<!-- end environment -->\n", measured)
    assert "A processor, AVX2, SSE4.2, 2 cores" in text
    assert ("busy" in text) is is_busy


def test_rates(results):
    (ours, _, pipe) = results.throughput("tfrecord-1kb").entries
    assert [turn.megabytes_per_second for turn in pipe.turns] == [4000] * 3
    assert ours.median(lambda turn: turn.megabytes_per_second) == 2000
    assert ours.median(lambda turn: turn.records_per_second) == 2e6
    assert ours.median(lambda turn: turn.cpu_seconds_per_gigabyte) == 0.5
    assert ours.median(lambda turn: turn.writer_cpu_seconds_per_gigabyte) == 0.1


def test_ratios_are_those_within_a_round(results):
    case = results.throughput("tfrecord-1kb")
    assert case.ratio("batch", "file-batch") == pytest.approx(5)  # of 5, 5, 4
    assert case.ratio("batch", "pipe") == pytest.approx(0.5)
    assert case.ratio("batch", None) is None
    assert case.ratio("batch", "igzip") is None


def test_quantiles(results):
    (samples,) = results.latency("rollover").samples
    assert [samples.quantile(q) for q in (0.5, 0.9, 0.99, 1.0)] == [50, 90, 99, 100]
    assert Samples("one", "", [7.0]).quantile(0.5) == 7


def test_memory(results):
    (curve,) = results.memory("memory").curves
    assert curve.growth_mebibytes == 50.5


def test_what_was_not_measured(results):
    assert results.throughput("gzip") is None
    assert results.throughput("memory") is None
    assert results.latency("stop") is None


def test_json_keeps_everything(results, tmp_path):
    path = tmp_path / "results.json"
    path.write_text(results_json.dump(results))
    loaded = results_json.load(path)
    assert results_json.dump(loaded) == path.read_text()
    assert loaded.environment == ENVIRONMENT
    assert loaded.settings == results.settings
    assert loaded.latency("rollover") == results.latency("rollover")
    assert loaded.memory("memory") == results.memory("memory")
    for case in (results, loaded):
        assert case.throughput("tfrecord-1kb").ratio("batch", "file-batch") == pytest.approx(5)


def test_json_has_the_goals(results):
    data = json.loads(results_json.dump(results))
    reached = {goal["what"]: goal for goal in data["goals"]}
    assert reached["1 KB batched / TFRecordDataset(file)"] == {
        "what": "1 KB batched / TFRecordDataset(file)",
        "goal": "≥ 4.5 x",
        "value": "5 x",
        "met": True,
    }
    assert not reached["rollover, median"]["met"]
    assert reached["growth over a long stream"]["value"] == "50.5 MiB"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "No such file"),
        (b"\xff", "does not hold results of pipemode bench"),
        (b"{", "does not hold results of pipemode bench"),
        (b"[]", "does not hold results of pipemode bench"),
        (b"{}", "does not hold results of pipemode bench: 'version'"),
        (b'{"version": 0}', "they are of version 0, this is version 1: measure again"),
        (b'{"version": 1, "cases": [{"kind": "other"}]}', "does not hold results"),
        (b'{"version": 1, "cases": [{"kind": "latency", "samples": []}]}', "does not hold results"),
    ],
)
def test_what_is_not_results(tmp_path, content, message):
    path = tmp_path / "results.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(results_json.ResultsError, match=message):
        results_json.load(path)


def test_tables(results):
    throughput, latency, memory = map(tables.of_case, results.cases)
    assert dict(zip(throughput.headings, throughput.rows[0], strict=True)) == {
        "": "ours",
        "records/s": "2 M",
        "MB/s": "2,000",
        "min-max": "1,000-3,000",
        "x reference": "5",
        "x pipe": "0.5",
        "CPU s/GB": "0.5",
        "writer's": "0.1",
    }
    assert latency.rows == [("repeat()", "50 ms", "90 ms", "99 ms", "100 ms", "100")]
    assert memory.rows == [("a long stream", "1.5 GB", "300 MiB", "350 MiB", "320 MiB", "50 MiB")]
    assert tables.of_goals(goals.reached(results)).rows[0][-1] == "yes"


@pytest.mark.parametrize(
    ("value", "shown", "with_prefix"),
    [
        (0.0123456, "0.0123", "0.0123"),
        (1, "1", "1"),
        (9.999, "10", "10"),
        (123.456, "123", "123"),
        (1234.5, "1,234", "1.23 k"),
        (12_345_678, "12,345,678", "12.3 M"),
    ],
)
def test_numbers(value, shown, with_prefix):
    assert tables.three_digits(value) == shown
    assert tables.with_prefix(value) == with_prefix


def test_a_table_has_no_empty_columns():
    entries = [Entry("record", "ours", None, [Turn(1.0, 1, 1, 1.0, 0.0)])]
    table = tables.of_case(ThroughputResult("a", "A", 1, 1.0, 1.0, entries))
    assert table.headings == ("", "records/s", "MB/s", "min-max", "CPU s/GB")
    assert table.markdown().splitlines()[:2] == [
        "|  | records/s | MB/s | min-max | CPU s/GB |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]


def test_a_document_is_made_anew(results):
    text = (
        "# Title\n<!-- begin environment -->\nold\n<!-- end environment -->\nprose\n"
        "<!-- begin rollover -->\n<!-- end rollover -->\n"
    )
    updated = document.update(text, results)
    assert "old" not in updated
    assert "Measured on 2030-01-02: A processor, 2 cores" in updated
    assert "| repeat() | 50 ms |" in updated
    assert updated.startswith("# Title\n<!-- begin environment -->\n")
    assert "<!-- end environment -->\nprose\n" in updated
    assert document.update(updated, results) == updated


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing is marked", "no part of the document"),
        ("<!-- begin gzip -->\n<!-- end gzip -->", "wants 'gzip', which the results do not have"),
        ("<!-- begin tfrecord -->\n<!-- end tfrecord -->", "wants 'tfrecord-100b', which was not"),
    ],
)
def test_what_a_document_cannot_have(results, text, message):
    with pytest.raises(document.DocumentError, match=message):
        document.update(text, results)
