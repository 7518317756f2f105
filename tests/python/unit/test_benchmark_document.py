# SPDX-License-Identifier: Apache-2.0
"""docs/performance.md says what was measured."""

import re
from pathlib import Path

import pytest
from sagemaker_tensorflow._benchmark import document, results_json
from sagemaker_tensorflow._benchmark.cases import CASES

ROOT = Path(__file__).parents[3]
DOCUMENT = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "benchmarks" / "results" / "reference.json"

pytestmark = pytest.mark.skipif(not DOCUMENT.exists(), reason="not in an sdist")


def test_numbers_are_those_measured():
    """If not: pipemode bench --from benchmarks/results/reference.json --write-docs docs/..."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == document.update(text, results_json.load(RESULTS))


def test_everything_is_shown():
    text = DOCUMENT.read_text(encoding="utf-8")
    shown = set(re.findall(r"<!-- begin ([\w-]+) -->", text))
    sizes = {case.name for case in CASES if case.name.startswith("tfrecord-")}
    assert {case.name for case in CASES} - sizes <= shown
    assert {"environment", "goals", "tfrecord"} <= shown


def test_plots_are_there():
    images = re.findall(r"\]\((images/[\w-]+)\.svg\)", DOCUMENT.read_text(encoding="utf-8"))
    assert len(images) == 6
    for image in images:
        for suffix in (".svg", ".png"):
            assert (DOCUMENT.parent / f"{image}{suffix}").exists()
