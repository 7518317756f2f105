# SPDX-License-Identifier: Apache-2.0
"""``pipemode bench``: that it measures what it says. How fast that is, no test asks."""

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from pipe_helpers import wait_until
from sagemaker_tensorflow._benchmark import cases, contenders, runner, throughput
from sagemaker_tensorflow._benchmark.cases import CASES, Contender
from sagemaker_tensorflow._benchmark.results import LatencyResult, MemoryResult, ThroughputResult
from sagemaker_tensorflow._benchmark.workloads import Stream, Workload
from sagemaker_tensorflow._benchmark.workplace import Workplace
from sagemaker_tensorflow.records import encode

pytestmark = pytest.mark.long

COMMAND = [sys.executable, "-m", "sagemaker_tensorflow", "bench"]
SHORT = cases.Settings(rounds=1, seconds=0.001, rollovers=3, stops=2, imports=1, gigabytes=0.05)


@pytest.fixture
def temp_dir(monkeypatch):
    """The folder for temporary files of the command; a socket's path must not be long."""
    with tempfile.TemporaryDirectory(prefix="bench-") as path:
        monkeypatch.setenv("TMPDIR", path)
        yield Path(path)


def bench(*arguments, status=0, command=COMMAND):
    """Runs the command; returns stdout and stderr."""
    result = subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=100, check=False
    )
    assert result.returncode == status, result.stdout + result.stderr
    return result.stdout, result.stderr


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_case(case):
    begun = []
    (result,) = runner.run([case], SHORT, lambda case, what: begun.append((case, what)))
    assert len(begun) == runner.steps(case, SHORT)
    assert {case for case, _ in begun} == {case}
    assert (result.name, result.title) == (case.name, case.title)
    if isinstance(result, ThroughputResult):
        competing = throughput.contenders(case)
        assert [entry.name for entry in result.entries] == [one.name for one in competing]
        for entry, contender in zip(result.entries, competing, strict=True):
            assert len(entry.turns) == SHORT.rounds
            for turn in entry.turns:
                assert min(turn.seconds, turn.records, turn.bytes, turn.cpu_seconds) > 0
                assert turn.bytes / turn.records == pytest.approx(result.record_bytes)
                assert (turn.writer_cpu_seconds > 0) == contender.reads_fifo
    elif isinstance(result, LatencyResult):
        for samples in result.samples:
            assert len(samples.milliseconds) >= 1
            assert min(samples.milliseconds) > 0
    else:
        assert isinstance(result, MemoryResult)
        for curve in result.curves:
            assert min(curve.mebibytes) > 50
            assert curve.gigabytes[-1] == pytest.approx(SHORT.gigabytes, rel=0.1)


def test_elements_are_made_and_not_skipped(job, capfd):
    """The op says how many bytes it made elements of."""
    stream = Stream("", [""], 1, 1000, 0, 1.0)
    place = Workplace(str(job.pipe_dir), str(job.state_dir), str(job.config_dir), "")
    workload = Workload("", "TFRecord", "bytes", 100)
    task = contenders.Task(Contender("training", "", "pipemode"), workload, stream, 10, place)
    frame = encode(bytes(100), "TFRecord")
    for epoch, batch_size in enumerate((0, 10)):
        job.pipe(epoch).write_bytes(frame * 1000)
        dataset = contenders.pipe_mode("training", "TFRecord", place, benchmark=True)
        if batch_size:
            dataset = dataset.batch(batch_size)
        contenders.CONSUMERS["drop"]([dataset], task)()
        assert "total read_bytes: 100000\n" in capfd.readouterr().out


