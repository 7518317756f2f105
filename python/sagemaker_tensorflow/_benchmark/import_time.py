# SPDX-License-Identifier: Apache-2.0
"""How long importing takes, each time in a fresh interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable

from sagemaker_tensorflow._benchmark.cases import LatencyCase, Settings
from sagemaker_tensorflow._benchmark.results import LatencyResult, Samples

# Each program: statements, and the sample that each belongs to.
_PROGRAMS = (
    (("alone", "import sagemaker_tensorflow"),),
    (
        ("tensorflow", "import tensorflow"),
        ("on-top", "from sagemaker_tensorflow import PipeModeDataset"),
        ("library", "from sagemaker_tensorflow._op import op_library; op_library.load()"),
    ),
)
LABELS = {
    "alone": "import sagemaker_tensorflow, alone",
    "on-top": "PipeModeDataset, on top of TensorFlow",
    "library": "its op library, at the first dataset",
    "tensorflow": "TensorFlow itself",
}


def steps(settings: Settings) -> int:
    """Returns how often ``measure`` says that it goes on."""
    return len(_PROGRAMS) * (1 + settings.imports)


def measure(case: LatencyCase, settings: Settings, on_step: Callable[[str], None]) -> LatencyResult:
    """Measures ``case``, and calls ``on_step`` with what is done next."""
    times: dict[str, list[float]] = {name: [] for name in LABELS}
    for program in _PROGRAMS:
        names = [name for name, _ in program]
        for number in range(1 + settings.imports):
            on_step(LABELS[names[-1]])
            seconds = _run([statement for _, statement in program])
            if number == 0:
                continue  # the system may have had to read the files from disk
            for name, value in zip(names, seconds, strict=True):
                times[name].append(1e3 * value)
    samples = [Samples(name, label, times[name]) for name, label in LABELS.items()]
    return LatencyResult(case.name, case.title, samples)


def _run(statements: list[str]) -> list[float]:
    """Returns the seconds that each statement takes in a new interpreter."""
    code = ["import json, time", "times = [time.perf_counter()]"]
    for statement in statements:
        code += [statement, "times.append(time.perf_counter())"]
    code.append("print(json.dumps([b - a for a, b in zip(times, times[1:])]))")
    search_path = os.pathsep.join(entry for entry in sys.path if entry)
    finished = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", "\n".join(code)],
        capture_output=True,
        check=False,
        text=True,
        env={**os.environ, "PYTHONPATH": search_path},
    )
    if finished.returncode != 0:
        raise RuntimeError(f"importing failed:\n{finished.stderr}")
    return [float(seconds) for seconds in json.loads(finished.stdout)]
