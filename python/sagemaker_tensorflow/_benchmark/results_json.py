# SPDX-License-Identifier: Apache-2.0
"""Results as JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from sagemaker_tensorflow._benchmark.goals import reached
from sagemaker_tensorflow._benchmark.results import (
    Entry,
    LatencyResult,
    MemoryCurve,
    MemoryResult,
    Result,
    Results,
    Samples,
    ThroughputResult,
    Turn,
)

_VERSION = 1


class ResultsError(ValueError):
    """Something is not the JSON of results."""


def dump(results: Results) -> str:
    """Returns ``results`` as JSON, a line for each case; goals are for people only."""
    fields = {
        "version": _VERSION,
        "environment": results.environment,
        "settings": results.settings,
        "goals": [dataclasses.asdict(goal) for goal in reached(results)],
    }
    cases = [
        json.dumps(_rounded({"kind": case.kind, **dataclasses.asdict(case)}))
        for case in results.cases
    ]
    head = json.dumps(fields, indent=1, ensure_ascii=False).removesuffix("\n}")
    return f'{head},\n "cases": [\n  ' + ",\n  ".join(cases) + "\n ]\n}\n"


def load(path: Path) -> Results:
    """Reads what ``dump`` made.

    Raises:
        ResultsError: If the file is missing or holds something else.
    """
    try:
        return parse(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultsError(f"cannot read '{path}': {error.strerror}") from error
    except (ResultsError, UnicodeDecodeError) as error:
        raise ResultsError(f"'{path}' does not hold results of pipemode bench: {error}") from error


def parse(text: str) -> Results:
    """Returns the results that ``dump`` made ``text`` of, to six digits.

    Raises:
        ResultsError: If it is something else.
    """
    try:
        data = json.loads(text)
        if data["version"] != _VERSION:
            raise ResultsError(
                f"they are of version {data['version']}, this is version {_VERSION}: measure again"
            )
        cases = [_KINDS[case.pop("kind")](case) for case in data["cases"]]
        return Results(data["environment"], data["settings"], cases)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ResultsError(str(error)) from error


def _rounded(value: Any) -> Any:
    """Returns ``value`` with six significant digits, more than were measured."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return value


def _throughput(case: dict[str, Any]) -> Result:
    entries = [
        Entry(**{**entry, "turns": [Turn(**turn) for turn in entry["turns"]]})
        for entry in case["entries"]
    ]
    return ThroughputResult(**{**case, "entries": entries})


def _latency(case: dict[str, Any]) -> Result:
    return LatencyResult(**{**case, "samples": [Samples(**one) for one in case["samples"]]})


def _memory(case: dict[str, Any]) -> Result:
    return MemoryResult(**{**case, "curves": [MemoryCurve(**curve) for curve in case["curves"]]})


_KINDS = {
    ThroughputResult.kind: _throughput,
    LatencyResult.kind: _latency,
    MemoryResult.kind: _memory,
}