def test_the_command(tmp_path, temp_dir):
    output = tmp_path / "results"
    names = ["tfrecord-1kb", "memory"]
    arguments = [f"--case={name}" for name in names]
    stdout, stderr = bench(
        *arguments, "--quick", "--rounds=1", "--seconds=0.01", "--json", "--output", output
    )
    data = json.loads(stdout)
    assert [case["name"] for case in data["cases"]] == names
    assert data["settings"]["rounds"] == 1
    assert data["environment"]["tensorflow"].startswith("2.")
    assert [len(entry["turns"]) for entry in data["cases"][0]["entries"]] == [1] * 6
    assert stdout == (output / "results.json").read_text()
    for case in CASES:
        assert (f"/2  {case.title}" in stderr) == (case.name in names)
    for text in (
        "TFRecord of 1 KB (tfrecord-1kb)",
        "Too short for a verdict on the goals: 1 rounds",
    ):
        assert text in stderr
    assert data["goals"] == []
    assert (output / "memory.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (output / "memory.svg").read_text()
    assert list(temp_dir.iterdir()) == []

    # And again, from the file
    document = tmp_path / "performance.md"
    document.write_text("<!-- begin memory -->\n<!-- end memory -->\n")
    again = tmp_path / "again"
    stdout, _ = bench(
        "--from", output / "results.json", "--output", again, "--write-docs", document
    )
    assert "TFRecord of 1 KB (tfrecord-1kb)" in stdout
    assert "Goals" not in stdout
    for path in output.iterdir():
        assert (again / path.name).read_bytes() == path.read_bytes()
    assert "| TFRecord of 1 KB, batch(1024) | " in document.read_text()
    assert (tmp_path / "images" / "memory.svg").exists()


def test_only_its_children_load_tensorflow(temp_dir):
    """Its own memory and threads are to disturb nothing."""
    program = (
        "import sys; from sagemaker_tensorflow.cli import app;"
        "app(sys.argv[1:], standalone_mode=False); assert 'tensorflow' not in sys.modules"
    )
    arguments = ["bench", "--case=channels", "--quick", "--rounds=1", "--seconds=0.01"]
    stdout, _ = bench(*arguments, command=[sys.executable, "-c", program])
    assert "1, 4 and 20 channels at once" in stdout
    assert list(temp_dir.iterdir()) == []  # nor AutoGraph's files


def test_list():
    stdout, _ = bench("--list")
    assert [line.split()[0] for line in stdout.splitlines()] == [case.name for case in CASES]


def test_help_for_each_option():
    stdout, _ = bench("--help")
    for option in (
        "--case",
        "--from",
        "--json",
        "--list",
        "--output",
        "--quick",
        "--rounds",
        "--seconds",
        "--write-docs",
    ):
        assert option in stdout


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--case=other"], 2, "no case 'other'; there are: seed-script,"),
        (["--rounds=0"], 2, "--rounds"),
        (["--from=missing.json"], 1, "error: cannot read 'missing.json': No such file"),
        (["--write-docs=missing.md"], 2, "--write-docs"),
    ],
)
def test_wrong_arguments(arguments, status, message, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    _, stderr = bench(*arguments, status=status)
    assert message in stderr


def test_without_matplotlib(tmp_path):
    """Nothing is measured in vain; without plots it works."""
    program = (
        "import sys; sys.modules['matplotlib'] = None;"
        "from sagemaker_tensorflow.cli import main; main()"
    )
    command = [sys.executable, "-c", program, "bench", "--case=recordio-1kb", "--quick"]
    _, stderr = bench("--output", tmp_path / "results", status=1, command=command)
    assert "pip install 'sagemaker_tensorflow[bench]'" in stderr
    stdout, _ = bench("--rounds=1", "--seconds=0.01", command=command)
    assert "RecordIO of 1 KB" in stdout


def processes(session):
    """The processes of a session that have not ended."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, _, number = path.read_text().rpartition(") ")[2].split()[:4]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(number) == session and state != "Z":
            found.append(path.parent.name)
    return found


@pytest.fixture
def start(temp_dir):
    """Starts the command in a session of its own, and waits until a FIFO is read."""
    started = []

    def start(*arguments):
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        wait_until(
            lambda: process.poll() is not None or any(temp_dir.glob("*/data/*_0")), timeout=90
        )
        assert process.poll() is None, process.stderr.read()
        return process

    yield start
    for process in started:
        for number in processes(process.pid):
            os.kill(int(number), signal.SIGKILL)
        process.communicate()


@pytest.mark.parametrize(
    ("case", "number"),
    [
        ("tfrecord-1kb", signal.SIGTERM),
        ("stop", signal.SIGINT),  # its reader can be interrupted
        ("channels", signal.SIGINT),  # AutoGraph's files
    ],
)
def test_interrupted_it_cleans_up(start, temp_dir, case, number):
    process = start("--case", case, "--seconds=30")
    os.killpg(process.pid, number)  # as a terminal does
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "Traceback" not in stderr
    assert list(temp_dir.iterdir()) == []
    wait_until(lambda: not processes(process.pid), timeout=30)


def test_killed_it_leaves_no_process(start):
    process = start("--case=tfrecord-1kb", "--seconds=30")
    process.kill()
    wait_until(lambda: not processes(process.pid), timeout=30)
